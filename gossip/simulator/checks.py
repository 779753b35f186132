"""What must hold in every run, and who was wrongly taken for dead."""

from dataclasses import dataclass
from typing import Final

from gossip.config import SwimConfig
from gossip.outputs import (
    MemberAlive,
    MemberDead,
    MemberJoined,
    MemberLeft,
    MemberSuspect,
    MemberUpdated,
)
from gossip.queue import retransmit_limit
from gossip.simulator.happening import Happening
from gossip.simulator.simulation import Simulation
from gossip.simulator.sizes import allowed
from gossip.suspicion import minimum_timeout

_CRC_SIZE: Final = 5
"""Bytes that a CRC adds to a datagram of the greatest size."""

_SAMPLE_S: Final = 10.0
"""From one look at what the nodes hold to the next."""

_SHARE: Final = 4
"""Each look is at one in so many nodes, in turn: at all of them it would slow the simulation down by 5 %."""

_SAMPLED_MAX: Final = 16
"""Nodes looked at each time, at most."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long things may take in a ring, in seconds; loss and stalls come on top."""

    refutation_s: float
    """From a wrong verdict until it is taken back: the verdict spreads, the victim hears of it or pings one that
    believes it, and its refutation spreads."""
    forgetting_s: float
    """Until a dead member is forgotten, and its name may come back at another address."""
    suspicion_s: float
    """The longest that a suspicion lasts, from the first probe that it needs."""
    convergence_s: float
    """From the last fault until all views are right: a wait for the probe (exceeded once in 100,000), an unconfirmed
    suspicion, a late rejoin and a regular exchange of state."""

    @classmethod
    def of(cls, config: SwimConfig, members: int, rejoin_s: float, *, moves: bool = False) -> "Bounds":
        """The bounds for a ring of this size whose applications look for missing members this often.

        Args:
            config: of all members.
            members: size of the ring.
            rejoin_s: 0 for applications that never look.
            moves: whether members come back at other addresses.
        """
        interval = config.probe_interval_s
        # A message has reached everybody after as many rounds of gossip as it is sent.
        spread = config.gossip_interval_s * (retransmit_limit(config.retransmit_mult, members) + 2)
        suspicion = config.suspicion_max_timeout_mult * minimum_timeout(config, members) + 2 * interval
        refutation = 2 * spread + 2 * interval
        # Memberlist forgets at the end of a round of probes (state.go, resetNodes).
        forgetting = config.gossip_to_the_dead_time_s + 2 * members * interval
        rejoin = 3 * rejoin_s + config.tcp_timeout_s if rejoin_s else config.push_pull_interval_s
        convergence = 12 * interval + suspicion + refutation + rejoin + (forgetting if moves else 0.0)
        return cls(refutation, forgetting, suspicion, convergence)


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must never be."""

    rule: str
    at: float
    """Simulated seconds since the ring stood."""
    detail: str


class Checks:
    """Listens to a simulation from the moment its ring stands."""

    def __init__(self, simulation: Simulation, bounds: Bounds, faults_end_at: float) -> None:
        self._simulation = simulation
        self._bounds = bounds
        self._faults_end_at = faults_end_at
        self._began_at = simulation.now
        self._incarnations: dict[tuple[str, int, str], tuple[int, float | None]] = {}
        self._verdicts: set[tuple[str, int, int]] = set()
        self._wrongly_dead: dict[tuple[str, int, str, int], float] = {}
        self.violations: list[Violation] = []
        self.false_deaths = 0
        """Living, reachable members declared dead, each counted once until its incarnation changes."""
        self._leaking: set[tuple[str, int, str]] = set()
        self._next_sampled = 0
        simulation.listeners.append(self._hear)
        simulation.schedule(simulation.now + _SAMPLE_S, self._sample)

    def finish(self, *, settled: bool) -> None:
        """Check what can only be checked at the end; `settled` tells whether all views became right in time."""
        simulation = self._simulation
        if not settled:
            self._violate("convergence", self._disagreement())
        for observer, life, subject, subject_life in list(self._wrongly_dead):
            self._check_refuted(observer, life, subject, subject_life)
        limit = simulation.config.udp_buffer_size + _CRC_SIZE
        if simulation.largest_datagram > limit:
            self._violate("packet size", f"{simulation.largest_datagram} bytes; {limit} are allowed")
        for name in simulation.running():
            self._check_sizes(name)

    def _sample(self) -> None:
        simulation = self._simulation
        running = simulation.running()
        count = min(_SAMPLED_MAX, -(-len(running) // _SHARE))
        for number in range(self._next_sampled, self._next_sampled + count):
            self._check_sizes(running[number % len(running)])
        self._next_sampled += count
        simulation.schedule(simulation.now + _SAMPLE_S, self._sample)

    def _check_sizes(self, name: str) -> None:
        simulation = self._simulation
        host = simulation.host(name)
        sizes = simulation.node(name).sizes()
        bounds = allowed(simulation.config_of(host), len(simulation.names()), sizes)
        for what, size in sizes.items():
            leak = name, host.life, what
            if size > bounds[what] and leak not in self._leaking:
                self._leaking.add(leak)
                self._violate("leak", f"{name} has {size} {what}; {bounds[what]} are allowed")

    def _violate(self, rule: str, detail: str) -> None:
        self.violations.append(Violation(rule, self._simulation.now - self._began_at, detail))

    def _disagreement(self) -> str:
        simulation = self._simulation
        gone = {name for name in simulation.names() if simulation.host(name).node is None}
        wrong = []
        for name in simulation.running():
            absent = simulation.host(name).absent
            lacks, keeps = sorted(absent - gone), sorted(gone - absent)
            if lacks or keeps:
                wrong.append(
                    f"{name}"
                    + (f" lacks {lacks[0]}" if lacks else "")
                    + (f" keeps {keeps[0]}" if keeps else "")
                )
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        return f"{', '.join(wrong[:3])}{more}, {self._bounds.convergence_s:.1f} s after the last fault"

    def _hear(self, happening: Happening) -> None:
        match happening.what:
            case MemberDead(view, _):
                self._dead(happening.member, view.name, view.incarnation)
            case MemberLeft(view) | MemberJoined(view):
                pass
            case MemberSuspect(view, _) | MemberAlive(view) | MemberUpdated(view):
                pass
            case _:
                return
        gone = isinstance(happening.what, MemberDead | MemberLeft)
        self._incarnation(happening.member, view.name, view.incarnation, gone=gone)
        if isinstance(happening.what, MemberJoined):
            simulation = self._simulation
            subject_life = simulation.host(view.name).life
            key = (happening.member, simulation.host(happening.member).life, view.name, subject_life)
            if key in self._wrongly_dead:
                self._check_refuted(*key)

    def _incarnation(self, observer: str, subject: str, incarnation: int, *, gone: bool) -> None:
        now = self._simulation.now
        key = (observer, self._simulation.host(observer).life, subject)
        before, gone_at = self._incarnations.get(key, (0, None))
        kept_s = self._simulation.config.gossip_to_the_dead_time_s
        # A dead member that was forgotten, or came back at another address, counts anew (memberlist state.go, aliveNode).
        anew = gone_at is not None and (now - gone_at >= kept_s or self._simulation.host(subject).moved)
        if incarnation < before and not anew:
            self._violate("incarnation", f"{observer} saw {subject} fall from {before} to {incarnation}")
        self._incarnations[key] = (incarnation, now if gone else None)

    def _dead(self, observer: str, subject: str, incarnation: int) -> None:
        simulation = self._simulation
        host = simulation.host(subject)
        verdict = (subject, host.life, incarnation)
        if not simulation.reach(observer, subject):
            self._verdicts.add(verdict)
            return
        life = simulation.host(observer).life
        self._wrongly_dead[observer, life, subject, host.life] = simulation.now
        if verdict in self._verdicts:
            return
        self._verdicts.add(verdict)
        changed_at = max(host.changed_at, simulation.host(observer).changed_at)
        # A suspicion may have begun before the member was started or reconnected.
        if changed_at <= self._began_at or simulation.now - changed_at > self._bounds.suspicion_s:
            self.false_deaths += 1

    def _check_refuted(self, observer: str, life: int, subject: str, subject_life: int) -> None:
        since = self._wrongly_dead.pop((observer, life, subject, subject_life))
        simulation = self._simulation
        one, other = simulation.host(observer), simulation.host(subject)
        if one.life != life or other.life != subject_life or not simulation.reach(observer, subject):
            return
        calm_since = max(since, self._faults_end_at, one.changed_at, other.changed_at)
        took = simulation.now - calm_since
        allowed = self._bounds.refutation_s + (self._bounds.forgetting_s if other.moved else 0.0)
        if took > allowed:
            self._violate("refutation", f"{observer} held {subject} for dead for {took:.1f} s of calm")
