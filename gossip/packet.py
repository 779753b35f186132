"""A datagram and its layers: encryption, CRC, compression, compound (memberlist net.go, util.go)."""

import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from gossip import lzw
from gossip.address import Endpoint
from gossip.config import SwimConfig
from gossip.errors import DecodeError, RejectReason
from gossip.keyring import Keyring
from gossip.label import check_label, header, take_label
from gossip.messages import (
    Compressed,
    MessageType,
    PacketMessage,
    decode_map,
    decode_packet_message,
    encode,
)
from gossip.sealing import overhead, seal, unseal

COMPOUND_OVERHEAD: Final = 2
"""Bytes of a compound's head, and of each part's length."""

COMPOUND_MAX_PARTS: Final = 127
"""Members before 0.2.4 compute the length table in 8 bits and crash on more; newer ones take 255."""

_DATAGRAM_MAX: Final = 65_536
"""What a datagram may expand to, all of its compressed parts together."""

_MAX_DEPTH: Final = 4
"""Nested wrappers: real packets have a compound within compression."""

_MAX_MESSAGES: Final = 1024
"""Messages taken from one datagram; more are only possible by nesting compounds."""

_COMPRESS: Final = int(MessageType.COMPRESS)
_COMPOUND: Final = int(MessageType.COMPOUND)

_BARE: Final = frozenset((int(MessageType.PING), int(MessageType.ACK)))
"""Nearly all that a ring at rest sends; these need no unwrapping where it has neither label nor keys."""


def compound(parts: Sequence[bytes]) -> bytes:
    """One message out of 1 to 127 non-empty messages of at most 65,535 bytes each."""
    assert 0 < len(parts) <= COMPOUND_MAX_PARTS
    head = struct.pack(f">BB{len(parts)}H", _COMPOUND, len(parts), *map(len, parts))
    return head + b"".join(parts)


def compress(message: bytes) -> bytes:
    """The message wrapped in the compression type, also where that is longer."""
    return encode(Compressed(0, lzw.compress(message)))


def expand(body: bytes | memoryview, limit: int) -> bytes:
    """Undo the compression: `body` is what follows its type byte.

    Raises:
        DecodeError: MALFORMED, TRUNCATED or TOO_LARGE (more than `limit` bytes).
    """
    data = lzw.decompress(compressed(decode_map(body, Compressed)), limit=limit)
    if not data:
        raise DecodeError(RejectReason.MALFORMED, "a compressed message expands to nothing")
    return data


def compressed(wrapper: Compressed) -> bytes:
    """The LZW data of a wrapper.

    Raises:
        DecodeError: UNSUPPORTED, another algorithm.
    """
    if wrapper.algorithm != 0:
        raise DecodeError(RejectReason.UNSUPPORTED, f"compression algorithm {wrapper.algorithm}")
    return wrapper.data


def with_crc(message: bytes) -> bytes:
    """The message behind its CRC-32 (IEEE, network order)."""
    return b"\x0c" + zlib.crc32(message).to_bytes(4, "big") + message


class Decoded(NamedTuple):
    """What a datagram held: the good messages in order, and the faults of the others."""

    messages: list[PacketMessage]
    faults: list[DecodeError]


