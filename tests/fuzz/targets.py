"""What is fuzzed: the decoders, and with them the members of living.py and fastmember.py."""

from collections.abc import Sequence
from typing import Final

from typing_extensions import override

from gossip import lzw
from gossip.config import SwimConfig
from gossip.errors import DecodeError
from gossip.keyring import Keyring
from gossip.label import take_label
from gossip.messages import decode_packet_message, encode
from gossip.meta import Meta
from gossip.packet import PacketCodec
from gossip.stream import StreamReader
from tests.fuzz import corpus
from tests.fuzz.base import Script, Target, word
from tests.fuzz.fastmember import FastMember
from tests.fuzz.living import LivingNode, Stranger
from tests.unit.gossip.helpers import entropy

_LZW_LIMIT: Final = 50_000


def _alone(seeds: Sequence[bytes]) -> list[Script]:
    return [(seed,) for seed in seeds]


class Messages(Target):
    """A single message."""

    name = "message"

    @override
    def begin(self) -> list[Script]:
        return _alone(corpus.messages())

    @override
    def run(self, script: Script) -> str:
        try:
            message = decode_packet_message(script[0])
        except DecodeError as error:
            return word(error)
        assert decode_packet_message(encode(message)) == message
        return type(message).__name__


class Packets(Target):
    """A datagram whose sender has the key, or in a ring without keys."""

    name = "packet"
    config = SwimConfig()
    keyring: Keyring | None = None

    @override
    def begin(self) -> list[Script]:
        return _alone(corpus.packets())

    @override
    def run(self, script: Script) -> str:
        codec = PacketCodec(self.config, self.keyring, entropy)
        data = script[0] if self.keyring is None else corpus.sealed(script[0], self.config)
        found, faults = codec.unpack(data)
        assert found or faults
        return "+".join(sorted({type(message).__name__ for message in found} | set(map(word, faults))))


class SealedPackets(Packets):
    """The same under encryption and label."""

    name = "packet, sealed"
    config = corpus.LABEL
    keyring: Keyring | None = corpus.KEYRING


class TamperedPackets(Target):
    """A sealed datagram that was changed on the way: nothing of it may count."""

    name = "packet, tampered"

    @override
    def begin(self) -> list[Script]:
        return _alone([corpus.sealed(packet, corpus.LABEL) for packet in corpus.packets()])

    @override
    def run(self, script: Script) -> str:
        found, faults = PacketCodec(corpus.LABEL, corpus.KEYRING, entropy).unpack(script[0])
        assert not found or script in self.seeds
        return "+".join(sorted(map(word, faults)))


class Streams(Target):
    """A stream in pieces; the first byte of the script sets their size."""

    name = "stream"
    config = SwimConfig()
    keyring: Keyring | None = None

    @override
    def begin(self) -> list[Script]:
        return _alone([b"\x40" + stream for stream in corpus.streams()])

    @override
    def run(self, script: Script) -> str:
        size, data = (script[0][:1] or b"\x01")[0] + 1, script[0][1:]
        if self.keyring is not None:
            data = corpus.framed(data, self.config)
        reader = StreamReader(self.config, self.keyring)
        try:
            for start in range(0, len(data), size):
                message = reader.feed(data[start : start + size])
                while message is None and reader.expanding:
                    message = reader.step()
                if message is not None:
                    return type(message).__name__
        except DecodeError as error:
            return word(error)
        return "unfinished"


class SealedStreams(Streams):
    """The same under encryption and label."""

    name = "stream, sealed"
    config = corpus.LABEL
    keyring: Keyring | None = corpus.KEYRING


class Lzw(Target):
    """Compressed bytes, whole and in pieces."""

    name = "lzw"

    @override
    def begin(self) -> list[Script]:
        plain = [*corpus.packets(), *corpus.streams(), bytes(3000)]
        return _alone([lzw.compress(data, leading_clear=clear) for data in plain for clear in (True, False)])

    @override
    def run(self, script: Script) -> str:
        whole, in_pieces = self._taken(script[0], len(script[0]) or 1), self._taken(script[0], 7)
        assert whole == in_pieces
        return whole if isinstance(whole, str) else f"{len(whole).bit_length()} bits of size"

    @staticmethod
    def _taken(data: bytes, size: int) -> bytes | str:
        decoder, plain = lzw.Decoder(_LZW_LIMIT), b""
        try:
            for start in range(0, len(data), size):
                if not decoder.ended:
                    plain += decoder.take(data[start : start + size])
        except DecodeError as error:
            return word(error)
        assert len(plain) <= _LZW_LIMIT
        return plain


class Heads(Target):
    """Meta, and labels."""

    name = "meta and label"

    @override
    def begin(self) -> list[Script]:
        return _alone([*corpus.metas(), b"\xf4\x04blue", b"\xf4\x00"])

    @override
    def run(self, script: Script) -> str:
        meta = Meta.decode(script[0])
        if meta is not None:
            assert Meta.decode(meta.encode()) == meta
        try:
            label = take_label(script[0])
        except DecodeError as error:
            return word(error)
        return f"{meta is not None} {label is not None and bool(label.size)}"


TARGETS: Final[dict[str, type[Target]]] = {
    kind.name: kind
    for kind in (
        Messages,
        Packets,
        SealedPackets,
        TamperedPackets,
        Streams,
        SealedStreams,
        Lzw,
        Heads,
        LivingNode,
        FastMember,
        Stranger,
    )
}
