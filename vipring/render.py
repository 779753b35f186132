"""Tables and sentences for people, from the same documents that --json prints."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.table import Table
from rich.text import Text

from speaker.status import ClaimStatus, ServiceDiagnosis, SpeakerStatus, VipStatus
from vipring.plan import PlanResult
from vipring.timeline import Timeline

_COLOURS = {"alive": "green", "suspect": "yellow", "dead": "red", "left": "dim"}

_REASONS = {
    "notOwner": "another node ranks before it",
    "noReadyEndpoint": "no ready endpoint there",
    "noLocalEndpoints": "externalTrafficPolicy Local, and no endpoint there",
    "noEndpoints": "the Service has no endpoints",
    "nodeUnknown": "a member of the ring, but no Kubernetes node",
    "speakerNotAlive": "no live speaker there",
    "nodeNetworkUnavailable": "the node's network is not available",
    "nodeLabeledExcludeBalancers": "excluded by a label of the node",
}


def table(*headers: str) -> Table:
    """A borderless table, like kubectl's."""
    made = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for header in headers:
        made.add_column(header, no_wrap=True)
    return made


def state(word: str) -> Text:
    """A member's state in its colour."""
    return Text(word, style=_COLOURS.get(word, ""))


def age(since: str, now: datetime) -> str:
    """How long ago an RFC 3339 moment was, in kubectl's short form (12s, 5m, 3h, 2d)."""
    try:
        moment = datetime.fromisoformat(since[:19]).replace(tzinfo=UTC)
    except ValueError:
        return since
    seconds = max(0, int((now - moment) / timedelta(seconds=1)))
    for limit, unit, size in ((120, "s", 1), (7200, "m", 60), (172800, "h", 3600)):
        if seconds < limit:
            return f"{seconds // size}{unit}"
    return f"{seconds // 86400}d"


def members(console: Console, status: SpeakerStatus, now: datetime) -> None:
    """The ring as one speaker sees it."""
    if not status.ring.enabled:
        console.print(f"speaker {status.node}: the ring is off; every known node counts as running a speaker")
        return
    rows = table(
        "NAME", "STATE", "INCARNATION", "ADDRESS", "VERSION", "RTT", "WATCHERS", "SINCE", "LAST EVENT"
    )
    for member in status.ring.members:
        rows.add_row(
            f"{member.name} *" if member.is_self else member.name,
            state(member.state),
            str(member.incarnation),
            f"{member.address}:{member.port}",
            member.version or "-",
            f"{member.rtt_ms:.1f}ms" if member.rtt_ms is not None else "-",
            " ".join(member.watchers) or "-",
            age(member.since, now),
            f"{member.last_event} {age(member.last_event_at, now)} ago" if member.last_event else "-",
        )
    console.print(rows)
    sealed = "encrypted" if status.ring.encrypted else "NOT encrypted"
    console.print(
        f"\n* asked: {status.node} (vipring {status.version}); ring {sealed}", style="dim", highlight=False
    )


def explain(console: Console, service: str, status: SpeakerStatus, vips: list[VipStatus]) -> None:
    """One service: its addresses, their owner, every node with its reason, and what is missing."""
    for vip in vips:
        _vip(console, vip, status)
    diagnosis = status.service
    if diagnosis is not None and diagnosis.problem is not None:
        console.print(f"{service}: {missing(diagnosis, status)}", highlight=False, soft_wrap=True)
    if status.config.stale:
        console.print(
            f"configuration: the last good one is in force; the current ConfigMap is refused: {status.config.error}",
            highlight=False,
            soft_wrap=True,
        )
    if not status.api.connected:
        console.print(
            f"API server: not connected ({status.api.error}); this is the last known state",
            highlight=False,
            soft_wrap=True,
        )


def _vip(console: Console, vip: VipStatus, status: SpeakerStatus) -> None:
    console.print(f"{vip.address}  owner {vip.owner or 'nobody'}", style="bold", highlight=False)
    if vip.owner == status.node:
        on = ", ".join(vip.interfaces)
        console.print(f"  announcing on {on}" if vip.announcing else "  not announcing yet", highlight=False)
    if vip.claim is not None and vip.claim.state != "announcing":
        console.print(f"  {status.node}: {_claim(vip.claim)}", highlight=False, soft_wrap=True)
    if len(vip.services) > 1:
        console.print(f"  shared by {', '.join(vip.services)}", highlight=False)
    rows = table("  RANK", "NODE", "WHY")
    for rank, node in enumerate(vip.ranking, start=1):
        rows.add_row(f"  {rank}", node, "owner: ranks first" if node == vip.owner else _REASONS["notOwner"])
    for node, reason in vip.excluded.items():
        words = _REASONS.get(reason)
        rows.add_row("  -", node, f"{reason}: {words}" if words else reason)
    console.print(rows)


