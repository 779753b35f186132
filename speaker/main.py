"""The speaker process: one decision loop that owns the election and the table, and the tasks that feed it.

    API server  -> Feed -------+
    ring        -> RingKeeper -+-> inbox -> decision loop -> Decider -> responder, logs, events, metrics, status
    responder   -> its events -+

Everything runs in one thread; other tasks only put into the inbox. The loop renews the responder's lease, so a loop
that hangs makes this node fall silent within the lease.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Final, assert_never

import anyio
import anyio.lowlevel
import msgspec
import structlog

from announcer.layer2.handle import Responder
from announcer.layer2.messages import (
    Announced as AddressAnnounced,
)
from announcer.layer2.messages import (
    ClaimChanged,
    Counters,
    Exited,
    ForeignAnswer,
    InterfaceFailed,
    InterfacesChanged,
    LeaseExpired,
    LinkProven,
    MemberEvidence,
    ResponderEvent,
    Stalled,
    Withdrawn,
)
from cluster.client import ApiClient
from cluster.events import EventRecorder
from election.order import Order
from gossip.errors import RejectReason
from gossip.outputs import EventsLost, MemberDoubtful, MembershipEvent, PeerRejected, Refuted
from speaker.announced import Announced, Notice, ServiceAnnounced
from speaker.attention import Attention, unread
from speaker.claims import WIRE_ANSWERS, Claims
from speaker.decide import Decider, Decisions
from speaker.feed import KubernetesFeed
from speaker.lines import (
    Line,
    MemberEvent,
    event_name,
    member_line,
    notice_line,
    owner_line,
    rejected_line,
    ring_insecure_line,
    ring_off_line,
)
from speaker.options import SpeakerOptions
from speaker.ring import LEAVE_S, RingKeeper
from speaker.roster import PeerComplaints, Peers, candidates, may_own
from speaker.serviceevents import ServiceEvents
from speaker.state import ResponderFacts, SpeakerState
from speaker.status import SpeakerStatus, VipStatus, service_diagnosis, vip_status

log = structlog.get_logger()

RENEW_S: Final = 0.25
"""Between two renewals of the responder's lease."""
HANDOVER_S: Final = 1.0
"""How long to go on answering once the goodbye is spread, for heirs that have not taken over yet."""
INPUTS_A_TURN: Final = 500
"""Inputs taken between two looks at the lease."""
VIPS_A_TURN: Final = 20
"""Rankings worked out for /status between two turns of the other tasks."""
CLOCK_STEP_S: Final = 0.5
"""A wall clock that moved by more was set; less is the jitter of reading two clocks."""


class ResponderLostError(Exception):
    """The responder process ended: the speaker ends too and is started again as a whole."""


