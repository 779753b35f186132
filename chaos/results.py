"""What a scenario found: the facts of each run and their summary, and their JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

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
    victims: tuple[str, ...] = ()
    """All nodes that were hit, `victim` first."""
    variant: str = ""
    """Which of its forms the scenario had."""
    back_s: float | None = None
    """Packet record: by then every address of the victims had been announced by another node, or by its owner that had
    asked for it again; those that the observer does not ask for too."""
    silent_s: float | None = None
    """The longest time for which nobody answered for one and the same address."""
    settled_s: float | None = None
    """From then on the right owner alone answered for every address that the observer asks for."""
    neighbour_s: float | None = None
    """For so long after the right owner's announcement the client's neighbour entry still named another one."""
    waited_s: float | None = None
    """The longest that an answered echo took, from a second before the fault on."""
    whole_s: float | None = None
    """The last echo without an answer was sent so long after the fault; 0 when there was none."""
    strays: int | None = None
    """Packet record: frames by which a victim claimed an address after another had announced it and before it asked again
    or was offered it by that one."""
    moves: int | None = None
    """Packet record: addresses that a node other than their owner announced."""
    misplaced: int | None = None
    """Packet record: addresses whose last announcement is not of the node that the election names."""
    calm_writes: int | None = None
    """Writes of vipring to the API (Leases excepted) while all was at rest before the fault."""
    rest_writes: int | None = None
    """The same for two seconds once all is at rest again; None where that was not counted."""
    writes: dict[str, int] = {}
    """The same for the time from the fault on, by what they were."""
    facts: dict[str, float] = {}
    """Figures of this scenario alone."""
    kept: bool | None = None
    """Every promise of the scenario was kept in this run; None where none was checked."""
    broken: tuple[str, ...] = ()
    """The promises that were not, each with what was found."""

    def value(self, name: str) -> float | None:
        """A figure by its name, wherever it is kept; None where there is none."""
        if name in self.facts:
            return self.facts[name]
        holder = self.phases if name in Phases.__struct_fields__ else self
        found = getattr(holder, name, None)
        return found if isinstance(found, int | float) else None


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
    promise: dict[str, float] = {}
    """The highest value of a figure that is allowed in any run."""
    typical: dict[str, float] = {}
    """The highest median that is allowed."""
    kept: bool | None = None
    """No run failed and all promises were kept; None where none was checked."""
    broken: tuple[str, ...] = ()
    """What was not kept, by run."""


FIGURES = (
    "outage_s",
    "lost",
    "two_owners_s",
    "no_owner_s",
    "detected_s",
    "elected_s",
    "announced_s",
    "answered_s",
    "back_s",
    "silent_s",
    "settled_s",
    "neighbour_s",
    "waited_s",
    "whole_s",
    "strays",
    "moves",
    "misplaced",
    "calm_writes",
    "rest_writes",
)
"""The figures of a summary, in the order of the table; those of a scenario alone follow."""


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
    names = dict.fromkeys([*FIGURES, *(name for run in good for name in run.facts)])
    return {name: figure(run.value(name) for run in good) for name in names}


def judge(run: Run, promise: Mapping[str, float], noted: Sequence[str] = ()) -> Run:
    """The run with its promises checked; `noted` is what the scenario itself found broken.

    A figure that a promise bounds and that is not there was not reached: that is broken too.
    """
    broken = list(noted)
    for name, bound in promise.items():
        found = run.value(name)
        if found is None or found > bound:
            broken.append(f"{name} {'not reached' if found is None else f'{found:.4g}'}, promised {bound:g}")
    return msgspec.structs.replace(run, kept=not broken and run.failure is None, broken=tuple(broken))


def conclude(result: Result) -> Result:
    """The result with the promises of all runs put together."""
    broken = [
        f"run {number}: {what}"
        for number, run in enumerate(result.runs, 1)
        for what in (*run.broken, *([run.failure] if run.failure is not None else []))
    ]
    for name, bound in result.typical.items():
        found = result.summary[name].p50
        if found is None or found > bound:
            broken.append(
                f"median {name} {'not reached' if found is None else f'{found:.4g}'}, promised {bound:g}"
            )
    return msgspec.structs.replace(result, kept=not broken, broken=tuple(broken))


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
