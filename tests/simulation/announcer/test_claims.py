"""Random schedules of faults: never two owners on a whole segment, never none for long, the right one in the end.

VIPRING_SCHEDULES=10000 plays more of them; VIPRING_SEED=N begins with schedule N.
"""

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Final, NamedTuple

import pytest

from tests.seed import chosen_seed
from tests.simulation.announcer.faults import BrokenPromiseError, Trial, shortest
from tests.simulation.announcer.schedule import draw

SCHEDULES: Final = int(os.environ.get("VIPRING_SCHEDULES", "60"))
A_PIECE: Final = 20


class Played(NamedTuple):
    """Of some schedules: the longest times with two owners and with none (seconds), and the first that broke a promise."""

    worst_two: float = 0.0
    worst_none: float = 0.0
    broken: int | None = None


def play(seeds: Sequence[int]) -> Played:
    worst_two = worst_none = 0.0
    for seed in seeds:
        trial = Trial(draw(seed))
        try:
            trial.play()
        except BrokenPromiseError:
            return Played(broken=seed)
        worst_two, worst_none = max(worst_two, trial.worst_two), max(worst_none, trial.worst_none)
    return Played(worst_two, worst_none)


@pytest.mark.timeout(60 + SCHEDULES)
def test_promises_hold_whatever_happens() -> None:
    first = chosen_seed()
    last = first + SCHEDULES
    pieces = [range(seed, min(seed + A_PIECE, last)) for seed in range(first, last, A_PIECE)]
    found = Played()
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        for number, played in enumerate(pool.map(play, pieces), 1):
            if played.broken is not None:
                pool.shutdown(wait=False, cancel_futures=True)
                schedule, failure, story = shortest(draw(played.broken))
                lines = "\n".join(story)
                raise AssertionError(f"VIPRING_SEED={played.broken}: {failure}\n{schedule}\n{lines}")
            found = Played(max(found.worst_two, played.worst_two), max(found.worst_none, played.worst_none))
            if number % 50 == 0:
                print(f"{number * A_PIECE} of {SCHEDULES} schedules", flush=True)
    print(
        f"{SCHEDULES} schedules: two owners for at most {found.worst_two:.2f} s,"
        f" none for at most {found.worst_none:.2f} s"
    )
