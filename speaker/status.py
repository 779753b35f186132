"""What `GET /status` says: Structs, and the functions that fill them from the objects the decisions use."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from speaker.announced import Announced
from speaker.claims import Claims
from speaker.decide import Address, Decider, Diagnosis


class MemberStatus(msgspec.Struct, frozen=True):
    """One member as this speaker sees it; `self` is true for itself, `version` empty for other software.

    `rtt_ms` is the round trip of the last probe from here, null before the first; `watchers` ask it ten times a second
    (docs/ring.md); `last_event` as in the log lines, empty where none was seen.
    """

    name: str
    address: str
    port: int
    state: str
    incarnation: int
    version: str
    since: str
    is_self: bool = msgspec.field(name="self", default=False)
    rtt_ms: float | None = None
    watchers: tuple[str, ...] = ()
    last_event: str = ""
    last_event_at: str = ""


class RingStatus(msgspec.Struct, frozen=True):
    """The ring. `enabled` is false where the flags of the ring are not all given."""

    encrypted: bool
    members: tuple[MemberStatus, ...] = ()
    enabled: bool = True


class ClaimStatus(msgspec.Struct, frozen=True):
    """Where this speaker's claim for an address stands: `state` and `reason` as in docs/claims.md, `holder` is the member
    that answers for it or is to take it over, empty for none.

    `since` is when the claim came into this state, `mac` who answered where it is conflicted, else empty.
    """

    state: str
    reason: str
    holder: str = ""
    since: str = ""
    mac: str = ""


class VipStatus(msgspec.Struct, frozen=True):
    """One address: who should own it, best candidates first, why the other nodes are none, and this speaker's own claim,
    null where it has none.

    `owner` is what was elected, since `since`; whether this speaker answers for the address, `announcing` says, which is
    never true while its claim does not allow it.
    """

    address: str
    services: tuple[str, ...]
    owner: str | None
    announcing: bool
    since: str
    ranking: tuple[str, ...] = ()
    excluded: dict[str, str] = {}
    interfaces: tuple[str, ...] = ()
    claim: ClaimStatus | None = None


class ServiceDiagnosis(msgspec.Struct, frozen=True):
    """How far one service has come; only in answers to `/status?service=ns/name`."""

    service: str
    problem: str | None = None
    type: str = ""
    addresses: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    ready_endpoints: int = 0
    endpoints: int = 0


class ConfigStatus(msgspec.Struct, frozen=True):
    """The configuration. `stale`: what the ConfigMap says is not what is in force; `error` says why."""

    loaded: bool
    stale: bool
    error: str | None = None
    pools: tuple[str, ...] = ()


class ApiStatus(msgspec.Struct, frozen=True):
    """Whether the API server answers; everything goes on from the last state when it does not."""

    connected: bool
    error: str | None = None


class ResponderStatus(msgspec.Struct, frozen=True):
    """The process that answers ARP. `lease` is valid, expired, or none before the first table."""

    pid: int
    interfaces: tuple[str, ...]
    lease: str


class SpeakerStatus(msgspec.Struct, frozen=True):
    """The whole document."""

    node: str
    version: str
    since: str
    ready: bool
    ring: RingStatus
    vips: tuple[VipStatus, ...]
    config: ConfigStatus
    api: ApiStatus
    responder: ResponderStatus
    service: ServiceDiagnosis | None = None


def vip_status(
    address: Address,
    decider: Decider,
    announced: Announced,
    claims: Claims,
    wall: Callable[[float], str],
) -> VipStatus:
    """One address. `wall` turns monotonic seconds into RFC 3339."""
    ranking = decider.ranking(address)
    claim = claims.view(address)
    return VipStatus(
        address=str(address),
        services=decider.users(address),
        owner=decider.owner(address),
        announcing=announced.is_announcing(address),
        since=wall(decider.since[address]),
        ranking=tuple(ranking.nodes),
        excluded={node: str(reason) for node, reason in sorted(ranking.excluded.items())},
        interfaces=tuple(announced.interfaces(address)),
        claim=ClaimStatus(claim.state, claim.reason, claim.holder, wall(claim.since), claim.mac)
        if claim is not None
        else None,
    )


def service_diagnosis(diagnosis: Diagnosis) -> ServiceDiagnosis:
    """The wire form of a diagnosis."""
    return ServiceDiagnosis(
        service=diagnosis.service,
        problem=diagnosis.problem,
        type=diagnosis.type,
        addresses=diagnosis.addresses,
        pools=diagnosis.pools,
        ready_endpoints=diagnosis.ready_endpoints,
        endpoints=diagnosis.endpoints,
    )


def sorted_members(members: Sequence[MemberStatus]) -> tuple[MemberStatus, ...]:
    """Members by name, the order in which people look for them."""
    return tuple(sorted(members, key=lambda member: member.name))
