"""Random schedules of faults: never two owners on a whole segment for more than 0.5 s (0.8 s in schedules with bursts of loss),
never none for longer than the faults that are near in time allow (`bounds.py`), the right one in the end; and clients reach it
(`clients.py`).

VIPRING_SCHEDULES=10000 plays more of them; VIPRING_SEED=N begins with schedule N.
"""

import multiprocessing
import os
import pickle
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Final, NamedTuple, TypeVar

import pytest

from tests.seed import chosen_seed
from tests.simulation.announcer.clients import BrokenPromiseError
from tests.simulation.announcer.faults import Trial, shortest
from tests.simulation.announcer.schedule import draw

T = TypeVar("T")

SCHEDULES: Final = int(os.environ.get("VIPRING_SCHEDULES", "60"))
A_PIECE: Final = 20


class Played(NamedTuple):
    """Of some schedules: the longest times with two owners, by whether there were bursts of loss, and with none, by the bound
    that applied, and those in which clients missed an owner, by whether frames were lost (seconds), and the first that broke
    a promise."""

    worst_two: Mapping[bool, float]
    worst_none: Mapping[float, float]
    worst_missed: Mapping[bool, float]
    broken: int | None = None


def worst(*found: Mapping[T, float]) -> Mapping[T, float]:
    """The longest of each."""
    return {of: max(one.get(of, 0.0) for one in found) for of in {of for one in found for of in one}}


def play(seeds: Sequence[int]) -> Played:
    found = Played({}, {}, {})
    for seed in seeds:
        trial = Trial(draw(seed))
        try:
            trial.play()
        except BrokenPromiseError:
            return Played({}, {}, {}, seed)
        found = Played(
            worst(found.worst_two, {trial.bursts: trial.worst_two}),
            worst(found.worst_none, trial.worst_none),
            worst(found.worst_missed, {trial.lossy: trial.clients.worst_missed}),
        )
    return found


@pytest.mark.timeout(60 + SCHEDULES)
def test_promises_hold_whatever_happens() -> None:
    first = chosen_seed()
    last = first + SCHEDULES
    pieces = [range(seed, min(seed + A_PIECE, last)) for seed in range(first, last, A_PIECE)]
    found = Played({}, {}, {})
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        for number, played in enumerate(pool.map(play, pieces), 1):
            if played.broken is not None:
                pool.shutdown(wait=False, cancel_futures=True)
                schedule, failure, story = shortest(draw(played.broken))
                lines = "\n".join(story)
                raise AssertionError(f"VIPRING_SEED={played.broken}: {failure}\n{schedule}\n{lines}")
            found = Played(
                worst(found.worst_two, played.worst_two),
                worst(found.worst_none, played.worst_none),
                worst(found.worst_missed, played.worst_missed),
            )
            if number % 50 == 0:
                print(f"{number * A_PIECE} of {SCHEDULES} schedules", flush=True)
    two = ", ".join(
        f"{found.worst_two[bursts]:.2f} s {'with' if bursts else 'without'} bursts of loss"
        for bursts in sorted(found.worst_two)
    )
    none = ", ".join(f"{found.worst_none[bound]:.2f} s of {bound} s" for bound in sorted(found.worst_none))
    missed = ", ".join(
        f"{found.worst_missed[lossy]:.2f} s {'with' if lossy else 'without'} loss"
        for lossy in sorted(found.worst_missed)
    )
    print(
        f"{SCHEDULES} schedules: two owners for at most {two}; none for at most {none};"
        f" a host missed the owner for at most {missed}"
    )


def test_a_worker_can_tell_of_a_broken_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(_: Trial) -> None:
        raise BrokenPromiseError("two owners")

    monkeypatch.setattr(Trial, "play", breaks)
    assert pickle.loads(pickle.dumps(play([7, 8]))).broken == 7
