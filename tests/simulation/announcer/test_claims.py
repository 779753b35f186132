"""Random schedules of faults: never two owners on a whole segment, never none for long, the right one in the end.

VIPRING_SCHEDULES=10000 plays more of them; VIPRING_SEED=N begins with schedule N.
"""

import os

from tests.seed import chosen_seed
from tests.simulation.announcer.faults import BrokenPromiseError, Trial, draw, shortest

SCHEDULES = int(os.environ.get("VIPRING_SCHEDULES", "60"))


def test_promises_hold_whatever_happens() -> None:
    first = chosen_seed()
    worst_two = worst_none = 0.0
    for seed in range(first, first + SCHEDULES):
        trial = Trial(draw(seed))
        try:
            trial.play()
        except BrokenPromiseError:
            schedule, failure, story = shortest(draw(seed))
            lines = "\n".join(story)
            raise AssertionError(f"VIPRING_SEED={seed}: {failure}\n{schedule}\n{lines}") from None
        worst_two, worst_none = max(worst_two, trial.worst_two), max(worst_none, trial.worst_none)
    print(
        f"{SCHEDULES} schedules: two owners for at most {worst_two:.2f} s, none for at most {worst_none:.2f} s"
    )
