"""Whether the owner of an address really announces it, from its own speaker's status. Pure."""

from __future__ import annotations

import ipaddress

import msgspec

from speaker.status import ClaimStatus, SpeakerStatus, VipStatus


class Announcement(msgspec.Struct, frozen=True):
    """What the owner of one address does. `announcing` is null where its own speaker was not heard.

    `reason` says why it does not announce: the state of its claim (docs/claims.md), or noOwner, otherOwner,
    ipv6NotAnnounced, leaseExpired, noInterface, notYet; empty while it does, or nobody knows. `other` is the node that
    the owner's own speaker takes for the owner, where that is another one.
    """

    owner: str | None
    announcing: bool | None
    reason: str = ""
    interfaces: tuple[str, ...] = ()
    claim: ClaimStatus | None = None
    other: str | None = None


def announcement(vip: VipStatus, own: SpeakerStatus | None) -> Announcement:
    """What is known of the address `vip`; `own` is the status of its owner's speaker, None where it was not heard."""
    if vip.owner is None:
        return Announcement(None, False, "noOwner")
    if own is None:
        return Announcement(vip.owner, None)
    view = next((known for known in own.vips if known.address == vip.address), None)
    if view is None:
        return Announcement(vip.owner, False, "notYet")
    if view.announcing:
        return Announcement(vip.owner, True, interfaces=view.interfaces, claim=view.claim)
    other = view.owner if view.owner != vip.owner else None
    return Announcement(vip.owner, False, _reason(view, own), claim=view.claim, other=other)


def _reason(view: VipStatus, own: SpeakerStatus) -> str:
    if view.claim is not None and view.claim.state != "announcing":
        return view.claim.state
    if view.owner != own.node:
        return "otherOwner"
    if ipaddress.ip_address(view.address).version == 6:
        return "ipv6NotAnnounced"
    if own.responder.lease == "expired":
        return "leaseExpired"
    return "notYet" if own.responder.interfaces else "noInterface"
