"""Tables and sentences for people, from the same documents that --json prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from speaker.status import ClaimStatus, ServiceDiagnosis, SpeakerStatus, VipStatus
from vipring.announcing import Announcement
from vipring.plan import PlanResult
from vipring.timeline import NEWS_S, Phase, Sighting, Timeline, moment

_FEW: Final = 3
"""Observers named one by one; of more only the first and the last are."""
_UNBOUNDED: Final = 1_000_000
"""A width in characters that no table has."""

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


def print_table(console: Console, rows: Table) -> None:
    """Print a table as wide as it is: like kubectl's it overflows a narrow terminal rather than lose a column or a name."""
    rows.width = Measurement.get(console, console.options.update(max_width=_UNBOUNDED), rows).maximum
    console.print(rows, crop=False)


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
        _say(console, f"speaker {status.node}: the ring is off; every known node counts as running a speaker")
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
    print_table(console, rows)
    sealed = "encrypted" if status.ring.encrypted else "NOT encrypted"
    _note(console, f"\n* asked: {status.node} (vipring {status.version}); ring {sealed}")


def explain(
    console: Console,
    service: str,
    status: SpeakerStatus,
    vips: list[VipStatus],
    announcements: Mapping[str, Announcement],
) -> None:
    """One service: its addresses, their owner and what it does, every node with its reason, and what is missing."""
    for vip in vips:
        _vip(console, vip, status, announcements[vip.address])
    diagnosis = status.service
    if diagnosis is not None and diagnosis.problem is not None:
        _say(console, f"{service}: {missing(diagnosis, status)}")
    if status.config.stale:
        _say(
            console,
            f"configuration: the last good one is in force; the current ConfigMap is refused: {status.config.error}",
        )
    if not status.api.connected:
        _say(console, f"API server: not connected ({status.api.error}); this is the last known state")


def _vip(console: Console, vip: VipStatus, status: SpeakerStatus, known: Announcement) -> None:
    _say(console, f"{vip.address}  owner {vip.owner or 'nobody'}", "bold")
    if vip.owner is not None:
        _say(console, f"  {_announcement(known)}")
    claim = vip.claim
    if vip.owner != status.node and claim is not None and (claim.state != "announcing" or vip.announcing):
        _say(console, f"  {status.node}: {_claim(claim)}")
    if len(vip.services) > 1:
        _say(console, f"  shared by {', '.join(vip.services)}")
    rows = table("  RANK", "NODE", "WHY")
    for rank, node in enumerate(vip.ranking, start=1):
        rows.add_row(f"  {rank}", node, "owner: ranks first" if node == vip.owner else _REASONS["notOwner"])
    for node, reason in vip.excluded.items():
        words = _REASONS.get(reason)
        rows.add_row("  -", node, f"{reason}: {words}" if words else reason)
    print_table(console, rows)


def _announcement(known: Announcement) -> str:
    """One sentence on what the owner of an address does."""
    if known.announcing is None:
        return f"whether it announces only its own speaker knows, which was not heard (--node {known.owner})"
    if known.announcing:
        on = f"announcing on {', '.join(known.interfaces)}"
        if known.claim is None:
            return on
        return (
            on + _since(known.claim) if known.claim.state == "announcing" else f"{on}; {_claim(known.claim)}"
        )
    sentences = {
        "otherOwner": f"its own speaker takes {known.other or 'nobody'} for the owner",
        "ipv6NotAnnounced": "IPv6 addresses are elected, but not announced",
        "leaseExpired": "its speaker stood still, and the responder fell silent",
        "noInterface": "it has no interface to announce on",
        "notYet": "not yet",
    }
    if known.claim is not None and known.reason == known.claim.state:
        return f"not announcing: {_claim(known.claim)}"
    return f"not announcing: {sentences.get(known.reason, known.reason)}"


_WHY_ASKED: Final = {
    "fenced": "this node stood still, and another may have it by now",
    "holderSilent": "the member that held it does not answer for it any more",
    "linkNotProven": "nobody at all answers on its segment; is the link of this node cut?",
    "linkDown": "the link to the segment of this address is down on this node",
}
_WHY_HELD: Final = {
    "holderAnswers": "answers for it and has not let go",
    "otherAnnounces": "announces it",
    "otherAsks": "asks for it as well and ranks first",
}


def _claim(claim: ClaimStatus) -> str:
    """One sentence on a claim, with the moment since when it stands so."""
    asking = "asking the segment who answers for it"
    stranger = (
        f"answered by MAC {claim.mac}" if claim.mac else "the speaker's log names its MAC (foreignAnswer)"
    )
    sentences = {
        "announcing": "announcing",
        "asking": f"{asking}: {_WHY_ASKED.get(claim.reason, claim.reason)}"
        if claim.reason != "wanted"
        else asking,
        "held": f"held: {claim.holder or 'another'} {_WHY_HELD.get(claim.reason, 'has it')} ({claim.reason})",
        "handingOver": f"handing over to {claim.holder or 'whoever asks'}, answering until it announces",
        "conflicted": f"conflicted: something that is no speaker answers for it, {stranger}",
    }
    return sentences.get(claim.state, f"{claim.state} ({claim.reason})") + _since(claim)


