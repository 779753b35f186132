"""Runs a target for a time: varies inputs, keeps those whose outcome was not seen before, shrinks a finding."""

import random
import time
import traceback
from dataclasses import dataclass, field

from tests.fuzz.base import Script, Target

SLOW_S = 5.0
"""Processor time after which one input counts as a hang."""
_MAX_POOL = 4000
_SHRINK_S = 20.0


@dataclass(slots=True)
class Finding:
    """An input that broke something."""

    script: Script
    failure: str
    trace: str


@dataclass(slots=True)
class Report:
    """How it went."""

    runs: int = 0
    outcomes: set[str] = field(default_factory=set)
    finding: Finding | None = None


def tried(target: Target, script: Script) -> tuple[str, Finding | None]:
    """Run one input; its outcome, and what it broke."""
    begin = time.process_time()
    try:
        outcome = target.run(script)
    except Exception as error:  # noqa: BLE001  (whatever comes out is a finding)
        failure = f"{type(error).__name__}: {error}"
        return "", Finding(script, failure, traceback.format_exc())
    took = time.process_time() - begin
    if took > SLOW_S:
        return outcome, Finding(script, f"took {took:.1f} s", "")
    return outcome, None


def fuzz(target: Target, rng: random.Random, *, seconds: float) -> Report:
    """Vary inputs until the time is over or something breaks."""
    report = Report()
    pool = list(target.seeds)
    end = time.monotonic() + seconds
    for script in target.seeds:
        outcome, report.finding = tried(target, script)
        report.outcomes.add(outcome)
        if report.finding is not None:
            return report
    while time.monotonic() < end:
        script = target.vary(rng.choice(pool), rng, pool)
        outcome, finding = tried(target, script)
        report.runs += 1
        if finding is not None:
            report.finding = shrunk(target, finding)
            return report
        if outcome not in report.outcomes and len(pool) < _MAX_POOL:
            report.outcomes.add(outcome)
            pool.append(script)
    return report


def shrunk(target: Target, finding: Finding) -> Finding:
    """A smaller input that fails in the same way: without steps, then without bytes."""
    end = time.monotonic() + _SHRINK_S
    kind = finding.failure.partition(":")[0]
    best = finding

    def smaller(script: Script) -> bool:
        nonlocal best
        if time.monotonic() > end:
            return False
        _, found = tried(target, script)
        if found is None or found.failure.partition(":")[0] != kind:
            return False
        best = found
        return True

    for place in reversed(range(len(best.script))):
        if len(best.script) > 1:
            smaller(best.script[:place] + best.script[place + 1 :])
    for place in range(len(best.script)):
        size = len(best.script[place]) // 2
        while size:
            start = 0
            while start < len(best.script[place]):
                step = best.script[place]
                cut = step[:start] + step[start + size :]
                if not smaller((*best.script[:place], cut, *best.script[place + 1 :])):
                    start += size
            size //= 2
    return best
