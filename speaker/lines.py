"""The log lines that others rely on, as (level, event, fields): pure, so that they can be tested without a process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from gossip.errors import RejectReason
from gossip.member import MemberView
from gossip.outputs import (
    MemberAlive,
    MemberDead,
    MemberJoined,
    MemberLeft,
    MemberSuspect,
    MemberUpdated,
    PeerRejected,
)
from speaker.announced import Notice, ServiceAnnounced, ServiceWithdrawn
from speaker.decide import OwnerChange

MemberEvent = MemberJoined | MemberSuspect | MemberAlive | MemberDead | MemberLeft | MemberUpdated
Fields = dict[str, str | int | None]


class Line(NamedTuple):
    """One log line before it is written."""

    level: Literal["info", "warning"]
    event: str
    fields: Fields


def event_name(event: MemberEvent) -> str:
    """Name of a membership event in logs and metrics: memberJoined …"""
    kind = type(event).__name__
    return kind[0].lower() + kind[1:]


def member_line(event: MemberEvent) -> Line:
    """The line of a membership event."""
    fields = _member(event.view)
    match event:
        case MemberSuspect(by=by) | MemberDead(by=by):
            fields["by"] = by
        case _:
            pass
    level: Literal["info", "warning"] = "warning" if isinstance(event, MemberSuspect | MemberDead) else "info"
    return Line(level, event_name(event), fields)


def _member(view: MemberView) -> Fields:
    return {
        "member": view.name,
        "address": view.address,
        "port": view.port,
        "incarnation": view.incarnation,
        "state": view.state.word,
    }


def ring_off_line(missing: Sequence[str]) -> Line:
    """The line of a speaker without a ring; `missing` is what it was not given."""
    fields: Fields = {
        "reason": f"not given: {', '.join(missing)}",
        "msg": "without a ring every known node counts as running a speaker, also a dead one",
    }
    return Line("warning", "ringOff", fields)


def ring_insecure_line(port: int) -> Line:
    """The line of a speaker that was told to run its ring without encryption."""
    fields: Fields = {
        "reason": "--insecure-ring",
        "msg": f"the ring is not encrypted: whoever reaches port {port} of this node can read it, and move addresses",
    }
    return Line("warning", "ringInsecure", fields)


def owner_line(change: OwnerChange) -> Line:
    """The line of an address that changed hands; null is nobody."""
    fields: Fields = {
        "ip": str(change.ip),
        "service": ",".join(change.services),
        "owner": change.owner,
        "previous": change.previous,
        "reason": change.reason,
    }
    return Line("info", "ownerChanged", fields)


def notice_line(notice: Notice) -> Line:
    """MetalLB's serviceAnnounced and serviceWithdrawn."""
    offer = notice.offer
    fields: Fields = {
        "service": offer.service,
        "ip": str(offer.ip),
        "pool": offer.pool,
        "protocol": offer.protocol,
    }
    match notice:
        case ServiceAnnounced():
            return Line("info", "serviceAnnounced", fields)
        case ServiceWithdrawn(reason=reason):
            return Line("info", "serviceWithdrawn", {**fields, "reason": reason})


def peer_name(event: PeerRejected, node: str | None) -> str:
    """What to call a peer: its node's name and address, or the address alone."""
    return f"{node} ({event.source.host})" if node else event.source.host


def rejected_line(event: PeerRejected, node: str | None, *, key_size: int, left_out: int) -> Line:
    """The line for input of a peer that was refused; `node` is the peer's node where the pods tell it."""
    fields: Fields = {"peer": event.source.host, "reason": str(event.reason), "detail": event.detail}
    if node:
        fields["peerNode"] = node
    if left_out:
        fields["suppressed"] = left_out
    fields["msg"] = (
        _advice(event.reason, peer_name(event, node), key_size)
        or f"refused input of {peer_name(event, node)}"
    )
    return Line("warning", "peerRejected", fields)


def _advice(reason: RejectReason, peer: str, key_size: int) -> str | None:
    match reason:
        case RejectReason.UNDECRYPTABLE:
            return (
                f"the memberlist secret of peer {peer} differs from this speaker's (key size here: {key_size} bytes, "
                "--ring-key-size); it is not in the ring until both hold the same"
            )
        case RejectReason.UNENCRYPTED:
            return (
                f"peer {peer} runs without a memberlist secret, this speaker with one; it is not in the ring"
            )
        case RejectReason.ENCRYPTED:
            return f"peer {peer} runs with a memberlist secret, this speaker without; it is not in the ring"
        case _:
            return None
