"""From a schedule that breaks a rule to the shortest that still does."""

from collections.abc import Callable

import msgspec

from gossip.simulator.faults import AnyFault, named
from gossip.simulator.trial import Outcome, Setting, run


def shrink(
    setting: Setting,
    outcome: Outcome,
    *,
    runs: int = 60,
    tried: Callable[[int], None] = lambda _: None,
) -> Outcome:
    """Drop faults, many at a time at first, then members of faults, as long as the same rule is broken.

    Args:
        setting: of the campaign.
        outcome: of a run that broke a rule.
        runs: at most this many runs are tried.
        tried: told the number of runs so far.
    """
    rule = outcome.violations[0].rule
    best, left = outcome, runs

    def breaks(schedule: tuple[AnyFault, ...]) -> bool:
        nonlocal best, left
        if left <= 0:
            return False
        left -= 1
        candidate = run(setting, outcome.seed, schedule)
        tried(runs - left)
        if any(violation.rule == rule for violation in candidate.violations):
            best = candidate
            return True
        return False

    size = max(1, len(best.schedule) // 2)
    while size:
        place = 0
        while place < len(best.schedule):
            shorter = best.schedule[:place] + best.schedule[place + size :]
            if not breaks(shorter):
                place += size
        size //= 2
    for place in range(len(best.schedule)):
        for name in named(best.schedule[place]):
            fault = best.schedule[place]
            fewer = tuple(other for other in named(fault) if other != name)
            if fewer:
                lighter = msgspec.structs.replace(fault, members=fewer)
                breaks((*best.schedule[:place], lighter, *best.schedule[place + 1 :]))
    return best