def _claim(claim: ClaimStatus) -> str:
    """One sentence on a claim that is not simply announcing."""
    reasons = {
        "linkNotProven": "nobody at all answers on its segment; is the link of this node cut?",
        "linkDown": "the link to the segment of this address is down on this node",
    }
    sentences = {
        "asking": f"asking the segment who answers for it: {reasons.get(claim.reason, claim.reason)}",
        "held": f"held: {claim.holder or 'another'} answers for it and has not let go ({claim.reason})",
        "handingOver": f"handing over to {claim.holder or 'whoever asks'}, answering until it announces",
        "conflicted": "something that is no speaker answers for it; the speaker's log names its MAC (foreignAnswer)",
    }
    return sentences.get(claim.state, f"{claim.state} ({claim.reason})")


def missing(diagnosis: ServiceDiagnosis, status: SpeakerStatus) -> str:
    """One sentence that says what keeps a service from being announced, and what to do."""
    pools = ", ".join(status.config.pools) or "none"
    addresses = ", ".join(diagnosis.addresses)
    sentences = {
        "serviceNotFound": "no such Service (or the speaker has not seen it yet)",
        "notLoadBalancer": f"spec.type is {diagnosis.type or 'ClusterIP'}; only LoadBalancer Services get an address",
        "otherLoadBalancerClass": "spec.loadBalancerClass is set: the Service belongs to another load balancer",
        "noConfig": "no configuration: create ConfigMap `config` with address-pools in the speakers' namespace"
        + (f" (refused: {status.config.error})" if status.config.error else ""),
        "noPools": "the configuration has no address-pools",
        "noIPAllocated": f"no address in status.loadBalancer: the controller has given none (pools: {pools}); "
        "see the events in `kubectl describe service`",
        "ipNotAllowed": f"{addresses} is in no pool of the configuration (pools: {pools})",
        "protocolNotLayer2": f"{addresses} is in a pool of another protocol than layer2",
        "noReadyEndpoint": f"nobody announces {addresses}: no ready endpoint ({diagnosis.endpoints} known); "
        "check the Service's selector and its pods",
        "noCandidate": f"nobody announces {addresses}: no node is a candidate",
    }
    return sentences.get(diagnosis.problem or "", diagnosis.problem or "nothing is missing")


def timeline(console: Console, told: Timeline) -> None:
    """Every member's life, with the moment each observer saw each phase."""
    rows = table("MEMBER", "STATE", "INCARNATION", "FROM", "UNTIL", "SEEN BY")
    for name, phases in told.members.items():
        for phase in phases:
            rows.add_row(
                name,
                state(phase.state),
                "-" if phase.incarnation is None else str(phase.incarnation),
                _clock(phase.start),
                _clock(phase.end) if phase.end else "-",
                "  ".join(f"{who} {_clock(ts)}" for who, ts in phase.seen_by.items()),
            )
    console.print(rows)
    note = f"observers: {', '.join(told.observers) or 'none'}"
    console.print(
        note + (f"; {told.skipped} unreadable lines" if told.skipped else ""), style="dim", highlight=False
    )


def held(console: Console, moment: str, states: dict[str, dict[str, str]]) -> None:
    """What each observer held of each member at a moment."""
    rows = table("MEMBER", "STATE", "SEEN BY")
    for name in sorted(states):
        by_state: dict[str, list[str]] = {}
        for observer, word in sorted(states[name].items()):
            by_state.setdefault(word, []).append(observer)
        for word, observers in sorted(by_state.items()):
            rows.add_row(name, state(word), ", ".join(observers))
    console.print(rows)
    console.print(f"at {moment}", style="dim", highlight=False)


def plan(console: Console, result: PlanResult) -> None:
    """Allocations, owners and errors of a plan."""
    rows = table("SERVICE", "ADDRESS", "POOL", "REASON")
    for key, allocation in sorted(result.allocations.items()):
        rows.add_row(key, ",".join(allocation.ips) or "-", allocation.pool or "-", allocation.reason or "-")
    console.print(rows)
    console.print()
    rows = table("ADDRESS", "OWNER", "NEXT", "EXCLUDED")
    for address, owner in result.owners.items():
        rows.add_row(
            address,
            owner.node or "nobody",
            ",".join(owner.ranking[1:]) or "-",
            "  ".join(f"{node} {reason}" for node, reason in sorted(owner.excluded.items())) or "-",
        )
    console.print(rows)
    for error in result.errors:
        console.print(f"error: {error}", style="red", highlight=False, soft_wrap=True)


def _clock(ts: str) -> str:
    """Date and milliseconds of an RFC 3339 moment; nanoseconds are for machines."""
    return ts.rstrip("Z")[:23].replace("T", " ")
