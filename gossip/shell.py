"""The ring on real sockets: UDP and TCP on one port, one owner of the node, which takes turns (gossip.turns).

Everything that decides is in gossip.node; here bytes are moved and the clock is read.
"""

import contextlib
import os
import random
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

import anyio
from anyio.abc import SocketListener, TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from gossip.address import Endpoint, packed
from gossip.config import SwimConfig
from gossip.connections import Connections, endpoint_of, why
from gossip.counters import Counters
from gossip.errors import ConfigError, UsageError
from gossip.keyring import Keyring
from gossip.member import MemberView
from gossip.node import SwimNode
from gossip.outputs import (
    CloseStream,
    EventsLost,
    ExchangeEnded,
    LeaveDone,
    MembershipEvent,
    OpenStream,
    Output,
    PingPayload,
    RemoteState,
    SendDatagram,
    UserEvent,
    UserMessage,
    WriteStream,
)
from gossip.turns import Turns
from gossip.watch import WireAnswer

_RECEIVE_BUFFER: Final = 2 * 1024 * 1024
"""Bytes asked of the kernel for arriving datagrams, as upstream does (memberlist net_transport.go)."""

_BATCH: Final = 64
"""Datagrams taken before their answers go out."""

_BATCHES: Final = 32
"""Batches before timers run although the socket is not empty: a flood must not stop them."""

_DATAGRAM: Final = 65_536
_EVENTS: Final = 4096
_PORT_ATTEMPTS: Final = 20

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class JoinResult:
    """What came of a join."""

    contacted: tuple[Endpoint, ...]
    failed: Mapping[Endpoint, str]
    """Reason by endpoint."""


@dataclass(slots=True)
class _Join:
    """A join under way."""

    waiting: dict[int, Endpoint] = field(default_factory=dict)
    contacted: list[Endpoint] = field(default_factory=list)
    failed: dict[Endpoint, str] = field(default_factory=dict)
    done: anyio.Event = field(default_factory=anyio.Event)


@dataclass(slots=True)
class _Request(Generic[T]):
    """Something another task wants of the node; the owner runs it and leaves the result."""

    action: Callable[[SwimNode, float], T]
    done: anyio.Event = field(default_factory=anyio.Event)
    result: list[T] = field(default_factory=list)
    """Empty when the ring was closed first, or the node refused."""
    refusal: UsageError | None = None


