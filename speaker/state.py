"""What a running speaker knows, in one place: written by its loop, read by status, metrics and health."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from announcer.layer2.arp import DropReason
from announcer.layer2.messages import AddressCounters
from gossip.counters import Counters as RingCounters
from gossip.member import MemberView
from gossip.meta import Meta
from speaker.announced import Announced
from speaker.claims import Claims
from speaker.decide import Decider
from speaker.roster import PeerComplaints, Peers
from speaker.status import ApiStatus, ConfigStatus, MemberStatus, ResponderStatus, RingStatus, sorted_members

LOOP_DEAD_AFTER_S = 5.0
"""A decision loop that has not turned for this long is not healthy."""

MAX_LAST_EVENTS = 16_384
"""Members whose last event is kept before those that are no members any more are forgotten."""


@dataclass(slots=True)
class ResponderFacts:
    """What the responder process reported. `exited` says how it ended, `lost_links` on which interfaces nobody is heard
    though somebody must be there."""

    pid: int
    interfaces: tuple[str, ...] = ()
    lost_links: set[str] = field(default_factory=set)
    lease: str = "none"
    exited: str | None = None
    counters: dict[IPv4Address, AddressCounters] = field(default_factory=dict)
    drops: dict[DropReason, int] = field(default_factory=dict)
    leases_expired: int = 0
    stalls: int = 0


@dataclass(slots=True, kw_only=True)
class SpeakerState:
    """The whole of it. Times are monotonic seconds; `wall` turns them into RFC 3339.

    `api_errors` holds the last failure by kind of object, empty while every watch runs. `synced` names the
    kinds whose first full list was handed over; `awaited` those that are needed. `last_events` holds name and
    moment of each member's last event.
    """

    node: str
    version: str
    started: float
    wall: Callable[[float], str]
    decider: Decider
    announced: Announced
    claims: Claims
    peers: Peers
    complaints: PeerComplaints
    responder: ResponderFacts
    ring_enabled: bool
    ring_encrypted: bool
    members: Callable[[], Mapping[str, MemberView]] | None = None
    watchers: Callable[[str], tuple[str, ...]] = lambda _: ()
    node_gone: Callable[[str], None] = lambda _: None
    ring_counters: RingCounters | None = None
    ring_queue: Callable[[], int] | None = None
    joined: bool = False
    awaited: frozenset[str] = frozenset()
    synced: set[str] = field(default_factory=set)
    api_errors: dict[str, str] = field(default_factory=dict)
    config_stale: bool = False
    config_error: str | None = None
    last_turn: float = 0.0
    updates: int = 0
    update_errors: int = 0
    owner_changes: int = 0
    membership_events: Counter[str] = field(default_factory=Counter)
    last_events: dict[str, tuple[str, float]] = field(default_factory=dict)
    refutations: int = 0

    def looked(self) -> bool:
        """Whether everything that the API server has was read once."""
        return self.awaited <= self.synced

    def why_not_ready(self) -> str | None:
        """What is missing for service, None when nothing is."""
        missing = self.awaited - self.synced
        if missing:
            return f"waiting for the first list of {', '.join(sorted(missing))}"
        if not self.joined:
            return "waiting for the ring"
        if self.responder.exited is not None:
            return f"the responder has ended: {self.responder.exited}"
        if not self.responder.interfaces:
            return "no interface to announce on"
        if self.responder.lost_links:
            return f"nobody is heard on {', '.join(sorted(self.responder.lost_links))}: its link may be cut"
        return None

    def why_not_healthy(self, now: float) -> str | None:
        """None while the decision loop turns."""
        silent = now - self.last_turn
        return f"the decision loop has not turned for {silent:.1f} s" if silent > LOOP_DEAD_AFTER_S else None

    def member_event(self, member: str, event: str, now: float) -> None:
        """Remember what happened to a member last; forgotten with the member."""
        self.membership_events[event] += 1
        self.last_events[member] = (event, now)
        if len(self.last_events) > MAX_LAST_EVENTS:
            known = self.members() if self.members is not None else {}
            self.last_events = {name: last for name, last in self.last_events.items() if name in known}

    def ring_status(self) -> RingStatus:
        """The ring's part of /status."""
        views = self.members().values() if self.members is not None else ()
        return RingStatus(
            encrypted=self.ring_encrypted,
            enabled=self.ring_enabled,
            members=sorted_members([self._member(view) for view in views]),
        )

    def config_status(self) -> ConfigStatus:
        """The configuration's part of /status."""
        config = self.decider.config
        return ConfigStatus(
            loaded=config is not None,
            stale=self.config_stale,
            error=self.config_error,
            pools=tuple(pool.name for pool in config.pools) if config is not None else (),
        )

    def api_status(self) -> ApiStatus:
        """The API server's part of /status."""
        error = next((f"{kind}: {text}" for kind, text in sorted(self.api_errors.items())), None)
        return ApiStatus(connected=error is None and self.looked(), error=error)

    def responder_status(self) -> ResponderStatus:
        """The responder's part of /status."""
        facts = self.responder
        return ResponderStatus(pid=facts.pid, interfaces=facts.interfaces, lease=facts.lease)

    def _member(self, view: MemberView) -> MemberStatus:
        meta = Meta.decode(view.meta)
        event, moment = self.last_events.get(view.name, ("", None))
        return MemberStatus(
            name=view.name,
            address=view.address,
            port=view.port,
            state=view.state.word,
            incarnation=view.incarnation,
            version=meta.version if meta is not None else "",
            since=self.wall(view.since),
            is_self=view.name == self.node,
            rtt_ms=round(view.rtt_s * 1000, 3) if view.rtt_s is not None else None,
            watchers=self.watchers(view.name),
            last_event=event,
            last_event_at=self.wall(moment) if moment is not None else "",
        )
