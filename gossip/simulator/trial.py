"""One run: a ring that stands, a schedule of faults, and what came of it."""

import random
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from gossip.config import SwimConfig
from gossip.outputs import MemberAlive, MemberDead, MemberJoined, MemberSuspect
from gossip.simulator.checks import Bounds, Checks, Violation
from gossip.simulator.faults import AnyFault, Crash, Plan, Restart, draw, ends_s, named
from gossip.simulator.happening import Happening
from gossip.simulator.inflict import inflict
from gossip.simulator.simulation import Simulation

WARM_UP_PROBES: Final = 3
"""Probe intervals before anything goes wrong: by then no member is where it started."""

_SLICE_S: Final = 5.0
"""Between two looks at whether a quiet run may end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all runs of a campaign have in common."""

    members: int
    plan: Plan
    plain: int = 0
    """Members, the last by number, that are memberlist's: without our meta and fast lane."""
    wire: bool = True
    """Whether members that the fast lane doubts can be asked on the wire."""
    config: SwimConfig = field(default_factory=SwimConfig.lan)
    cpu_s: float = 150e-6
    """Cost of each datagram to the process that sends or receives it."""
    rejoin_s: float = 5.0
    """How often applications look for members that they miss, as speakers do; 0 for never."""
    at_least_s: float = 0.0
    """The same as the plan's; the greater of the two counts."""

    @property
    def names(self) -> list[str]:
        """The members: n1, n2 and so on."""
        return [f"n{number}" for number in range(1, self.members + 1)]

    def schedule(self, seed: int) -> tuple[AnyFault, ...]:
        """What goes wrong in the run of this seed."""
        return draw(self.plan, self.names, random.Random(f"faults {seed}"))  # noqa: S311


@dataclass(frozen=True, slots=True)
class Told:
    """A change in what one member believes of another, for pictures."""

    at: float
    """Simulated seconds since the ring stood."""
    observer: str
    subject: str
    state: str
    """alive, suspect or dead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one run."""

    seed: int
    schedule: tuple[AnyFault, ...]
    first_dead_s: list[float]
    """For each member that crashed, in no order: from its crash to the first verdict."""
    all_know_s: list[float]
    """The same until every running member held it for dead."""
    false_deaths: int
    member_s: float
    simulated_s: float
    datagrams: int
    datagram_bytes: int
    violations: list[Violation]
    told: list[Told]


class _Detection:
    """Who knows of a crash, by what members tell."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._crashed_at: dict[str, float] = {}
        self._waiting: dict[str, set[str]] = {}
        self.first_dead_s: dict[str, float] = {}
        self.all_know_s: dict[str, float] = {}
        simulation.listeners.append(self._hear)

    @property
    def complete(self) -> bool:
        return not any(self._waiting.values())

    def crashed(self, names: list[str]) -> None:
        running = set(self._simulation.running())
        for name in names:
            self._crashed_at[name] = self._simulation.now
            # Who took it for dead before it crashed has nothing to find out.
            self._waiting[name] = {
                other for other in running if name not in self._simulation.host(other).absent
            }
        for victim, waiting in self._waiting.items():
            had = bool(waiting)
            waiting.intersection_update(running)
            if had and not waiting:
                self.all_know_s[victim] = self._simulation.now - self._crashed_at[victim]

    def _hear(self, happening: Happening) -> None:
        what = happening.what
        if isinstance(what, MemberDead):
            name = what.view.name
            if name in self._waiting:
                took = self._simulation.now - self._crashed_at[name]
                self.first_dead_s.setdefault(name, took)
                self._waiting[name].discard(happening.member)
                if not self._waiting[name]:
                    self.all_know_s[name] = took
        elif isinstance(what, MemberJoined) and what.view.name in self._waiting:
            self._waiting[what.view.name].add(happening.member)


def run(setting: Setting, seed: int, schedule: tuple[AnyFault, ...] | None = None) -> Outcome:
    """Let a ring stand, let the schedule (None: the one of the seed) happen, wait until all views are right."""
    plan, config = setting.plan, setting.config
    faults = setting.schedule(seed) if schedule is None else schedule
    simulation = Simulation(
        seed,
        config=config,
        network=plan.network,
        cpu_s=setting.cpu_s,
        rejoin_s=setting.rejoin_s,
        wire=setting.wire,
        gateway=setting.wire,
    )
    rng = random.Random(f"run {seed}")  # noqa: S311 - chance, and repeatable
    simulation.form(setting.names, plain=setting.plain)
    simulation.run((WARM_UP_PROBES + rng.random()) * config.probe_interval_s)
    moves = any(isinstance(fault, Restart) and fault.move for fault in faults)
    bounds = Bounds.of(config, setting.members, setting.rejoin_s, moves=moves)
    faulty_s = max(map(ends_s, faults), default=0.0)
    began_at = simulation.now
    packets, octets = simulation.datagrams, simulation.datagram_bytes
    member_s = simulation.member_seconds
    detection = _Detection(simulation)
    checks = Checks(simulation, bounds, began_at + faulty_s)
    told: list[Told] = []
    simulation.listeners.append(lambda happening: _note(told, happening, simulation.now - began_at))

    def begin(fault: AnyFault) -> None:
        names = [name for name in named(fault) if simulation.host(name).node is not None]
        inflict(fault, names, simulation, rng)
        if isinstance(fault, Crash):
            detection.crashed(names)

    def settled_now() -> bool:
        return detection.complete and simulation.converged()

    for fault in faults:
        simulation.at(fault.at_s, partial(begin, fault))
    simulation.run(faulty_s)
    settled = settled_now() or simulation.run_until(settled_now, within_s=bounds.convergence_s)
    simulation.run(max(0.0, began_at + max(setting.at_least_s, plan.at_least_s) - simulation.now))
    checks.finish(settled=settled)
    return Outcome(
        seed=seed,
        schedule=faults,
        first_dead_s=list(detection.first_dead_s.values()),
        all_know_s=list(detection.all_know_s.values()),
        false_deaths=checks.false_deaths,
        member_s=simulation.member_seconds - member_s,
        simulated_s=simulation.elapsed,
        datagrams=simulation.datagrams - packets,
        datagram_bytes=simulation.datagram_bytes - octets,
        violations=checks.violations,
        told=told,
    )


def _note(told: list[Told], happening: Happening, at: float) -> None:
    match happening.what:
        case MemberSuspect(view, _):
            told.append(Told(at, happening.member, view.name, "suspect"))
        case MemberDead(view, _):
            told.append(Told(at, happening.member, view.name, "dead"))
        case MemberAlive(view) | MemberJoined(view):
            told.append(Told(at, happening.member, view.name, "alive"))
        case _:
            pass
