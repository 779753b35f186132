"""From the records of one run to its facts: pure, no lab needed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from chaos import outage, owners, phases
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
    mac = next((mac for mac, node in evidence.nodes_by_mac.items() if node == after), "")
    announced = owners.first_announcement(evidence.observer, evidence.vip, mac, since=since)
    return Run(
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
