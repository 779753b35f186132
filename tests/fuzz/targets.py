"""What is fuzzed: each target takes a script of byte strings and tells in a word what came of it.

Anything but the package's own error, a broken invariant included, is a finding.
"""

import random
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import Final, TypeAlias

from typing_extensions import override

from gossip import lzw
from gossip.address import Endpoint
from gossip.config import SwimConfig
from gossip.errors import DecodeError, UsageError
from gossip.keyring import Keyring
from gossip.label import take_label
from gossip.messages import decode_packet_message, encode
from gossip.meta import Meta
from gossip.outputs import OpenStream, Output, PeerRejected, SendDatagram, WriteStream
from gossip.packet import PacketCodec
from gossip.stream import StreamReader
from tests.fuzz import corpus
from tests.fuzz.mutation import mutated
from tests.unit.gossip.helpers import Bench, entropy, of

Script: TypeAlias = tuple[bytes, ...]
_DIGITS: Final = re.compile(r"\d+")
_LZW_LIMIT: Final = 50_000


def _word(error: DecodeError) -> str:
    return f"{error.reason}:{_DIGITS.sub('0', error.detail)[:40]}"


class Target(ABC):
    """One thing that takes bytes of strangers."""

    name: str

    def __init__(self) -> None:
        self.seeds = self.begin()

    @abstractmethod
    def begin(self) -> list[Script]:
        """Good inputs to start from."""

    @abstractmethod
    def run(self, script: Script) -> str:
        """Take an input; the outcome in a word."""

    def vary(self, script: Script, rng: random.Random, others: Sequence[Script]) -> Script:
        """An input near this one."""
        return (mutated(script[0], rng, [other[0] for other in others]),)


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
            return _word(error)
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
        return "+".join(sorted({type(message).__name__ for message in found} | set(map(_word, faults))))


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
        return "+".join(sorted(map(_word, faults)))


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
            return _word(error)
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
            return _word(error)
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
            return _word(error)
        return f"{meta is not None} {label is not None and bool(label.size)}"


SMALL: Final = SwimConfig(
    max_members=12, max_streams=3, max_relays=4, max_buffered_bytes=20_000, max_user_bytes=4096
)
_WAITS_S: Final = (0.0, 0.01, 0.3, 2.0, 40.0)
_MAX_STEPS: Final = 40


class LivingNode(Target):
    """A member of a plain ring under packets, streams, calls and time in any order."""

    name = "living member"
    keyring: Keyring | None = None

    @override
    def begin(self) -> list[Script]:
        packets = [b"\x00" + packet for packet in corpus.packets()]
        streams = [b"\x01" + stream for stream in corpus.streams()]
        return [(*packets, b"\x04\x02", *streams, b"\x04\x03"), *((step,) for step in packets + streams)]

    @override
    def vary(self, script: Script, rng: random.Random, others: Sequence[Script]) -> Script:
        steps = list(script)
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(steps) + 1)
            material = [step for other in rng.sample(others, min(3, len(others))) for step in other]
            match rng.randrange(4):
                case 0:
                    step = rng.choice(material)
                    steps[place:place] = [step[:1] + mutated(step[1:], rng, material)]
                case 1:
                    steps[place:place] = [bytes((rng.randrange(7), rng.randrange(256)))]
                case 2 if steps:
                    place %= len(steps)
                    steps[place] = steps[place][:1] + mutated(steps[place][1:], rng, material)
                case _:
                    del steps[place : place + 1]
        return tuple(steps[:_MAX_STEPS]) or (b"\x04\x02",)

    @override
    def run(self, script: Script) -> str:
        bench = Bench(SMALL, self.keyring, members=["a", "b"])
        told: Counter[str] = Counter()
        opened: list[int] = []
        incarnation = 1
        for step in script:
            outputs = self._do(bench, opened, step[:1] or b"\x00", step[1:])
            self._check(bench, outputs, incarnation)
            incarnation = bench.node.members()["me"].incarnation
            opened += [output.stream for output in of(OpenStream, outputs)]
            told.update(type(output).__name__ for output in outputs)
            told.update(_word(DecodeError(fault.reason, fault.detail)) for fault in of(PeerRejected, outputs))
        return " ".join(f"{what}{count.bit_length()}" for what, count in sorted(told.items()))

    def _do(self, bench: Bench, opened: list[int], kind: bytes, data: bytes) -> list[Output]:
        node, now, first = bench.node, bench.now, (data or b"\x00")[0]
        match kind[0] % 7:
            case 0:
                return bench.hear_bytes(data)
            case 1:
                number = node.accept_stream(source=Endpoint("198.18.0.50", 1), now=now)
                if number is not None:
                    opened.append(number)
                    node.receive_stream(number, data, now=now)
            case 2 if opened:
                node.receive_stream(opened[first % len(opened)], data[1:], now=now)
            case 3 if opened:
                node.stream_ended(
                    opened[first % len(opened)], error="broken" if first & 128 else None, now=now
                )
            case 4:
                return bench.wait(_WAITS_S[first % len(_WAITS_S)])
            case 5:
                node.join([("198.18.0.10", 7946)], now=now)
            case 6:
                try:
                    node.send_user("a", data, reliable=bool(first & 1), now=now)
                    node.broadcast_user(data, now=now)
                except UsageError:
                    pass
            case _:
                pass
        return node.take_outputs()

    def _check(self, bench: Bench, outputs: Sequence[Output], incarnation: int) -> None:
        node = bench.node
        members = node.members()
        assert members["me"].state.present, "it holds itself for dead"
        assert members["me"].incarnation >= incarnation, "its incarnation fell"
        assert len(members) <= SMALL.max_members
        assert node.queue_depth() <= SMALL.max_members + 2 + _MAX_STEPS
        assert len(node._exchanges._streams) <= 2 * SMALL.max_streams
        assert len(node._relay._asked) <= SMALL.max_relays
        assert 0 <= node._exchanges._buffered <= SMALL.max_buffered_bytes
        for sent in of(SendDatagram, outputs):
            assert len(sent.data) <= SMALL.udp_buffer_size + 5, "a packet over the limit"
        deadline = node.next_deadline()
        assert deadline is not None, "it sleeps for ever"
        assert deadline >= bench.now, "a deadline has passed"


class Stranger(LivingNode):
    """A member of an encrypted ring under the bytes of somebody without the key: no answer, no change."""

    name = "stranger without key"
    keyring: Keyring | None = corpus.KEYRING

    @override
    def _do(self, bench: Bench, opened: list[int], kind: bytes, data: bytes) -> list[Output]:
        return super()._do(bench, opened, bytes((kind[0] % 4,)), data)

    @override
    def _check(self, bench: Bench, outputs: Sequence[Output], incarnation: int) -> None:
        super()._check(bench, outputs, incarnation)
        assert not of(SendDatagram, outputs), "it answered"
        assert set(bench.node.members()) == {"me", "a", "b"}
        assert bench.node.members()["me"].incarnation == 1
        for written in of(WriteStream, outputs):
            assert corpus.sealed_only(written.data), "it answered in plain text"


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
        Stranger,
    )
}