class Speaker:
    """A speaker from start to SIGTERM. `run` it once; `stop` makes `run` leave the ring and return."""

    def __init__(
        self, options: SpeakerOptions, responder: Responder, *, rng: random.Random | None = None
    ) -> None:
        self._options = options
        self._responder = responder
        self._rng = rng or random.Random()  # noqa: S311  (jitter and choice of peers)
        self._inbox: deque[Callable[[], None]] = deque()
        self._wake = anyio.Event()
        self._stop = anyio.Event()
        self._leaving = False
        self._roster: set[str] = set()
        self._ring: RingKeeper | None = None
        self._attention = Attention()
        self._let_go = anyio.Event()
        self._claims = Claims(options.node_name, responder)
        started = time.monotonic()
        self._epoch = time.time() - started
        ring = options.ring
        self.state = SpeakerState(
            node=options.node_name,
            version=options.version,
            started=started,
            wall=self._wall,
            decider=Decider(node=options.node_name, order=Order(options.order)),
            announced=Announced(self._claims.silent),
            claims=self._claims,
            peers=Peers(own_address=ring.bind_address if ring is not None else ""),
            complaints=PeerComplaints(),
            responder=ResponderFacts(pid=responder.pid),
            ring_enabled=ring is not None,
            ring_encrypted=ring is not None and ring.secret is not None,
            last_turn=started,
        )
        self.state.decider.set_members((), "")
        self._events = ServiceEvents(options.node_name, self.state.decider.services)
        self._feed = KubernetesFeed(options=options, state=self.state, rng=self._rng, put=self._put)

    # For vipring/serve.py

    def ready(self) -> str | None:
        """None when this speaker can own addresses, else what is missing."""
        return "leaving" if self._leaving else self.state.why_not_ready()

    def healthy(self) -> str | None:
        """None while the decision loop turns."""
        return self.state.why_not_healthy(time.monotonic())

    async def status(self, params: Mapping[str, str]) -> bytes:
        """The body of /status. `service` adds its diagnosis and leaves only its addresses in `vips`."""
        state, decider = self.state, self.state.decider
        key = params.get("service")
        vips: list[VipStatus] = []
        for number, address in enumerate(decider.addresses(), start=1):
            users = decider.users(address)
            if users and (key is None or key in users):
                vips.append(vip_status(address, decider, state.announced, self._claims, self._wall))
            if number % VIPS_A_TURN == 0:
                await anyio.lowlevel.checkpoint()
        document = SpeakerStatus(
            node=state.node,
            version=state.version,
            since=self._wall(state.started),
            ready=self.ready() is None,
            ring=state.ring_status(),
            vips=tuple(vips),
            config=state.config_status(),
            api=state.api_status(),
            responder=state.responder_status(),
            service=service_diagnosis(decider.diagnose(key)) if key is not None else None,
        )
        return msgspec.json.encode(document)

    # Life

    def stop(self) -> None:
        """Leave the ring, go on answering meanwhile, then end `run`."""
        self._stop.set()

    async def run(self) -> None:
        """Run until `stop`. Raises ResponderLostError, and ClusterError for credentials that cannot be used."""
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(self._client())
            self._warn_of_ring()
            async with anyio.create_task_group() as tasks:
                recorder = EventRecorder(
                    client, component="metallb-speaker", host=self._options.node_name, rng=self._rng
                )
                self._events.recorder = recorder
                tasks.start_soon(recorder.run)
                for watch in self._feed.watches(client):
                    tasks.start_soon(watch)
                tasks.start_soon(self._hear_responder)
                tasks.start_soon(self._decide)
                if self._options.ring is not None:
                    self._ring = self._keeper()
                    self.state.members = self._ring.members
                    self.state.watchers = self._ring.watchers
                    self.state.node_gone = self._ring.node_gone
                    self.state.ring_encrypted = self._ring.encrypted
                    tasks.start_soon(self._ring.run, self._feed.looked)
                else:
                    tasks.start_soon(self._without_ring)
                await self._stop.wait()
                await self._leave()
                tasks.cancel_scope.cancel()
        self._responder.close()
        if self.state.responder.exited is not None:
            raise ResponderLostError(self.state.responder.exited)

    def _warn_of_ring(self) -> None:
        ring = self._options.ring
        if ring is None:
            _write(ring_off_line(self._options.ring_missing))
        elif ring.secret is None:
            _write(ring_insecure_line(ring.port))

    async def _leave(self) -> None:
        """Others take over at our goodbye; until they have, this node goes on answering."""
        self._leaving = True
        log.info("leaving")
        others = len(self._roster) > 1
        self._claims.leave()
        if self._ring is not None:
            with anyio.move_on_after(LEAVE_S + 1.0):
                await self._ring.leave()
        if others and self.state.announced.addresses():
            with anyio.move_on_after(HANDOVER_S):
                await self._let_go.wait()
        log.info("left")

    def _client(self) -> ApiClient:
        if self._options.kubeconfig is not None:
            return ApiClient.from_kubeconfig(self._options.kubeconfig)
        return ApiClient.from_env()

    def _keeper(self) -> RingKeeper:
        assert self._options.ring is not None
        return RingKeeper(
            node=self._options.node_name,
            version=self._options.version,
            options=self._options.ring,
            peers=self.state.peers,
            rng=self._rng,
            on_event=lambda event: self._put(partial(self._ring_event, event)),
            on_joined=lambda: self._put(self._joined),
            on_keys=self._claims.introduce,
            others=self.state.decider.others_may_own,
        )

    async def _without_ring(self) -> None:
        await self._feed.looked.wait()
        self._put(self._joined)

    # What the ring says

    def _joined(self) -> None:
        """From here on the view of the ring counts; comes again when this speaker becomes eligible."""
        if self._ring is None:
            self.state.decider.set_members(None, "ringOff")
            self.state.joined = True
            return
        if self._ring.ring is not None:
            self.state.ring_counters = self._ring.ring.counters
            self.state.ring_queue = self._ring.queue_depth
        self._roster = self._present()
        self._claims.set_members(self._ring.members().values())
        if not self.state.joined:
            log.info("ringJoined", members=sorted(self._ring.members()), eligible=self._ring.eligible)
        self.state.joined = True
        self.state.decider.set_members(self._roster, "joined")

    def _present(self) -> set[str]:
        assert self._ring is not None
        others = candidates(self._ring.members()) - {self.state.node}
        return set(others | {self.state.node} if self._ring.eligible else others)

    def _ring_event(self, event: MembershipEvent) -> None:
        match event:
            case Refuted():
                self.state.refutations += 1
                log.warning("refuted", incarnation=event.incarnation, by=event.accuser)
            case PeerRejected():
                self._rejected(event)
            case MemberDoubtful():
                # One lost packet is enough for a doubt: a counter tells them, a line for each would be noise.
                self._claims.doubt(event.view)
            case EventsLost():
                assert self._ring is not None
                log.warning("eventsLost", count=event.count)
                self._roster = self._present()
                self._claims.set_members(self._ring.members().values())
                self._members_moved("eventsLost")
            case _:
                self._member_event(event)

    def _member_event(self, event: MemberEvent) -> None:
        name = event_name(event)
        self.state.member_event(event.view.name, name, time.monotonic())
        _write(member_line(event))
        self._claims.member_changed(event.view)
        if may_own(event.view):
            self._roster.add(event.view.name)
        else:
            self._roster.discard(event.view.name)
        self._members_moved(name)

    def _members_moved(self, cause: str) -> None:
        if self.state.joined and not self._leaving:
            self.state.decider.set_members(self._roster, cause)

    def _rejected(self, event: PeerRejected) -> None:
        assert self._options.ring is not None
        peers, complaints = self.state.peers, self.state.complaints
        peer, times = event.source.host, event.suppressed + 1
        if event.reason is RejectReason.UNDECRYPTABLE:
            complaints.count(peer, times)
        left_out = complaints.tell(peer, str(event.reason), times, time.monotonic())
        if left_out is not None:
            node = peers.node_at(peer)
            _write(rejected_line(event, node, key_size=self._options.ring.key_size, left_out=left_out))

    # What the responder says

    async def _hear_responder(self) -> None:
        while self._responder.fileno() != -1:
            await anyio.wait_readable(self._responder)
            self._attention.heard()
            for event in self._responder.events():
                self._put(partial(self._responder_event, event))

    def _responder_event(self, event: ResponderEvent) -> None:
        facts, announced = self.state.responder, self.state.announced
        match event:
            case AddressAnnounced():
                log.info("announced", ip=event.address, interface=event.interface)
                self.state.decider.announced(event.address)
                self._tell(announced.reported(event.address, event.interface))
            case Withdrawn():
                self._tell(announced.silenced(event.address))
                if self._leaving and not announced.addresses():
                    self._let_go.set()
                self._feed.retry_config()
            case LeaseExpired():
                facts.lease, facts.leases_expired = "expired", facts.leases_expired + 1
                log.error("leaseExpired", msg="no renewal came in time; this node fell silent")
                self._tell(announced.lease_expired())
                self._claims.own_again()
                facts.lease = "valid"
            case Stalled():
                facts.stalls += 1
                log.warning("responderStalled", seconds=round(event.seconds, 3))
            case InterfacesChanged():
                facts.interfaces = tuple(interface.name for interface in event.interfaces)
                if facts.interfaces:
                    log.info("interfacesChanged", interfaces=facts.interfaces)
                else:
                    log.error("interfacesChanged", interfaces=(), msg="no interface to announce on")
                self._tell(announced.interfaces_changed(facts.interfaces))
                self._tell_able()
            case InterfaceFailed():
                log.warning("interfaceFailed", interface=event.interface, error=event.detail)
            case Counters():
                facts.counters.update(event.addresses)
                facts.drops.update(event.drops)
            case LinkProven():
                self._link_event(event)
            case ClaimChanged() | ForeignAnswer() | MemberEvidence():
                self._claim_event(event)
            case Exited():
                facts.exited = event.detail
                self.stop()
            case _:
                assert_never(event)

    def _link_event(self, event: LinkProven) -> None:
        """A node that nobody on the segment can hear says so in the ring, and the next of the ranking takes over."""
        lost = self.state.responder.lost_links
        if event.proven:
            lost.discard(event.interface)
            log.info("linkProven", interface=event.interface)
        else:
            lost.add(event.interface)
            log.warning(
                "linkNotProven",
                interface=event.interface,
                msg="nobody answers on it, or it is down, though the ring holds several alive that were heard on it",
            )
        self._tell_able()

    def _tell_able(self) -> None:
        facts = self.state.responder
        if self._ring is not None:
            self._ring.set_able(bool(facts.interfaces) and not facts.lost_links)

    def _claim_event(self, event: ClaimChanged | ForeignAnswer | MemberEvidence) -> None:
        match event:
            case ClaimChanged():
                self._write_line(self._claims.changed(event, time.monotonic()))
                self._tell(self.state.announced.claim_changed(event.address))
            case ForeignAnswer():
                line = self._claims.foreign(event)
                self._write_line(line)
                users = self.state.decider.users(event.address)
                self._events.foreign(event, users, str(line.fields["msg"]))
            case MemberEvidence():
                if self._ring is not None:
                    name = self._responder.name_of(event.name)
                    self._ring.wire_evidence(name, WIRE_ANSWERS[event.answer], proven=event.proven)

    # The loop

    def _put(self, call: Callable[[], None]) -> None:
        self._inbox.append(call)
        self._wake.set()

    async def _decide(self) -> None:
        renewal = 0.0
        while True:
            decides = self.state.joined and not self._leaving
            if not self._inbox and not (decides and self.state.decider.pending):
                with anyio.move_on_after(renewal - time.monotonic()):
                    await self._wake.wait()
            else:
                await anyio.lowlevel.checkpoint()
            self._wake = anyio.Event()
            now = time.monotonic()
            self.state.last_turn = now
            if now >= renewal:
                self._renew()
                renewal = now + RENEW_S
            for _ in range(min(len(self._inbox), INPUTS_A_TURN)):
                self._inbox.popleft()()
                if time.monotonic() >= renewal:
                    break
            # Before the ring was met everything would seem to be ours.
            if self.state.joined and not self._leaving:
                self._perform(self.state.decider.take(now))

    def _renew(self) -> None:
        """Renew the lease. A responder that stands still is ended, and this speaker with it, so that heirs take over."""
        if self._attention.look(unread(self._responder.fileno())):
            log.error(
                "responderStandsStill", pid=self._responder.pid, msg="it reads nothing; this speaker ends"
            )
            with suppress(ProcessLookupError):
                os.kill(self._responder.pid, signal.SIGKILL)
        self._responder.renew()
        self._attention.told(unread(self._responder.fileno()))

    def _perform(self, decisions: Decisions) -> None:
        """Announce first; lines, however many, wait in the inbox between renewals of the lease."""
        decider = self.state.decider
        self._claims.decided(decisions, decider.table, decider.owner)
        if decisions.table is not None:
            self.state.responder.lease = "valid"
        for change in decisions.owner_changes:
            self.state.owner_changes += 1
            self._put(partial(_write, owner_line(change)))
        self._tell(self.state.announced.decided(decisions))
        if self._ring is not None:
            self._ring.look_at_time()

    def _tell(self, notices: list[Notice]) -> None:
        for notice in notices:
            self._put(partial(_write, notice_line(notice)))
            if isinstance(notice, ServiceAnnounced):
                self._events.announced(notice.offer.service)

    def _write_line(self, line: Line | None) -> None:
        if line is not None:
            self._put(partial(_write, line))

    def _wall(self, moment: float) -> str:
        """RFC 3339 of a monotonic moment, by the wall clock of now: at boot it may still be far off."""
        epoch = time.time() - time.monotonic()
        if abs(epoch - self._epoch) > CLOCK_STEP_S:
            self._epoch = epoch
        wall = datetime.fromtimestamp(self._epoch + moment, UTC)
        return wall.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _write(line: Line) -> None:
    log.log(30 if line.level == "warning" else 20, line.event, **line.fields)


async def run(options: SpeakerOptions, responder: Responder) -> None:
    """Run a speaker without its HTTP pages until cancelled; for tests and embedding."""
    await Speaker(options, responder).run()
