"""Streams under way, in both directions: exchanges of state and pings by TCP (memberlist net.go, state.go)."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from gossip.address import Endpoint
from gossip.context import Context
from gossip.errors import DecodeError, RejectReason
from gossip.keyring import Keyring
from gossip.label import header
from gossip.messages import Ack, ErrorReply, Ping, User, encode
from gossip.outputs import (
    CloseStream,
    ExchangeEnded,
    OpenStream,
    RemoteState,
    StreamPurpose,
    UserMessage,
    WriteStream,
)
from gossip.state import Membership
from gossip.stream import PushPull, StreamMessage, StreamReader, encode_push_pull, encode_user, frame
from gossip.timers import TimerKind

_PAUSE_S: Final = 0.003
"""From one slice of an expansion to the next: leaves most of the time to everything else."""


class _Stream:
    """One stream; `purpose` is None where the peer opened it."""

    __slots__ = ("peer", "purpose", "reader", "seq")

    def __init__(
        self, peer: Endpoint, reader: StreamReader, purpose: StreamPurpose | None, seq: int = 0
    ) -> None:
        self.peer = peer
        self.reader = reader
        self.purpose = purpose
        self.seq = seq


class Exchanges:
    """All streams of a node. The shell moves bytes; what they mean, and how long they may take, is known here."""

    def __init__(
        self,
        context: Context,
        membership: Membership,
        keyring: Keyring | None,
        entropy: Callable[[int], bytes],
    ) -> None:
        self._context = context
        self._membership = membership
        self._keyring = keyring
        self._entropy = entropy
        self._header = header(context.config.label.encode())
        self._streams: dict[int, _Stream] = {}
        self._last = 0
        self._joins: deque[tuple[int, Endpoint]] = deque()
        self._buffered = 0
        self._expanding: deque[int] = deque()
        self.tcp_ping_answered: Callable[[int], None] | None = None
        """Told the number of each ping that was answered by TCP."""
        self.joined: Callable[[float], None] | None = None
        """Told the time of each join that a peer answered."""
        self.local_state = b""
        """What the application adds to every exchange of state."""

    def sizes(self) -> dict[str, int]:
        """What is held of streams, by what it counts."""
        return {
            "streams in": self._count(inbound=True),
            "streams out": self._count(inbound=False),
            "joins waiting": len(self._joins),
            "expansions": len(self._expanding),
            "stream bytes": self._buffered,
        }

    def set_keyring(self, keyring: Keyring) -> None:
        """Use other keys for the streams that begin from here on."""
        self._keyring = keyring

    def join(self, seeds: Sequence[Endpoint], now: float) -> list[int]:
        """Exchange state with each; the numbers under which `ExchangeEnded` will tell the outcome."""
        numbers = []
        for seed in seeds:
            self._last += 1
            numbers.append(self._last)
            self._joins.append((self._last, seed))
        self._start_joins(now)
        return numbers

    def open(
        self,
        purpose: StreamPurpose,
        to: Endpoint,
        now: float,
        *,
        timeout_s: float,
        ping: Ping | None = None,
        user: bytes | None = None,
        number: int | None = None,
    ) -> int | None:
        """Dial a peer; None if too many streams are open."""
        if self._count(inbound=False) >= self._context.config.max_streams:
            return None
        if number is None:
            self._last += 1
            number = self._last
        if ping is not None:
            message = encode(ping)
        elif user is not None:
            message = encode_user(user)
        else:
            message = self._table(join=purpose is StreamPurpose.JOIN)
        stream = _Stream(to, self._reader(reply=True), purpose, ping.seq if ping else 0)
        self._streams[number] = stream
        self._context.counters.streams_out += 1
        self._context.timers.set((TimerKind.STREAM, number), now + timeout_s)
        self._context.emit(OpenStream(number, to, purpose, self._header + self._frame(message)))
        return number

    def abandon(self, number: int) -> None:
        """The answer is not wanted any more."""
        if self._forget(number) is not None:
            self._context.emit(CloseStream(number))

    def accept(self, source: Endpoint, now: float) -> int | None:
        """A peer connected; its number, or None when the connection must be closed."""
        if self._count(inbound=True) >= self._context.config.max_streams:
            self._context.reject(source, RejectReason.BUSY, "too many streams at once", now)
            return None
        self._last += 1
        self._streams[self._last] = _Stream(source, self._reader(reply=False), None)
        self._context.counters.streams_in += 1
        self._context.timers.set((TimerKind.STREAM, self._last), now + self._context.config.tcp_timeout_s)
        return self._last

    def receive(self, number: int, data: bytes, now: float) -> None:
        """Bytes came; unknown numbers are those of streams that were given up."""
        stream = self._streams.get(number)
        if stream is None:
            return
        if self._buffered + len(data) > self._context.config.max_buffered_bytes:
            fault = DecodeError(RejectReason.TOO_LARGE, "too many bytes of unfinished streams")
            self._refuse(number, stream, fault, now)
            return
        self._advance(number, stream, lambda: stream.reader.feed(data), now)

    def expand(self, now: float) -> None:
        """Expand a slice of the next compressed message in turn, so that none of them can hold up the ring."""
        number = self._expanding.popleft()
        stream = self._streams.get(number)
        if stream is not None:
            self._advance(number, stream, stream.reader.step, now)
        self._arm_expansion(now)

    def _arm_expansion(self, now: float) -> None:
        timer = (TimerKind.EXPAND, 0)
        if self._expanding and timer not in self._context.timers:
            self._context.timers.set(timer, now + _PAUSE_S)

    def _advance(
        self, number: int, stream: _Stream, action: Callable[[], StreamMessage | None], now: float
    ) -> None:
        reader = stream.reader
        before, message, fault = reader.buffered, None, None
        try:
            message = action()
        except DecodeError as error:
            fault = error
        self._buffered += reader.buffered - before
        if fault is None and self._buffered > self._context.config.max_buffered_bytes:
            fault = DecodeError(RejectReason.TOO_LARGE, "too many bytes of unfinished streams")
        if fault is not None:
            self._refuse(number, stream, fault, now)
            return
        if message is None:
            if reader.expanding and number not in self._expanding:
                self._expanding.append(number)
                self._arm_expansion(now)
            return
        if stream.purpose is None:
            self._serve(number, stream, message, now)
        else:
            self._take_reply(number, stream, message, now)

    def ended(self, number: int, error: str | None, now: float) -> None:
        """The peer closed the stream, or it broke; `error` is None for an orderly end."""
        if number in self._streams and self._streams[number].reader.expanding:
            # Everything has come; only the expansion is not over.
            return
        stream = self._forget(number)
        if stream is None:
            return
        fault = stream.reader.truncated()
        if stream.purpose is StreamPurpose.USER:
            # There is no answer: a peer that has read the message closes.
            self._report(number, stream, error, now)
        elif stream.purpose is not None:
            self._report(number, stream, error or fault.detail, now)
        elif error is None and stream.reader.buffered:
            self._context.reject(stream.peer, fault.reason, fault.detail, now)

    def expired(self, number: int, now: float) -> None:
        """The stream took too long."""
        stream = self._forget(number)
        if stream is None:
            return
        self._context.emit(CloseStream(number))
        if stream.purpose is not None:
            self._report(number, stream, "timed out", now)
        elif stream.reader.buffered:
            self._context.reject(stream.peer, RejectReason.TRUNCATED, "a stream took too long", now)

    def _serve(self, number: int, stream: _Stream, message: StreamMessage, now: float) -> None:
        self._forget(number)
        if isinstance(message, PushPull):
            # The answer is our table before the merge, as the peer expects it (memberlist net.go).
            reply = self._table(join=message.join)
            self._context.emit(WriteStream(number, self._frame(reply, stream.reader.key)))
            self._merge(message, stream.peer, now, join=message.join)
            return
        if isinstance(message, Ping):
            if message.node in ("", self._membership.me.name):
                answer = self._frame(encode(Ack(message.seq)), stream.reader.key)
                self._context.emit(WriteStream(number, answer))
                return
            self._context.reject(stream.peer, RejectReason.WRONG_NODE, f"ping for {message.node!r}", now)
        elif isinstance(message, User):
            if message.payload:
                self._context.emit(UserMessage(stream.peer, message.payload, reliable=True))
        else:
            kind = type(message).__name__
            self._context.reject(stream.peer, RejectReason.UNSUPPORTED, f"{kind} begins a stream", now)
        self._context.emit(CloseStream(number))

    def _take_reply(self, number: int, stream: _Stream, message: StreamMessage, now: float) -> None:
        self._forget(number)
        self._context.emit(CloseStream(number))
        error: str | None
        if isinstance(message, ErrorReply):
            error = f"remote error: {message.error}"
            self._context.reject(stream.peer, RejectReason.REMOTE_ERROR, message.error, now)
        elif isinstance(message, Ack) and stream.purpose is StreamPurpose.PING:
            error = None if message.seq == stream.seq else "answers another ping"
            if error is None and self.tcp_ping_answered is not None:
                self.tcp_ping_answered(stream.seq)
        elif isinstance(message, PushPull) and stream.purpose in (StreamPurpose.JOIN, StreamPurpose.SYNC):
            error = self._merge(message, stream.peer, now, join=stream.purpose is StreamPurpose.JOIN)
            if error is None and stream.purpose is StreamPurpose.JOIN and self.joined is not None:
                self.joined(now)
        else:
            error = f"answers with {type(message).__name__}"
            self._context.reject(stream.peer, RejectReason.UNSUPPORTED, error, now)
        self._report(number, stream, error, now)

    def _table(self, *, join: bool) -> bytes:
        return encode_push_pull(self._membership.states(), join=join, user_state=self.local_state)

    def _merge(self, message: PushPull, peer: Endpoint, now: float, *, join: bool) -> str | None:
        fault = self._membership.merge(message.states, peer, now)
        if fault is None and message.user_state:
            self._context.emit(RemoteState(peer, message.user_state, join))
        return fault

    def _refuse(self, number: int, stream: _Stream, fault: DecodeError, now: float) -> None:
        self._forget(number)
        self._context.reject(stream.peer, fault.reason, fault.detail, now)
        if stream.purpose is None:
            self._context.emit(WriteStream(number, self._frame(encode(ErrorReply(fault.detail)))))
        else:
            self._context.emit(CloseStream(number))
            self._report(number, stream, fault.detail, now)

    def _report(self, number: int, stream: _Stream, error: str | None, now: float) -> None:
        assert stream.purpose is not None
        self._context.emit(ExchangeEnded(number, stream.peer, stream.purpose, error))
        self._start_joins(now)

    def _start_joins(self, now: float) -> None:
        timeout = self._context.config.tcp_timeout_s
        while self._joins:
            number, seed = self._joins[0]
            if self.open(StreamPurpose.JOIN, seed, now, timeout_s=timeout, number=number) is None:
                return
            self._joins.popleft()

    def _forget(self, number: int) -> _Stream | None:
        stream = self._streams.pop(number, None)
        if stream is not None:
            self._buffered -= stream.reader.buffered
            self._context.timers.cancel((TimerKind.STREAM, number))
        return stream

    def _count(self, *, inbound: bool) -> int:
        return sum((stream.purpose is None) is inbound for stream in self._streams.values())

    def _reader(self, *, reply: bool) -> StreamReader:
        return StreamReader(self._context.config, self._keyring, reply=reply)

    def _frame(self, message: bytes, key: bytes | None = None) -> bytes:
        config = self._context.config
        keyring = self._keyring if config.gossip_verify_outgoing else None
        return frame(message, keyring, self._entropy, config.protocol_version, key, config.label.encode())