def _since(claim: ClaimStatus) -> str:
    """The end of a sentence on a claim: since when it is in its state."""
    return f", since {_clock(claim.since)} UTC" if claim.since else ""


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
    """Every member's life: who saw each phase when, and who held another state although the news must have been there."""
    rows = table("MEMBER", "STATE", "INCARNATION", "FROM", "UNTIL", "SEEN BY", "DISAGREE")
    marked = False
    for name, phases in told.members.items():
        for phase in phases:
            marked = marked or bool(phase.disagreeing)
            rows.add_row(
                name,
                state(phase.state),
                "-" if phase.incarnation is None else str(phase.incarnation),
                _clock(phase.start),
                _clock(phase.end) if phase.end else "-",
                _seen_by(phase),
                _disagree(phase),
            )
    print_table(console, rows)
    if marked:
        _note(console, f"! held another state {NEWS_S:g} s after the phase began")
    note = _observers(told.observers)
    _note(console, note + (f"; {told.skipped} unreadable lines" if told.skipped else ""))


def held(console: Console, ts: str, views: Mapping[str, Mapping[str, Sighting]]) -> None:
    """What each observer held of each member at a moment, and since when."""
    rows = table("MEMBER", "STATE", "SEEN BY")
    marked = False
    for name, view in sorted(views.items()):
        by_state: dict[str, dict[str, str]] = {}
        for observer, seen in view.items():
            by_state.setdefault(seen.state, {})[observer] = seen.ts
        sizes = sorted((len(observers) for observers in by_state.values()), reverse=True)
        for word, observers in sorted(by_state.items()):
            # The most of them need no mark, but where as many hold another state nobody can say who is right.
            differs = len(observers) < sizes[0] or sizes[:2].count(sizes[0]) > 1
            marked = marked or differs
            rows.add_row(name, state(word), ("! " if differs else "") + _moments(observers))
    print_table(console, rows)
    if marked:
        _note(console, "! observers disagree")
    _note(console, f"at {_clock(ts)} UTC")


def _seen_by(phase: Phase) -> str:
    """How many saw a phase, the first and the last of those that were in time, and the latest of the others."""
    late = {who: ts for who, ts in phase.seen_by.items() if who in phase.disagreeing}
    in_time = {who: ts for who, ts in phase.seen_by.items() if who not in late}
    if not late:
        return _moments(in_time)
    return f"{_moments(in_time, of=len(phase.seen_by))}, late: {_latest(late)}"


def _moments(seen: Mapping[str, str], *, of: int | None = None) -> str:
    """A count, and a few observers with their times: all, or the first and the last of many."""
    ordered = _by_time(seen)
    if len(ordered) <= _FEW:
        told = ", ".join(f"{who} {_time(ts)}" for who, ts in ordered)
    else:
        (first, begun), (last, ended) = ordered[0], ordered[-1]
        told = f"first {first} {_time(begun)}, last {last} {_time(ended)}"
    return f"{of or len(ordered)}: {told}"


def _latest(late: Mapping[str, str]) -> str:
    ordered = _by_time(late)
    shown = [f"{who} {_time(ts)}" for who, ts in ordered[-_FEW:]]
    return ", ".join(shown) + _more(len(ordered) - len(shown))


def _disagree(phase: Phase) -> str:
    """The mark: how many held another state, and a few of them."""
    if not phase.disagreeing:
        return "-"
    shown = [f"{who} {word}" for who, word in list(phase.disagreeing.items())[:_FEW]]
    return f"! {len(phase.disagreeing)}: {', '.join(shown)}{_more(len(phase.disagreeing) - len(shown))}"


def _more(count: int) -> str:
    return f" and {count} more" if count > 0 else ""


def _by_time(seen: Mapping[str, str]) -> list[tuple[str, str]]:
    return sorted(seen.items(), key=lambda pair: (moment(pair[1]) or 0, pair[0]))


def _observers(names: Sequence[str]) -> str:
    if len(names) > _FEW:
        return f"observers: {len(names)} ({names[0]} … {names[-1]})"
    return f"observers: {', '.join(names) or 'none'}"


def _say(console: Console, text: str, style: str = "") -> None:
    """A line as it is: never folded, brackets kept."""
    console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)


def _note(console: Console, text: str) -> None:
    _say(console, text, "dim")


def plan(console: Console, result: PlanResult) -> None:
    """Allocations, owners and errors of a plan."""
    rows = table("SERVICE", "ADDRESS", "POOL", "REASON")
    for key, allocation in sorted(result.allocations.items()):
        rows.add_row(key, ",".join(allocation.ips) or "-", allocation.pool or "-", allocation.reason or "-")
    print_table(console, rows)
    console.print()
    rows = table("ADDRESS", "OWNER", "NEXT", "EXCLUDED")
    for address, owner in result.owners.items():
        rows.add_row(
            address,
            owner.node or "nobody",
            ",".join(owner.ranking[1:]) or "-",
            "  ".join(f"{node} {reason}" for node, reason in sorted(owner.excluded.items())) or "-",
        )
    print_table(console, rows)
    for error in result.errors:
        _say(console, f"error: {error}", "red")


def _clock(ts: str) -> str:
    """Date and milliseconds of an RFC 3339 moment, in UTC; nanoseconds are for machines."""
    nanoseconds = moment(ts)
    if nanoseconds is None:
        return ts
    wall = datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC)
    return f"{wall:%Y-%m-%d %H:%M:%S}.{nanoseconds // 1_000_000 % 1000:03d}"


def _time(ts: str) -> str:
    """The time of day of a moment, where the line has the date already."""
    return _clock(ts).rpartition(" ")[2]