class Ring:
    """A member of a ring; use it as an async context manager, which opens and closes the sockets.

    Args:
        name: the member's name; with Kubernetes that of the node.
        bind: address and port for UDP and TCP; port 0 takes a free one, `::` takes IPv4 as well.
        advertise: how others reach it, if that differs from `bind`.
        keyring: keys; None for plain text.
        config: timing and limits.
        meta: at most 512 bytes to announce.
        rng: for choice and jitter; given by tests.
        messages: how many messages and states of other members' applications wait for this one to read them; further
            ones are counted as lost. 0: they are ignored, as by an application that has nothing to say.

    Raises:
        ConfigError: `bind` is a wildcard or no address and `advertise` is not given.
    """

    def __init__(
        self,
        *,
        name: str,
        bind: tuple[str, int],
        advertise: tuple[str, int] | None,
        keyring: Keyring | None,
        config: SwimConfig,
        meta: bytes,
        rng: random.Random | None = None,
        messages: int = 0,
    ) -> None:
        for host, what in ((bind[0], "bind"), ((advertise or bind)[0], "advertise")):
            try:
                wildcard = not any(packed(host))
            except ValueError:
                raise ConfigError(f"{what}: {host!r}; an IP address is allowed") from None
            if wildcard and what == "advertise":
                raise ConfigError(f"advertise: needed, because bind is {host}, which others cannot reach")
        self._name = name
        self._bind = Endpoint(*bind)
        self._advertise = advertise
        self._keyring = keyring
        self._config = config
        self._meta = meta
        self._rng = rng or random.Random()  # noqa: S311 - chance, not secrets
        self._node: SwimNode | None = None
        self._udp: socket.socket
        self._ipv6: bool
        self._tasks: TaskGroup
        self._stack = contextlib.AsyncExitStack()
        self._turns: Turns
        self._batches = 0
        self._connections: Connections
        self._joins: dict[int, _Join] = {}
        self._left = anyio.Event()
        self._events_lost = 0
        self._wanted_meta: bytes | None = None
        self._requests: deque[_Request[object]] = deque()
        events = anyio.create_memory_object_stream[MembershipEvent](_EVENTS)
        self._tell: MemoryObjectSendStream[MembershipEvent] = events[0]
        self.events: MemoryObjectReceiveStream[MembershipEvent] = events[1]
        """What happens to members, for one reader; closed with the ring (EndOfStream or ClosedResourceError)."""
        self._wants_messages = messages > 0
        heard = anyio.create_memory_object_stream[UserEvent](messages)
        self._hand_over: MemoryObjectSendStream[UserEvent] = heard[0]
        self.messages: MemoryObjectReceiveStream[UserEvent] = heard[1]
        """What other members' applications say, for one reader; closed with the ring."""

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._close_memory)
            self._udp, listeners = await self._open_sockets()
            self._ipv6 = self._udp.family == socket.AF_INET6
            stack.callback(self._udp.close)
            for listener in listeners:
                stack.push_async_callback(listener.aclose)
            self._node = SwimNode(
                name=self._name,
                advertise=self._advertised(),
                config=self._config,
                keyring=self._keyring,
                meta=self._meta,
                rng=self._rng,
                entropy=os.urandom,
                now=time.monotonic(),
            )
            self._tasks = await stack.enter_async_context(anyio.create_task_group())
            self._turns = Turns(self._udp, self._turn)
            self._tasks.start_soon(self._turns.run)
            self._connections = Connections(self._tasks, self._ask, self._config.tcp_timeout_s)
            for listener in listeners:
                self._tasks.start_soon(self._connections.serve, listener)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self._tasks.cancel_scope.cancel()
        if error is None or isinstance(error, anyio.get_cancelled_exc_class()):
            return await self._stack.__aexit__(kind, error, trace)
        # The body's own error reaches the caller as it is, not within the group of our tasks.
        await self._stack.aclose()
        return None

    @property
    def endpoint(self) -> Endpoint:
        """The advertised address and port."""
        return self._running().endpoint

    @property
    def counters(self) -> Counters:
        """Running totals."""
        return self._running().counters

    @property
    def encrypted(self) -> bool:
        """Whether the ring has keys."""
        return self._keyring is not None

    @property
    def queue_depth(self) -> int:
        """Messages waiting to be gossiped."""
        return self._running().queue_depth()

    @property
    def health_score(self) -> int:
        """0 for a healthy node, up to one less than `awareness_max_multiplier`."""
        return self._running().health_score()

    def members(self) -> Mapping[str, MemberView]:
        """Every known member by name, this node included; dead and left ones until they are forgotten."""
        return self._running().members()

    def former(self) -> Mapping[str, MemberView]:
        """Members that died and were forgotten by the ring: whom to join again after a partition."""
        return self._running().former()

    def watchers(self, name: str) -> tuple[str, ...]:
        """The members that watch this one in the fast lane; empty for one that has none, and without a fast lane."""
        return self._running().watchers(name)

    def set_meta(self, meta: bytes) -> None:
        """Announce another meta; of several in quick succession the last one counts.

        Raises:
            UsageError: more than 512 bytes, or the ring does not run.
        """
        self._running().check_meta(meta)
        self._wanted_meta = meta
        self._turns.ask()

    async def set_keyring(self, keyring: Keyring) -> None:
        """Use other keys from now on.

        Raises:
            UsageError: the ring does not run, or runs in plain text.
        """
        if self._keyring is None:
            raise UsageError("keyring: the ring was started without keys")
        await self._ask(lambda node, _: node.set_keyring(keyring))

    async def send_user(self, name: str, payload: bytes, *, reliable: bool = True) -> str | None:
        """Send a message of the application to one member: by TCP, or within one datagram that may be lost.

        Returns:
            Why it did not reach the member, as far as TCP can tell; else None.

        Raises:
            UsageError: the member is not present, the message too large, or the ring does not run.
        """
        sending = _Join()

        def start(node: SwimNode, now: float) -> None:
            number = node.send_user(name, payload, reliable=reliable, now=now)
            if number is not None:
                sending.waiting[number] = node.members()[name].endpoint
                self._joins[number] = sending

        await self._ask(start)
        if sending.waiting:
            await sending.done.wait()
        return next(iter(sending.failed.values()), None)

    async def broadcast_user(self, payload: bytes) -> None:
        """Gossip a message of the application to all members; it may reach them more than once.

        Raises:
            UsageError: the message is too large, too many wait, or the ring does not run.
        """
        await self._ask(lambda node, now: node.broadcast_user(payload, now=now))

    async def set_local_state(self, state: bytes) -> None:
        """What other applications get with every exchange of state.

        Raises:
            UsageError: it is too large, or the ring does not run.
        """
        await self._ask(lambda node, _: node.set_local_state(state))

    async def set_ack_payload(self, payload: bytes) -> None:
        """What others get when they probe this member.

        Raises:
            UsageError: it is too large, or the ring does not run.
        """
        await self._ask(lambda node, _: node.set_ack_payload(payload))

    async def join(self, endpoints: Sequence[tuple[str, int]]) -> JoinResult:
        """Exchange state with each endpoint, all at once; never raises for unreachable peers.

        It takes at most `tcp_timeout_s` for every `max_streams` endpoints.

        Raises:
            UsageError: the ring does not run, or a port is out of its range.
        """
        for host, port in endpoints:
            if not 0 < port <= 0xFFFF:
                raise UsageError(f"join: {Endpoint(host, port).text}; a port from 1 to 65535 is allowed")
        join = _Join()

        def start(node: SwimNode, now: float) -> None:
            numbers = node.join(endpoints, now=now)
            join.waiting.update(zip(numbers, (Endpoint(*endpoint) for endpoint in endpoints), strict=True))
            self._joins.update(dict.fromkeys(join.waiting, join))

        if endpoints:
            await self._ask(start)
            await join.done.wait()
        return JoinResult(tuple(join.contacted), join.failed)

    async def wire_evidence(self, name: str, answer: WireAnswer, *, own_link_proven: bool) -> None:
        """What came of asking a doubtful member on the wire, as `MemberDoubtful` invites (see `SwimNode`).

        Raises:
            UsageError: the ring does not run.
        """
        await self._ask(
            lambda node, now: node.wire_evidence(name, answer, own_link_proven=own_link_proven, now=now)
        )

    async def give_up(self, name: str) -> None:
        """Ask no more after a member that died: it will not come back, or comes by joining.

        Raises:
            UsageError: the ring does not run.
        """
        await self._ask(lambda node, _: node.give_up(name))

    async def leave(self, timeout_s: float = 1.0) -> None:
        """Say goodbye; returns when it was spread, when `come_back` calls it off, or when the time is over. The sockets
        stay open until the exit."""

        def goodbye(node: SwimNode, now: float) -> anyio.Event:
            node.leave(now=now)
            return self._left

        left = await self._ask(goodbye)
        with anyio.move_on_after(timeout_s):
            await left.wait()

    async def come_back(self) -> None:
        """Be a member again after `leave` (see `SwimNode.come_back`); nothing else, no `join` either, ends a goodbye.

        Raises:
            UsageError: the ring does not run.
        """

        def again(node: SwimNode, now: float) -> None:
            node.come_back(now=now)
            # Whoever waits for the last goodbye need not wait on; the next one is waited for anew.
            self._left.set()
            self._left = anyio.Event()

        await self._ask(again)

    def _running(self) -> SwimNode:
        if self._node is None:
            raise UsageError("the ring does not run")
        return self._node

    def _advertised(self) -> Endpoint:
        port = self._udp.getsockname()[1]
        if self._advertise is None:
            return Endpoint(self._bind.host, port)
        return Endpoint(self._advertise[0], self._advertise[1] or port)

    async def _open_sockets(self) -> tuple[socket.socket, Sequence[SocketListener]]:
        """UDP and TCP on the same port; a free port for one may be taken for the other, so try some."""
        attempts = 1 if self._bind.port else _PORT_ATTEMPTS
        both = self._bind.host == "::"
        while True:
            attempts -= 1
            udp = socket.socket(
                socket.AF_INET6 if ":" in self._bind.host else socket.AF_INET, socket.SOCK_DGRAM
            )
            try:
                udp.setblocking(False)
                udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
                if udp.family == socket.AF_INET6:
                    udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
                udp.bind(self._bind)
                port = udp.getsockname()[1]
                host = None if both else self._bind.host
                tcp = await anyio.create_tcp_listener(local_host=host, local_port=port)
            except OSError as error:
                udp.close()
                if attempts <= 0:
                    raise ConfigError(f"bind: {self._bind.text}: {why(error)}") from error
            except BaseException:
                udp.close()
                raise
            else:
                return udp, [listener for listener in tcp.listeners if isinstance(listener, SocketListener)]

    def _close_memory(self) -> None:
        """Release whoever waits for the node, and end the events."""
        self._node = None
        while self._requests:
            self._requests.popleft().done.set()
        for join in self._joins.values():
            join.failed.update(dict.fromkeys(join.waiting.values(), "the ring was closed"))
            join.done.set()
        self._joins.clear()
        self._tell.close()
        self.events.close()
        self._hand_over.close()
        self.messages.close()

    async def _ask(self, action: Callable[[SwimNode, float], T]) -> T:
        """Have the owner run something.

        Raises:
            UsageError: the ring does not run, or the node refused.
        """
        self._running()
        request = _Request(action)
        self._requests.append(request)  # type: ignore[arg-type]  # only the asker reads the result
        self._turns.ask()
        await request.done.wait()
        if request.refusal is not None:
            raise request.refusal
        if not request.result:
            raise UsageError("the ring was closed")
        return request.result[0]

    def _turn(self) -> float | None:
        """Take what has come, answer, do what is due; the next deadline, None while the socket holds more."""
        node = self._running()
        self._perform(node.take_outputs())
        emptied = self._receive(node)
        self._serve_requests(node)
        self._batches += 1
        # What waits in the socket came before the deadline did; a late timer must not miss it.
        if emptied or self._batches >= _BATCHES:
            self._batches = 0
            node.handle_timer(time.monotonic())
            self._perform(node.take_outputs())
        return node.next_deadline() if emptied else None

    def _receive(self, node: SwimNode) -> bool:
        """Take a batch of datagrams; True if the socket is empty."""
        for _ in range(_BATCH):
            try:
                data, source = self._udp.recvfrom(_DATAGRAM)
            except (BlockingIOError, InterruptedError):
                return True
            except OSError:
                # An ICMP error of an earlier packet; the socket is fine.
                continue
            node.receive_datagram(data, source=endpoint_of(source), now=time.monotonic())
            self._perform(node.take_outputs())
        return False

    def _serve_requests(self, node: SwimNode) -> None:
        if self._wanted_meta is not None:
            node.set_meta(self._wanted_meta, now=time.monotonic())
            self._wanted_meta = None
            self._perform(node.take_outputs())
        while self._requests:
            request = self._requests.popleft()
            try:
                request.result.append(request.action(node, time.monotonic()))
            except UsageError as refusal:
                request.refusal = refusal
            self._perform(node.take_outputs())
            request.done.set()

    def _perform(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            match output:
                case SendDatagram(to, data):
                    self._send(to, data)
                case OpenStream():
                    self._connections.open(output)
                case WriteStream(stream, data):
                    self._connections.write(stream, data)
                case CloseStream(stream):
                    self._connections.close(stream)
                case ExchangeEnded(stream, to, _, error):
                    self._joined(stream, to, error)
                case LeaveDone():
                    self._left.set()
                case UserMessage() | RemoteState() | PingPayload():
                    self._pass_message(output)
                case _:
                    self._emit(output)

    def _send(self, to: Endpoint, data: bytes) -> None:
        host = f"::ffff:{to.host}" if self._ipv6 and ":" not in to.host else to.host
        try:
            self._udp.sendto(data, (host, to.port))
        except OSError:
            self.counters.send_errors += 1

    def _emit(self, event: MembershipEvent) -> None:
        try:
            if self._events_lost:
                self._tell.send_nowait(EventsLost(self._events_lost))
                self._events_lost = 0
            self._tell.send_nowait(event)
        except anyio.WouldBlock:
            self._events_lost += 1
            self.counters.events_lost += 1
        except anyio.BrokenResourceError:
            # Nobody reads; members() tells all.
            self.counters.events_lost += 1

    def _pass_message(self, event: UserEvent) -> None:
        if not self._wants_messages:
            return
        try:
            self._hand_over.send_nowait(event)
        except (anyio.WouldBlock, anyio.BrokenResourceError):
            self.counters.messages_lost += 1

    def _joined(self, stream: int, to: Endpoint, error: str | None) -> None:
        join = self._joins.pop(stream, None)
        if join is None:
            return
        del join.waiting[stream]
        if error is None:
            join.contacted.append(to)
        else:
            join.failed[to] = error
        if not join.waiting:
            join.done.set()
