"""Members under bytes, calls and time in any order."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from typing_extensions import override

from gossip.address import Endpoint
from gossip.config import SwimConfig
from gossip.errors import DecodeError, UsageError
from gossip.fastconfig import FastLaneConfig
from gossip.keyring import Keyring
from gossip.meta import Meta
from gossip.outputs import OpenStream, Output, PeerRejected, SendDatagram, WriteStream
from tests.fuzz import corpus
from tests.fuzz.base import Script, Target, word
from tests.fuzz.mutation import mutated
from tests.unit.gossip.helpers import Bench, alive, of

SMALL: Final = SwimConfig(
    max_members=12, max_streams=3, max_relays=4, max_buffered_bytes=20_000, max_user_bytes=4096
)
WAITS_S: Final = (0.0, 0.01, 0.3, 2.0, 40.0)
_MAX_STEPS: Final = 40


PACE_S: Final = FastLaneConfig().pace_s


def fast_bench(keyring: Keyring | None, *, ours: Sequence[str], plain: Sequence[str] = ()) -> Bench:
    """A member of ours with the settings that the product has, but for the limits, and those that it knows."""
    meta = Meta(software="vipring", version="1", instance=b"first").encode()
    bench = Bench(replace(SMALL, fast_lane=FastLaneConfig()), keyring, meta=meta)
    for number, name in enumerate((*ours, *plain), 10):
        bench.hear(alive(name, number, meta=meta if name in ours else b""))
    return bench


class LivingNode(Target):
    """A member of a plain ring under packets, streams, calls and time in any order."""

    name = "living member"
    keyring: Keyring | None = None
    kinds = 7
    """Kinds of steps, told apart by their first byte."""

    def made(self) -> Bench:
        """The member, and those that it knows."""
        return Bench(SMALL, self.keyring, members=["a", "b"])

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
                    steps[place:place] = [bytes((rng.randrange(self.kinds), rng.randrange(256)))]
                case 2 if steps:
                    place %= len(steps)
                    steps[place] = steps[place][:1] + mutated(steps[place][1:], rng, material)
                case _:
                    del steps[place : place + 1]
        return tuple(steps[:_MAX_STEPS]) or (b"\x04\x02",)

    @override
    def run(self, script: Script) -> str:
        bench = self.made()
        told: Counter[str] = Counter()
        opened: list[int] = []
        incarnation = 1
        for step in script:
            outputs = self._do(bench, opened, step[:1] or b"\x00", step[1:])
            self._check(bench, outputs, incarnation)
            incarnation = bench.node.members()["me"].incarnation
            opened += [output.stream for output in of(OpenStream, outputs)]
            told.update(type(output).__name__ for output in outputs)
            told.update(word(DecodeError(fault.reason, fault.detail)) for fault in of(PeerRejected, outputs))
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
                return bench.wait(WAITS_S[first % len(WAITS_S)])
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
    """A member of an encrypted ring, with the fast lane, under the bytes of somebody without the key: no answer, no change."""

    name = "stranger without key"
    keyring: Keyring | None = corpus.KEYRING

    @override
    def made(self) -> Bench:
        return fast_bench(self.keyring, ours=("a", "b"))

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
