"""A TCP stream and its layers, read as the bytes come (memberlist net.go, security.go)."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

import msgpack

from gossip import lzw
from gossip.config import SwimConfig
from gossip.errors import DecodeError, RejectReason
from gossip.keyring import Keyring
from gossip.label import check_label, take_label
from gossip.messages import (
    ARRAY_MAX,
    MAP_MAX,
    MSGPACK_ERRORS,
    Ack,
    Compressed,
    ErrorReply,
    MessageType,
    NodeState,
    Ping,
    PushPullHeader,
    Struct,
    User,
    UserHeader,
    encode,
    from_object,
)
from gossip.packet import compressed
from gossip.sealing import overhead, seal, unseal

_SLICE: Final = 1024
"""Compressed bytes expanded at a time."""

_FRAME_HEAD: Final = 5
"""Bytes before an encrypted frame: type and length."""


class PushPull(NamedTuple):
    """One direction of an exchange of state."""

    join: bool
    states: list[NodeState]
    user_state: bytes


StreamMessage: TypeAlias = PushPull | Ping | Ack | User | ErrorReply

_MAPS: Final[dict[int, type[Struct]]] = {
    MessageType.PING: Ping,
    MessageType.ACK: Ack,
    MessageType.PUSH_PULL: PushPullHeader,
    MessageType.USER: UserHeader,
    MessageType.COMPRESS: Compressed,
    MessageType.ERROR: ErrorReply,
}


STATES_KEPT: Final = 2048
"""Encoded members that are remembered, some 200 bytes each."""


def encode_push_pull(states: Sequence[NodeState], *, join: bool, user_state: bytes = b"") -> bytes:
    """One direction of an exchange of state, before encryption."""
    header = encode(PushPullHeader(len(states), len(user_state), join))
    return b"".join((header, *map(_encoded, states), user_state))


@lru_cache(maxsize=STATES_KEPT)
def _encoded(state: NodeState) -> bytes:
    """Members change rarely, and the whole table goes out with every exchange."""
    return encode(state)


def encode_user(payload: bytes) -> bytes:
    """A user message as it travels on a stream, before encryption."""
    return encode(UserHeader(len(payload))) + payload


def frame(
    message: bytes,
    keyring: Keyring | None,
    entropy: Callable[[int], bytes],
    protocol_version: int,
    key: bytes | None = None,
    label: bytes = b"",
) -> bytes:
    """The message as it goes onto the stream: one encrypted frame, or bare in a ring without keys. The label only
    authenticates here; who dials sends it in front.
    """
    if keyring is None:
        return message
    padding = 16 - len(message) % 16 if protocol_version == 1 else 0
    length = overhead(2) + len(message) + padding
    head = bytes((MessageType.ENCRYPT,)) + length.to_bytes(4, "big")
    return head + seal(message, keyring, entropy, protocol_version, head + label, key)


class StreamReader:
    """Collects the one message of one direction of a stream, in whatever pieces it comes.

    Args:
        config: limits, and the ring's label.
        keyring: keys; None for plain text.
        reply: whether this is what comes back on a stream that we opened, which carries no label.
    """

    def __init__(self, config: SwimConfig, keyring: Keyring | None, *, reply: bool = False) -> None:
        self._config = config
        self._keyring = keyring
        self._label = config.label.encode()
        self._wanted: bytes | None = b"" if reply else self._label
        """The label that must come first; None once it was seen."""
        self._sealed = bytearray()
        self._reader: _MessageReader | None = None
        self._expansion: _Expansion | None = None
        self.buffered = 0
        """Bytes taken in and expanded so far; the caller bounds them over all streams."""
        self.key: bytes | None = None
        """The key under which the peer speaks, once known."""

    @property
    def expanding(self) -> bool:
        """Whether everything has come, but `step` has still to expand some of it."""
        return self._expansion is not None

    def step(self) -> StreamMessage | None:
        """Expand a slice of a compressed message, a millisecond's work; the message once it is complete.

        Raises:
            DecodeError: nothing good can follow any more.
        """
        assert self._expansion is not None
        before = self._expansion.expanded
        try:
            return self._expansion.step()
        finally:
            self.buffered += self._expansion.expanded - before

    def feed(self, data: bytes) -> StreamMessage | None:
        """Take bytes in; the message once it is complete (what follows it is ignored).

        Raises:
            DecodeError: nothing good can follow any more.
        """
        message = self._taken(data)
        if isinstance(message, Compressed):
            self._expansion = _Expansion(message, self._config)
            return self.step()
        return message

    def _taken(self, data: bytes) -> StreamMessage | Compressed | None:
        self.buffered += len(data)
        if self.buffered > self._config.max_stream_bytes + _FRAME_HEAD:
            raise DecodeError(RejectReason.TOO_LARGE, f"more than {self._config.max_stream_bytes} bytes")
        if self._expansion is not None:
            return None
        if self._reader is not None:
            return self._reader.feed(data)
        self._sealed += data
        if not self._sealed:
            return None
        if self._wanted is not None:
            found = take_label(self._sealed)
            if found is None:
                return None
            check_label(found.text, self._wanted)
            self._wanted = None
            del self._sealed[: found.size]
            if not self._sealed:
                return None
        first = self._sealed[0]
        if first == MessageType.ENCRYPT:
            return self._feed_frame()
        if self._keyring is not None and self._config.gossip_verify_incoming:
            raise DecodeError(RejectReason.UNENCRYPTED, f"begins with byte {first}, not an encrypted frame")
        self._reader = _MessageReader(self._config)
        return self._reader.feed(bytes(self._sealed))

    def truncated(self) -> DecodeError:
        """What to say when the stream ends before the message does."""
        return DecodeError(RejectReason.TRUNCATED, f"ended after {self.buffered} bytes")

    def _feed_frame(self) -> StreamMessage | Compressed | None:
        if self._keyring is None:
            raise DecodeError(RejectReason.ENCRYPTED, "an encrypted frame; this ring has no key")
        if len(self._sealed) < _FRAME_HEAD:
            return None
        head = bytes(self._sealed[:_FRAME_HEAD])
        length = int.from_bytes(head[1:], "big")
        if length > self._config.max_stream_bytes:
            raise DecodeError(RejectReason.TOO_LARGE, f"an encrypted frame of {length} bytes")
        if len(self._sealed) < _FRAME_HEAD + length:
            return None
        sealed = bytes(self._sealed[_FRAME_HEAD : _FRAME_HEAD + length])
        plaintext, self.key = unseal(sealed, self._keyring, head + self._label)
        message = _MessageReader(self._config).feed(plaintext)
        if message is None:
            raise DecodeError(RejectReason.TRUNCATED, "an encrypted frame ends within its message")
        return message


class _MessageReader:
    """Reads one plain message piece by piece, without going over any byte twice."""

    def __init__(self, config: SwimConfig, *, compressed: bool = False) -> None:
        self._config = config
        self._inner = compressed
        self._kind: int | None = None
        self._header: PushPullHeader | UserHeader | None = None
        self._states: list[NodeState] = []
        self._payload = bytearray()
        self._unpacker = msgpack.Unpacker(
            raw=True,
            strict_map_key=True,
            max_buffer_size=max(config.max_stream_bytes, config.max_decompressed_bytes),
            max_array_len=ARRAY_MAX,
            max_map_len=MAP_MAX,
        )

    def feed(self, data: bytes) -> StreamMessage | Compressed | None:
        if self._kind is None:
            if not data:
                return None
            self._kind = data[0]
            data = data[1:]
            if self._kind not in _MAPS or (self._inner and self._kind == MessageType.COMPRESS):
                raise DecodeError(RejectReason.UNSUPPORTED, f"message type {self._kind} on a stream")
        try:
            self._unpacker.feed(data)
            return self._advance()
        except msgpack.OutOfData:
            return None
        except MSGPACK_ERRORS as error:
            raise DecodeError(RejectReason.MALFORMED, f"stream: {type(error).__name__}") from None

    def _advance(self) -> StreamMessage | Compressed | None:
        assert self._kind is not None
        if self._header is None:
            message = from_object(self._unpacker.unpack(), _MAPS[self._kind])
            if isinstance(message, (Compressed, Ping, Ack, ErrorReply)):
                return message
            assert isinstance(message, (PushPullHeader, UserHeader))
            self._header = self._checked(message)
        header = self._header
        if isinstance(header, UserHeader):
            return User(bytes(self._payload)) if self._read_payload(header.length) else None
        while len(self._states) < header.nodes:
            self._states.append(from_object(self._unpacker.unpack(), NodeState))
        if not self._read_payload(header.user_state_len):
            return None
        return PushPull(header.join, self._states, bytes(self._payload))

    def _read_payload(self, length: int) -> bool:
        if len(self._payload) < length:
            self._payload += self._unpacker.read_bytes(length - len(self._payload))
        return len(self._payload) >= length

    def _checked(self, header: PushPullHeader | UserHeader) -> PushPullHeader | UserHeader:
        config = self._config
        if isinstance(header, UserHeader):
            payload = header.length
        else:
            payload = header.user_state_len
            # A peer may know some that left, or that we forgot, on top of a full table.
            if header.nodes > 2 * config.max_members:
                raise DecodeError(RejectReason.TOO_LARGE, f"announces {header.nodes} members")
        if payload > config.max_user_bytes:
            raise DecodeError(RejectReason.TOO_LARGE, f"announces {payload} bytes of user data")
        return header


class _Expansion:
    """A compressed message being expanded in slices, and read as it unfolds."""

    def __init__(self, wrapper: Compressed, config: SwimConfig) -> None:
        self._data = memoryview(compressed(wrapper))
        self._decoder = lzw.Decoder(config.max_decompressed_bytes)
        self._reader = _MessageReader(config, compressed=True)
        self.expanded = 0

    def step(self) -> StreamMessage | None:
        plain = self._decoder.take(self._data[:_SLICE])
        self._data = self._data[_SLICE:]
        self.expanded += len(plain)
        message = self._reader.feed(plain)
        if message is not None:
            assert not isinstance(message, Compressed), "refused by the inner reader"
            return message
        if self._decoder.ended:
            raise DecodeError(RejectReason.TRUNCATED, "a compressed stream ends within its message")
        if not self._data:
            raise lzw.truncated()
        return None