class PacketCodec:
    """Packs messages into datagrams and back, for one ring."""

    def __init__(self, config: SwimConfig, keyring: Keyring | None, entropy: Callable[[int], bytes]) -> None:
        self._keyring = keyring
        self._entropy = entropy
        self._answers: dict[Endpoint, bytes] = {}
        """Key by peer, where that is one of the keyring's incoming ones."""
        self._max_answers = config.max_members
        self._protocol = config.protocol_version
        self._compression = config.enable_compression
        self._label = config.label.encode()
        self._header = header(self._label)
        self._plain = keyring is None and not self._label
        self._seals = config.gossip_verify_outgoing
        self._demands_seal = config.gossip_verify_incoming
        sealed = overhead(self._protocol) if keyring is not None and self._seals else 0
        self.budget: Final = config.udp_buffer_size - COMPOUND_OVERHEAD - sealed - len(self._header)
        """Bytes for the parts of one datagram, 2 for each part's length included."""

    def set_keyring(self, keyring: Keyring) -> None:
        """Seal and open with other keys from here on."""
        self._keyring = keyring
        self._answers.clear()

    def pack(self, parts: Sequence[bytes], *, crc: bool, to: Endpoint | None = None) -> bytes:
        """One datagram out of encoded messages; a single one travels bare. `to` picks the key that the peer holds."""
        data = parts[0] if len(parts) == 1 else compound(parts)
        if self._compression:
            shorter = compress(data)
            if len(shorter) < len(data):
                data = shorter
        if crc:
            data = with_crc(data)
        if self._keyring is not None and self._seals:
            key = self._answers.get(to) if to is not None else None
            data = seal(data, self._keyring, self._entropy, self._protocol, self._label, key)
        return self._header + data

    def unpack(self, data: bytes, source: Endpoint | None = None) -> Decoded:
        """Read a datagram. Never raises: one bad part does not spoil the others."""
        try:
            opened = data if self._plain and data and data[0] in _BARE else self._open(data, source)
            if opened and opened[0] in _BARE:
                return Decoded([decode_packet_message(opened)], [])
        except DecodeError as fault:
            return Decoded([], [fault])
        unpacking = _Unpacking()
        try:
            unpacking.take(opened, 0)
        except DecodeError as fault:
            unpacking.faults.append(fault)
        return Decoded(unpacking.messages, unpacking.faults)

    def _open(self, data: bytes, source: Endpoint | None) -> bytes:
        if not data:
            raise DecodeError(RejectReason.TRUNCATED, "empty packet")
        found = take_label(data)
        if found is None:
            raise DecodeError(RejectReason.TRUNCATED, "ends within its label")
        check_label(found.text, self._label)
        data = self._unsealed(data[found.size :], source)
        if data[:1] == b"\x0c":
            if len(data) < 5:
                raise DecodeError(RejectReason.TRUNCATED, "CRC without a message")
            body = data[5:]
            if zlib.crc32(body) != int.from_bytes(data[1:5], "big"):
                raise DecodeError(RejectReason.CHECKSUM, "the CRC does not fit")
            return body
        return data

    def _unsealed(self, data: bytes, source: Endpoint | None) -> bytes:
        if self._keyring is None:
            return data
        try:
            opened = unseal(data, self._keyring, self._label)
        except DecodeError:
            if self._demands_seal:
                raise
            return data
        if (
            opened.key in self._keyring.incoming
            and source is not None
            and len(self._answers) < self._max_answers
        ):
            self._answers[source] = opened.key
        return opened.plaintext


class _Unpacking:
    """One datagram being taken apart, with what it may still cost."""

    def __init__(self) -> None:
        self.messages: list[PacketMessage] = []
        self.faults: list[DecodeError] = []
        self._expandable = _DATAGRAM_MAX
        self._countdown = _MAX_MESSAGES

    def take(self, data: bytes, depth: int) -> None:
        kind = data[0] if data else -1
        if kind not in (_COMPRESS, _COMPOUND):
            self.messages.append(decode_packet_message(data))
            return
        if depth >= _MAX_DEPTH:
            raise DecodeError(RejectReason.TOO_LARGE, f"more than {_MAX_DEPTH} wrappers within each other")
        if kind == _COMPRESS:
            inner = expand(memoryview(data)[1:], self._expandable)
            self._expandable -= len(inner)
            self.take(inner, depth + 1)
        else:
            self._take_compound(data, depth + 1)

    def _take_compound(self, data: bytes, depth: int) -> None:
        count = data[1] if len(data) > 1 else 0
        start = 2 + 2 * count
        if not count or len(data) < start:
            raise DecodeError(RejectReason.TRUNCATED, "a compound without its table of lengths")
        for length in struct.unpack_from(f">{count}H", data, 2):
            end = start + length
            if end > len(data):
                raise DecodeError(RejectReason.TRUNCATED, "a compound that lacks its last parts")
            self._countdown -= 1
            if self._countdown < 0:
                raise DecodeError(RejectReason.TOO_LARGE, f"more than {_MAX_MESSAGES} messages in a packet")
            try:
                self.take(data[start:end], depth)
            except DecodeError as fault:
                self.faults.append(fault)
            start = end
