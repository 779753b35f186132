"""Many runs of one setting, and the figures they add up to."""

import math
from collections.abc import Sequence

import msgspec

from gossip.simulator.trial import Outcome, Setting

_YEAR_S = 365.25 * 86_400.0


class Spread(msgspec.Struct, frozen=True):
    """Seconds: how many were measured, and percentiles by nearest rank (None where there is no value)."""

    n: int
    mean: float | None
    p50: float | None
    p90: float | None
    p99: float | None
    max: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of these values."""
        if not values:
            return cls(0, None, None, None, None, None)
        ordered = sorted(values)
        count = len(ordered)

        def rank(share: float) -> float:
            return round(ordered[math.ceil(share * count) - 1], 4)

        mean = round(math.fsum(ordered) / count, 4)
        return cls(count, mean, rank(0.5), rank(0.9), rank(0.99), round(ordered[-1], 4))


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What `vipring simulate --json` writes of the runs."""

    runs: int
    first_dead_s: Spread
    """From a crash to the first verdict."""
    all_know_s: Spread
    """From a crash until every running member holds the victim for dead."""
    false_deaths: int
    """Living, reachable members declared dead."""
    member_years: float
    """Simulated time of all members together, quiet and faulty."""
    packets_per_member_s: float
    """Datagrams sent."""
    bytes_per_member_s: float
    sim_seconds_per_s: float
    """Simulated seconds per second of processor time."""


class Campaign:
    """Adds up outcomes."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.outcomes: list[Outcome] = []

    def add(self, outcome: Outcome) -> None:
        """Count one run."""
        self.outcomes.append(outcome)

    def broken(self) -> Outcome | None:
        """The first run that broke a rule, the shortest schedule first."""
        broken = [outcome for outcome in self.outcomes if outcome.violations]
        return min(broken, key=lambda outcome: len(outcome.schedule)) if broken else None

    def figures(self, cpu_time_s: float) -> Figures:
        """The figures so far, for which the processor was busy this long."""
        outcomes = self.outcomes
        member_s = math.fsum(outcome.member_s for outcome in outcomes)
        simulated_s = math.fsum(outcome.simulated_s for outcome in outcomes)
        each = max(member_s, 1e-9)
        return Figures(
            runs=len(outcomes),
            first_dead_s=Spread.of([value for outcome in outcomes for value in outcome.first_dead_s]),
            all_know_s=Spread.of([value for outcome in outcomes for value in outcome.all_know_s]),
            false_deaths=sum(outcome.false_deaths for outcome in outcomes),
            member_years=member_s / _YEAR_S,
            packets_per_member_s=round(sum(outcome.datagrams for outcome in outcomes) / each, 3),
            bytes_per_member_s=round(sum(outcome.datagram_bytes for outcome in outcomes) / each, 1),
            sim_seconds_per_s=round(simulated_s / max(cpu_time_s, 1e-9), 2),
        )
