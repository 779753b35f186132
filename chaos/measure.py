"""From the records of one run to its facts: pure, no lab needed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from chaos import frames, neighbours, outage, owners, phases
from chaos.errors import MeasurementError
from chaos.results import Phases, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a run left behind. Times are monotonic seconds unless said otherwise."""

    vip: str
    victim: str
    fault: float
    end: float
    probe: outage.ProbeRecord
    observer: owners.ObserverRecord
    log: Sequence[phases.Entry]
    """Log lines of all speakers, on the wall clock."""
    nodes_by_mac: Mapping[str, str]
    detected_by: Collection[str]
    """Log events that count as detection."""
    comes_back: bool = False
    """The fault is the victim's return, so the former owner detects it, not the one that takes over."""
    victims: tuple[str, ...] = ()
    frames: frames.FrameRecord | None = None
    neighbour: neighbours.NeighbourRecord | None = None
    owned: Mapping[str, str] = field(default_factory=dict)
    """The node that has to own each address while every node is up, by the election (chaos/gather.py)."""
    right: Mapping[str, str] = field(default_factory=dict)
    """The same once all is at rest after the fault."""
    stalls: Sequence[float] = ()
    """When a victim began to stand still, each time."""

    @property
    def macs(self) -> Mapping[str, str]:
        """MAC addresses by node."""
        return {node: mac for mac, node in self.nodes_by_mac.items()}


LEAD_S = 1.0
"""From how long before the fault on questions are counted as sent, seconds."""


def owner_node(evidence: Evidence, at: float) -> str | None:
    """The node that alone answered for the VIP at that time."""
    macs = owners.owner_at(evidence.observer, evidence.vip, at)
    return evidence.nodes_by_mac.get(next(iter(macs))) if len(macs) == 1 else None


def owner_after(evidence: Evidence, before: str | None) -> str | None:
    """The first node other than `before` that answered after the fault; `before` when there was none."""
    for interval in owners.intervals(evidence.observer, evidence.vip):
        if interval.end <= evidence.fault:
            continue
        for mac in sorted(interval.owners):
            node = evidence.nodes_by_mac.get(mac)
            if node is not None and node != before:
                return node
    return before


def assess(evidence: Evidence, *, failure: str | None = None) -> Run:
    """The facts of one run; a run in which the client got no answer before or after the fault is a failed one."""
    gap: outage.Gap | None = None
    try:
        gap = outage.longest_gap(evidence.probe, fault=evidence.fault)
    except MeasurementError as error:
        failure = failure or str(error)
    noticed = gap is not None and gap.seconds > outage.noise_s(evidence.probe)
    sent, lost = outage.sent_and_lost(evidence.probe, since=evidence.fault - LEAD_S)
    before = owner_node(evidence, evidence.fault - 0.1)
    after = owner_after(evidence, before)
    since, until = evidence.fault, evidence.end
    suspected, detected, elected = _logged(evidence, before, after)
    mac = evidence.macs.get(after or "", "")
    announced = owners.first_announcement(evidence.observer, evidence.vip, mac, since=since)
    run = Run(
        vip=evidence.vip,
        victim=evidence.victim,
        outage_s=gap.seconds if gap else None,
        sent=sent,
        lost=lost,
        owner_before=before,
        owner_after=after,
        two_owners_s=owners.two_owners_s(evidence.observer, since=since, until=until),
        no_owner_s=owners.no_owner_s(evidence.observer, since=since, until=until),
        phases=Phases(
            detected_s=detected,
            elected_s=elected,
            announced_s=None if announced is None else announced - since,
            answered_s=gap.end - since if gap and noticed else None,
        ),
        suspected_s=suspected,
        held_up_s=outage.held_up_s(evidence.probe, gap) if gap and noticed else 0.0,
        failure=failure,
        victims=evidence.victims,
        silent_s=owners.longest_silence_s(evidence.observer, since=since, until=until),
        waited_s=outage.longest_wait_s(evidence.probe, since=since - LEAD_S),
        whole_s=outage.whole_s(evidence.probe, since=since),
    )
    return _from_frames(evidence, _settled(evidence, run))


def _settled(evidence: Evidence, run: Run) -> Run:
    """When the right owners were there, and when the client knew."""
    if not evidence.right:
        return run
    macs, since = evidence.macs, evidence.fault
    asked = set(evidence.observer.vips)
    reached = [
        owners.alone_since(evidence.observer, vip, macs[node])
        for vip, node in evidence.right.items()
        if vip in asked
    ]
    known = [at for at in reached if at is not None]
    settled_s = max(0.0, max(known) - since) if len(known) == len(reached) else None
    neighbour_s: float | None = None
    if evidence.neighbour is not None and evidence.vip in evidence.right:
        mac = macs[evidence.right[evidence.vip]]
        said = owners.last_word(evidence.observer, evidence.vip, mac, since=since)
        neighbour_s = neighbours.right_s(evidence.neighbour, mac, since=since if said is None else said)
    return msgspec.structs.replace(run, settled_s=settled_s, neighbour_s=neighbour_s)


def _from_frames(evidence: Evidence, run: Run) -> Run:
    """What the packet record says: who announced what at last, and where that is no return, of the way there."""
    if evidence.frames is None:
        return run
    macs, since, until = evidence.macs, evidence.fault, evidence.end
    owned = {vip: macs[node] for vip, node in evidence.owned.items()}
    if evidence.right:
        right = {vip: macs[node] for vip, node in evidence.right.items()}
        misplaced = frames.misplaced(evidence.frames, right, owned, until=until)
        run = msgspec.structs.replace(run, misplaced=len(misplaced))
    if evidence.comes_back:
        return run
    hit = {vip: mac for vip, mac in owned.items() if evidence.owned[vip] in evidence.victims}
    return msgspec.structs.replace(
        run,
        back_s=frames.back_s(evidence.frames, hit, since=since),
        strays=frames.strays(evidence.frames, hit, since=since, stalls=evidence.stalls),
        moves=len(frames.moved(evidence.frames, owned, since=since, until=until)),
    )


def _logged(
    evidence: Evidence, before: str | None, after: str | None
) -> tuple[float | None, float | None, float | None]:
    """When the victim was suspected, when detected and when the owner elected, seconds after the fault."""
    start = evidence.probe.start
    fault = evidence.fault + phases.wall_clock_offset(start.monotonic, start.wall)

    def after_fault(entry: phases.Entry | None) -> float | None:
        return None if entry is None else entry.at - fault

    suspected = phases.first(evidence.log, {"memberSuspect"}, since=fault, member=evidence.victim)
    detected = phases.first(
        evidence.log,
        evidence.detected_by,
        since=fault,
        node=before if evidence.comes_back else after,
        member=evidence.victim,
    )
    elected = phases.first(
        evidence.log, {"ownerChanged"}, since=fault, node=after, ip=evidence.vip, owner=after
    )
    return after_fault(suspected), after_fault(detected), after_fault(elected)
