"""A member of the ring without sockets or clock: bytes and time go in, outputs come out.

The wire and the rules are those of hashicorp/memberlist. After every call the application takes the outputs, performs
them in order, and arms one timer for `next_deadline`.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from gossip.address import Endpoint
from gossip.awareness import Awareness
from gossip.config import PUSH_PULL_SCALE_THRESHOLD, SwimConfig
from gossip.context import Context
from gossip.counters import Counters
from gossip.delegate import Delegate
from gossip.errors import RejectReason, UsageError
from gossip.exchange import Exchanges
from gossip.fastlane import FastLane
from gossip.keyring import Keyring
from gossip.member import Member, MemberState, MemberView
from gossip.messages import (
    NAME_MAX_SIZE,
    Ack,
    Alive,
    Dead,
    IndirectPing,
    Nack,
    NodeState,
    PacketMessage,
    Ping,
    Suspect,
)
from gossip.outputs import Output, StreamPurpose, UserMessage
from gossip.packet import PacketCodec
from gossip.probe import Prober
from gossip.queue import BroadcastQueue
from gossip.relay import Relay, reply_endpoint
from gossip.returning import Returning
from gossip.sealing import overhead
from gossip.state import Membership, checked_meta
from gossip.timers import TimerKind
from gossip.transmit import Transmitter
from gossip.watch import WireAnswer

__all__ = ["MemberState", "MemberView", "SwimNode"]

_RESYNC_AFTER_JOIN: Final = 10
"""Gossip intervals from a join to another exchange of state: when many join at once, gossip alone leaves one of a
thousand newcomers unknown to some member until the next regular exchange."""

_CURIOSITY: Final = 5
"""Least gossip intervals between two exchanges of state that pings of strangers bring about."""


class SwimNode:
    """One member.

    Args:
        name: the identity of the member, unique in the ring.
        advertise: the address and port at which others reach it, an IP address as text.
        config: timing and limits.
        keyring: keys of the ring; None for a ring in plain text.
        meta: what to announce, at most 512 bytes.
        rng: for choice and jitter.
        entropy: gives unpredictable bytes for nonces.
        now: monotonic seconds.

    Raises:
        UsageError: a name, address or meta that cannot be announced.
    """

    def __init__(
        self,
        *,
        name: str,
        advertise: tuple[str, int],
        config: SwimConfig,
        keyring: Keyring | None,
        meta: bytes,
        rng: random.Random,
        entropy: Callable[[int], bytes],
        now: float,
    ) -> None:
        if not 0 < len(name.encode()) <= NAME_MAX_SIZE:
            raise UsageError(f"name: has {len(name.encode())} bytes; 1 to {NAME_MAX_SIZE} are allowed")
        checked_meta(meta)
        if not 0 < advertise[1] <= 0xFFFF:
            raise UsageError(f"advertise: port is {advertise[1]}; 1 to 65535 is allowed")
        context = self._context = Context(config, rng)
        self._encrypted = keyring is not None
        self._codec = PacketCodec(config, keyring, entropy)
        self._queue = BroadcastQueue(config.retransmit_mult)
        self._awareness = Awareness(config.awareness_max_multiplier)
        try:
            self._membership = Membership(
                context,
                self._queue,
                self._awareness,
                name=name,
                advertise=Endpoint(*advertise),
                meta=meta,
                now=now,
            )
        except ValueError:
            raise UsageError(f"advertise: {advertise[0]!r} is no IP address") from None
        self._transmitter = Transmitter(context, self._codec, self._queue, self._membership)
        self._returning = Returning(context, self._transmitter, self._membership)
        self._membership.on_return = self._returning.ask
        self._relay = Relay(context, self._transmitter, self._membership)
        self._exchanges = Exchanges(context, self._membership, keyring, entropy)
        self._prober = Prober(context, self._transmitter, self._membership, self._awareness, self._exchanges)
        self._exchanges.tcp_ping_answered = self._tcp_answered
        self._exchanges.joined = self._joined
        self._lane: FastLane | None = None
        if config.fast_lane is not None:
            self._lane = FastLane(
                config.fast_lane, context, self._transmitter, self._membership, self._exchanges
            )
            self._membership.on_change = self._lane.changed
        self._delegate = Delegate(
            context, self._codec, self._queue, self._transmitter, self._membership, self._exchanges
        )
        self._gossip_phase = now + rng.random() * config.gossip_interval_s
        self._curious_at = now
        self._prober.start(now)
        if config.push_pull_interval_s > 0:
            stagger = rng.random() * config.push_pull_interval_s
            context.timers.set((TimerKind.PUSH_PULL, 0), now + stagger + config.push_pull_interval_s)
        self._arm_gossip(now)

    @property
    def counters(self) -> Counters:
        """Running totals; the shell adds to its own fields of them."""
        return self._context.counters

    @property
    def endpoint(self) -> Endpoint:
        """Where this node is announced to be."""
        return self._membership.me.endpoint

    @property
    def encrypted(self) -> bool:
        """Whether the ring has keys."""
        return self._encrypted

    def members(self) -> Mapping[str, MemberView]:
        """Every known member by name, this node included; also dead and left ones that are not yet forgotten."""
        return self._membership.views()

    def former(self) -> Mapping[str, MemberView]:
        """Members that died (not left) and were forgotten: nobody looks for them unless somebody joins them."""
        return dict(self._membership.former)

    def watchers(self, name: str) -> tuple[str, ...]:
        """The members that watch this one in the fast lane; empty for one that has none, and without a fast lane."""
        return self._lane.watchers(name) if self._lane is not None else ()

    def health_score(self) -> int:
        """0 for a healthy node, up to one less than `awareness_max_multiplier`."""
        return self._awareness.score

    def queue_depth(self) -> int:
        """Messages waiting to be gossiped."""
        return len(self._queue)

    def deadlines(self) -> int:
        """Deadlines ahead: whatever is under way (probes, suspicions, streams, relayed pings) has one."""
        return len(self._context.timers)

    def sizes(self) -> dict[str, int]:
        """Everything that this node holds more or less of as time passes, by what it counts; the lane's only with it."""
        context = self._context
        return {
            "broadcasts": len(self._queue),
            "user broadcasts": len(self._delegate),
            "outputs": len(context.outputs),
            "deadlines": len(context.timers),
            "relayed pings": len(self._relay),
            "claims": len(self._returning),
            "sources refused": len(context.rejections),
            **self._membership.sizes(),
            **self._exchanges.sizes(),
            **(self._lane.sizes() if self._lane is not None else {}),
        }

    def join(self, seeds: Sequence[tuple[str, int]], *, now: float) -> list[int]:
        """Exchange state with these endpoints, at any time and as often as wanted.

        Returns:
            One stream number for each seed, under which `ExchangeEnded` tells the outcome.
        """
        numbers = self._exchanges.join([Endpoint(*seed) for seed in seeds], now)
        self._arm_gossip(now)
        return numbers

    def _joined(self, now: float) -> None:
        """What two rings know of each other spreads from more than one place."""
        config = self._context.config
        if config.push_pull_interval_s > 0:
            soon = now + min(_RESYNC_AFTER_JOIN * config.gossip_interval_s, config.push_pull_interval_s)
            self._context.timers.set((TimerKind.PUSH_PULL, 0), soon)

    def assume(self, states: Sequence[NodeState], *, now: float) -> None:
        """Take members for living without telling anyone: how a simulation begins with a whole ring. Call it before
        any other input; this node itself may be among them."""
        self._membership.assume(states, now)

    def leave(self, *, now: float) -> None:
        """Say goodbye; `LeaveDone` follows when it was spread, unless the node comes back before. The node goes on
        answering, and may `join` to tell others of its goodbye: only `come_back` makes it a member again."""
        self._membership.leave(now)
        self._arm_gossip(now)

    def come_back(self, *, now: float) -> None:
        """Be a member again after `leave`; without one nothing happens. Those that the node knows hear of it by gossip,
        others by `join`. (Upstream cannot: hashicorp/memberlist#140.)"""
        if not self._membership.leaving:
            return
        self._membership.come_back(now)
        if self._lane is not None:
            self._lane.come_back(now)
        self._arm_gossip(now)

    def set_keyring(self, keyring: Keyring) -> None:
        """Use other keys from now on; streams under way end with those that they began with.

        Raises:
            UsageError: the ring is in plain text; that cannot change while members know it.
        """
        if not self._encrypted:
            raise UsageError("keyring: the ring was started without keys")
        self._codec.set_keyring(keyring)
        self._exchanges.set_keyring(keyring)

    @staticmethod
    def check_meta(meta: bytes) -> None:
        """Raise UsageError for more than 512 bytes of meta."""
        checked_meta(meta)

    def set_meta(self, meta: bytes, *, now: float) -> None:
        """Announce another meta, delayed if the last change was less than `meta_min_interval_s` ago.

        Raises:
            UsageError: more than 512 bytes.
        """
        self._membership.set_meta(meta, now)
        self._arm_gossip(now)

    def send_user(self, name: str, payload: bytes, *, reliable: bool, now: float) -> int | None:
        """Send a message of the application to one member.

        Args:
            name: a member that is present.
            payload: by UDP as much as a datagram holds, by TCP at most `max_user_bytes`.
            reliable: by TCP.
            now: monotonic seconds.

        Returns:
            By TCP the number of the stream, under which `ExchangeEnded` tells the outcome; None by UDP.

        Raises:
            UsageError: unknown member, too many bytes, or too many streams under way.
        """
        return self._delegate.send(name, payload, now, reliable=reliable)

    def broadcast_user(self, payload: bytes, *, now: float) -> None:
        """Gossip a message of the application to all members, as often as a message of the ring itself.

        Raises:
            UsageError: more bytes than a datagram holds, or too many messages wait.
        """
        self._delegate.broadcast(payload)
        self._arm_gossip(now)

    def set_local_state(self, state: bytes) -> None:
        """What other applications get as `RemoteState` with every exchange of state; at most `max_user_bytes`.

        Raises:
            UsageError: more bytes.
        """
        self._delegate.set_local_state(state)

    def set_ack_payload(self, payload: bytes) -> None:
        """What others get as `PingPayload` when they probe this node; at most half a datagram.

        Raises:
            UsageError: more bytes.
        """
        self._delegate.set_ack_payload(payload)

    def receive_datagram(self, data: bytes, *, source: Endpoint, now: float) -> None:
        """A UDP packet came. Never raises for what it holds."""
        counters = self._context.counters
        counters.packets_in += 1
        counters.bytes_in += len(data)
        messages, faults = self._codec.unpack(data, source)
        for fault in faults:
            reason, detail = fault.reason, fault.detail
            if not self._encrypted and _looks_encrypted(data):
                reason, detail = RejectReason.ENCRYPTED, "looks encrypted; this ring has no key"
            self._context.reject(source, reason, detail, now)
        kind = type(messages[0]).__name__ if messages else "rejected"
        counters.packets_in_by[kind] += 1
        counters.bytes_in_by[kind] += len(data)
        for message in messages:
            counters.messages_in[type(message).__name__] += 1
            self._receive(message, source, now)
        self._arm_gossip(now)

    def accept_stream(self, *, source: Endpoint, now: float) -> int | None:
        """A peer connected by TCP; the number of the stream, or None if it must be closed at once."""
        return self._exchanges.accept(source, now)

    def receive_stream(self, stream: int, data: bytes, *, now: float) -> None:
        """Bytes came on a stream. Never raises for what they hold; numbers of ended streams are ignored."""
        self._exchanges.receive(stream, data, now)
        self._arm_gossip(now)

    def stream_ended(self, stream: int, *, error: str | None, now: float) -> None:
        """The peer closed the stream (`error` None), or it could not be opened or broke."""
        self._exchanges.ended(stream, error, now)

    def wire_evidence(self, name: str, answer: WireAnswer, *, own_link_proven: bool, now: float) -> None:
        """What came of asking a doubtful member on the wire (see `MemberDoubtful`).

        Args:
            name: the member that was asked.
            answer: whether a signed answer came in time.
            own_link_proven: whether the gateway or any neighbour answered while the question was open.
            now: monotonic seconds.
        """
        if self._lane is not None:
            self._lane.wire_evidence(name, answer, own_link_proven=own_link_proven, now=now)

    def give_up(self, name: str) -> None:
        """A member that died will not come back: it is asked after no more."""
        if self._lane is not None:
            self._lane.give_up(name)

    def next_deadline(self) -> float | None:
        """Monotonic seconds at which `handle_timer` wants to be called."""
        return self._context.timers.next()

    def handle_timer(self, now: float) -> None:
        """Do what is due, in the order of the deadlines; early calls do nothing."""
        timers = self._context.timers
        earliest = timers.next()
        if earliest is not None and earliest <= now:
            self._context.counters.lag.add(now - earliest)
        while (due := timers.pop(now)) is not None:
            (kind, which), at = due
            self._fire(kind, which, at, now)
        self._arm_gossip(now)

    def take_outputs(self) -> list[Output]:
        """Everything to be done since the last call, in order."""
        outputs = self._context.outputs
        if not outputs:
            return []
        taken = outputs.copy()
        outputs.clear()
        return taken

    def _receive(self, message: PacketMessage, source: Endpoint, now: float) -> None:
        if isinstance(message, Ping):
            self._answer(message, source, now)
        elif isinstance(message, Ack):
            self._acked(message, now)
        elif isinstance(message, Alive):
            self._membership.alive(message, source, now)
        elif isinstance(message, Suspect | Dead):
            self._accused(message, source, now)
        elif isinstance(message, IndirectPing):
            self._relay.ask(message, source, now)
        elif isinstance(message, Nack):
            self._prober.nacked(message.seq)
        elif message.payload:
            self._context.emit(UserMessage(source, message.payload, reliable=False))

    def _acked(self, ack: Ack, now: float) -> None:
        lane, probed, direct = self._lane, self._prober.target, self._prober.direct
        if lane is not None and lane.acked(ack.seq, now):
            return
        if not self._prober.acked(ack, now):
            if not self._relay.acked(ack.seq):
                self._returning.acked(ack.seq, now)
        elif lane is not None and probed is not None:
            lane.probed(probed, now, direct=direct)

    def _tcp_answered(self, sequence: int) -> None:
        if self._lane is None or not self._lane.tcp_answered(sequence):
            self._prober.tcp_answered(sequence)

    def _accused(self, message: Suspect | Dead, source: Endpoint, now: float) -> None:
        lane, me = self._lane, self._membership.me
        incarnation = me.incarnation
        if isinstance(message, Suspect):
            self._membership.suspect(message, now)
            if lane is not None:
                lane.accused(message, source, now)
        else:
            self._membership.dead(message, now, gossip=lane is None or not lane.secret(message, source))
        if lane is not None and me.incarnation != incarnation:
            lane.refute(self._membership.own_alive(), now)

    def _answer(self, ping: Ping, source: Endpoint, now: float) -> None:
        if ping.node and ping.node != self._membership.me.name:
            self._context.reject(source, RejectReason.WRONG_NODE, f"ping for {ping.node!r}", now)
            return
        to = reply_endpoint(ping.source_addr, ping.source_port, source)
        answer = self._delegate.answer(ping)
        if self._lane is not None and self._lane.watched_by(ping.source_node):
            self._transmitter.send_alone(to, answer)
            self._lane.asked(ping.source_node, now)
        else:
            self._transmitter.send(to, answer)
        if ping.source_node and to.host == source.host:
            self._notice(ping.source_node, to, now)

    def _notice(self, name: str, at: Endpoint, now: float) -> None:
        """Who pings us without being known, or held for dead, knows us: exchange state, and so heal the difference."""
        member = self._membership.members.get(name)
        if (member is not None and member.state is not MemberState.DEAD) or now < self._curious_at:
            return
        config = self._context.config
        self._curious_at = now + _CURIOSITY * config.gossip_interval_s
        self._exchanges.open(StreamPurpose.SYNC, at, now, timeout_s=config.tcp_timeout_s)

    def _fire(self, kind: TimerKind, which: str | int, at: float, now: float) -> None:
        match kind:
            case TimerKind.PROBE_TICK:
                self._prober.tick(at, now)
            case TimerKind.PROBE_TIMEOUT:
                self._prober.direct_timeout(now)
            case TimerKind.PROBE_END:
                self._prober.end(now)
            case TimerKind.RELAY:
                assert isinstance(which, int)
                self._relay.expired(which)
            case TimerKind.SUSPICION:
                assert isinstance(which, str)
                self._membership.suspicion_expired(which, now)
            case TimerKind.GOSSIP:
                self._gossip(now)
            case TimerKind.PUSH_PULL:
                self._push_pull(now)
            case TimerKind.STREAM:
                assert isinstance(which, int)
                self._exchanges.expired(which, now)
            case TimerKind.RETURN:
                assert isinstance(which, str)
                self._returning.expired(which, now)
            case TimerKind.EXPAND:
                self._exchanges.expand(now)
            case TimerKind.META:
                self._membership.meta_due(now)
            case TimerKind.FAST_TICK | TimerKind.DIRECT | TimerKind.HEAL:
                assert self._lane is not None
                self._lane.fire(kind, at, now)

    def _arm_gossip(self, now: float) -> None:
        """Wake at the next tick of the gossip interval, if there is anything to say."""
        if not len(self._queue) or (TimerKind.GOSSIP, 0) in self._context.timers:
            return
        interval = self._context.config.gossip_interval_s
        at = self._gossip_phase + math.ceil((now - self._gossip_phase) / interval) * interval
        # Rounding must not name this very instant again: a tick would then follow a tick without end.
        self._context.timers.set((TimerKind.GOSSIP, 0), at if at > now else at + interval)

    def _gossip(self, now: float) -> None:
        config, me = self._context.config, self._membership.me
        horizon = now - config.gossip_to_the_dead_time_s

        def wanted(member: Member) -> bool:
            if member.state is MemberState.DEAD:
                return member.since >= horizon
            return member is not me and member.state.present

        for member in self._membership.pick(config.gossip_nodes, wanted):
            if not self._transmitter.gossip(member):
                return

    def _push_pull(self, now: float) -> None:
        config, members = self._context.config, self._membership
        scale = push_pull_scale(len(members.order))
        self._context.timers.set((TimerKind.PUSH_PULL, 0), now + scale * config.push_pull_interval_s)
        peers = members.pick(1, lambda member: member.state is MemberState.ALIVE and member is not members.me)
        for peer in peers:
            self._exchanges.open(StreamPurpose.SYNC, peer.endpoint, now, timeout_s=config.tcp_timeout_s)


def push_pull_scale(members: int) -> int:
    """By how much the push/pull interval grows with the table (memberlist util.go, pushPullScale)."""
    if members <= PUSH_PULL_SCALE_THRESHOLD:
        return 1
    return math.ceil(math.log2(members) - math.log2(PUSH_PULL_SCALE_THRESHOLD)) + 1


def _looks_encrypted(data: bytes) -> bool:
    """An encryption version, a nonce and a tag fit, and no map or array follows the first byte."""
    return len(data) >= overhead(2) and data[0] in (0, 1) and not 0x80 <= data[1] <= 0x9F
