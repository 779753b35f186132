"""What a scenario found: the facts of each run and their summary, and their JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec


class Phases(msgspec.Struct, frozen=True):
    """When each step of a failover was reached, seconds after the fault; None where it left no trace."""

    detected_s: float | None = None
    """The new owner's log says that the member is dead (has left, is back)."""
    elected_s: float | None = None
    """The new owner's log says that it owns the address."""
    announced_s: float | None = None
    """The new owner's first gratuitous ARP frame was seen."""
    answered_s: float | None = None
    """The client got the first answer after the outage; None when there was no outage."""


class Run(msgspec.Struct, frozen=True):
    """One run of a scenario. Durations in seconds."""

    vip: str
    victim: str
    outage_s: float | None
    """Longest gap between two answers; the probe's own interval is part of it."""
    sent: int
    lost: int
    owner_before: str | None
    owner_after: str | None
    two_owners_s: float
    no_owner_s: float
    phases: Phases
    suspected_s: float | None = None
    """A member first suspected the victim, seconds after the fault."""
    held_up_s: float = 0.0
    """For so much of the outage the probe itself did not run: the machine was too busy to measure."""
    failure: str | None = None
    """Why the run does not count, None when it does."""


class Figure(msgspec.Struct, frozen=True):
    """One figure over all runs that have it; None everywhere when none has."""

    n: int
    min: float | None
    p50: float | None
    p90: float | None
    p99: float | None
    max: float | None


class Result(msgspec.Struct, frozen=True):
    """All runs of one scenario."""

    scenario: str
    nodes: int
    seed: int
    commit: str
    runs: tuple[Run, ...]
    summary: dict[str, Figure]


FIGURES = (
    "outage_s",
    "lost",
    "two_owners_s",
    "no_owner_s",
    "detected_s",
    "elected_s",
    "announced_s",
    "answered_s",
)
"""The figures of a summary, in the order of the table."""


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Nearest rank: the smallest value with at least `percent` of all values at or below it."""
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def figure(values: Iterable[float | None]) -> Figure:
    """Summarise the values that are there."""
    ordered = sorted(value for value in values if value is not None)
    if not ordered:
        return Figure(0, None, None, None, None, None)
    p50, p90, p99 = (percentile(ordered, percent) for percent in (50, 90, 99))
    return Figure(len(ordered), ordered[0], p50, p90, p99, ordered[-1])


def summarise(runs: Iterable[Run]) -> dict[str, Figure]:
    """Every figure over the runs that did not fail."""
    good = [run for run in runs if run.failure is None]
    return {
        name: figure(getattr(run.phases if hasattr(run.phases, name) else run, name) for run in good)
        for name in FIGURES
    }


def to_json(result: object) -> str:
    """Indented JSON of a result, durations rounded to 0.1 ms, with a line end."""
    return (
        msgspec.json.format(msgspec.json.encode(_rounded(msgspec.to_builtins(result))), indent=2).decode()
        + "\n"
    )


def _rounded(value: object) -> object:
    match value:
        case float():
            return round(value, 4)
        case dict():
            return {key: _rounded(item) for key, item in value.items()}
        case list() | tuple():
            return [_rounded(item) for item in value]
        case _:
            return value
