"""Changing the key of a ring that runs."""

import random
from collections.abc import Iterator
from dataclasses import replace

import anyio
import pytest

from gossip.address import Endpoint
from gossip.config import SwimConfig
from gossip.errors import ConfigError, RejectReason, UsageError
from gossip.keyring import Keyring
from gossip.messages import Ack, Ping, encode
from gossip.node import SwimNode
from gossip.outputs import SendDatagram, WriteStream
from gossip.packet import PacketCodec
from gossip.rotation import Rotation
from gossip.shell import Ring
from gossip.stream import encode_push_pull, frame
from tests.unit.gossip.helpers import PORT, SOURCE, Bench, entropy, of
from tests.unit.gossip.test_shell import FAST, PATIENCE_S, knows, ring

A, B, C = (bytes([letter]) * 32 for letter in b"abc")


def keys(of: Rotation) -> tuple[bytes, bytes]:
    """The keys that encrypt and decrypt, and those that only decrypt as yet, as letters."""
    held = of.keyring()
    settled = [key for key in held.keys if key not in held.incoming]
    return bytes(key[0] for key in settled), bytes(sorted(key[0] for key in held.incoming))


def test_a_key_is_accepted_then_used_then_alone() -> None:
    rotation = Rotation(A, overlap_s=60.0, now=100.0)
    assert (keys(rotation), rotation.next_deadline()) == ((b"a", b""), None)
    assert not rotation.read(A, 110.0)
    assert rotation.read(B, 120.0)
    assert keys(rotation) == (b"a", b"b")
    assert rotation.next_deadline() == 150.0
    assert not rotation.handle_timer(149.9)
    assert rotation.handle_timer(150.0)
    assert keys(rotation) == (b"ba", b"")
    assert rotation.next_deadline() == 180.0
    assert not rotation.handle_timer(179.0)
    assert rotation.handle_timer(180.0)
    assert (keys(rotation), rotation.next_deadline()) == ((b"b", b""), None)


def test_a_change_during_a_change_keeps_all_three() -> None:
    rotation = Rotation(A, overlap_s=60.0, now=0.0)
    rotation.read(B, 10.0)
    rotation.read(C, 20.0)
    assert keys(rotation) == (b"a", b"bc")
    rotation.handle_timer(50.0)
    assert keys(rotation) == (b"cba", b"")
    rotation.handle_timer(70.0)
    assert keys(rotation) == (b"cb", b"")
    rotation.handle_timer(80.0)
    assert keys(rotation) == (b"c", b"")


def test_a_change_that_is_taken_back_leaves_the_first_key_in_use() -> None:
    rotation = Rotation(A, overlap_s=60.0, now=0.0)
    rotation.read(B, 10.0)
    rotation.read(A, 20.0)
    assert keys(rotation)[0][:1] == b"a"
    assert set(rotation.keyring().keys) == {A, B}
    rotation.handle_timer(80.0)
    assert keys(rotation) == (b"a", b"")
    assert rotation.next_deadline() is None


def test_keys_are_bounded_and_the_one_in_use_stays() -> None:
    rotation = Rotation(A, overlap_s=60.0, now=0.0)
    for number in range(100):
        rotation.read(bytes([number]) * 16, float(number) / 100)
    held = rotation.keyring()
    assert len(held.keys) <= 8
    assert held.keys[0] == A
    assert bytes([99]) * 16 in held.incoming


def test_no_overlap_is_refused() -> None:
    with pytest.raises(ConfigError, match="overlap_s: is 0; more than 0 is allowed"):
        Rotation(A, overlap_s=0, now=0.0)


def test_members_that_read_the_key_up_to_half_the_overlap_apart_always_understand_each_other() -> None:
    overlap, apart = 60.0, 29.0
    here, there = (Rotation(A, overlap_s=overlap, now=0.0) for _ in range(2))
    for at in range(200):
        now = float(at)
        for rotation, read_at in ((here, 10.0), (there, 10.0 + apart)):
            rotation.handle_timer(now)
            if now >= read_at:
                rotation.read(B, now)
        for sender, receiver in ((here, there), (there, here)):
            sealed = sender.keyring().encrypt(b"text", bytes(12), b"")
            assert receiver.keyring().decrypt(sealed, bytes(12), b"") is not None, now
    assert here.keyring().keys == there.keyring().keys == (B,)


def test_who_uses_an_incoming_key_is_answered_in_it_by_packet_and_by_stream() -> None:
    bench = Bench(keyring=Keyring([A], incoming=[B]))
    theirs = PacketCodec(bench.config, Keyring([B]), entropy)
    other = Endpoint("198.18.0.50", PORT)
    answers = bench.hear_bytes(theirs.pack([encode(Ping(7, "me"))], crc=False), source=other)
    (answer,) = of(SendDatagram, answers)
    assert Ack(7) in theirs.unpack(answer.data).messages
    (plain,) = of(SendDatagram, bench.hear(Ping(8, "me")))
    assert theirs.unpack(plain.data).faults
    number = bench.node.accept_stream(source=SOURCE, now=bench.now)
    assert number is not None
    asked = frame(encode_push_pull([], join=True), Keyring([B]), entropy, 2)
    bench.node.receive_stream(number, asked, now=bench.now)
    (written,) = of(WriteStream, bench.node.take_outputs())
    assert Keyring([B]).decrypt(written.data[5 + 13 :], written.data[6:18], written.data[:5]) is not None


def test_a_ring_in_plain_text_stays_so() -> None:
    node = SwimNode(
        name="me",
        advertise=("198.18.0.1", PORT),
        config=SwimConfig.lan(),
        keyring=None,
        meta=b"",
        rng=random.Random(1),
        entropy=entropy,
        now=0.0,
    )
    with pytest.raises(UsageError, match="started without keys"):
        node.set_keyring(Keyring([A]))


def steps() -> Iterator[tuple[str, Keyring]]:
    """Two members change from A to B, the second as late as it may be."""
    overlap = 60.0
    members = {name: Rotation(A, overlap_s=overlap, now=0.0) for name in "ab"}
    members["a"].read(B, 10.0)
    yield "a", members["a"].keyring()
    members["b"].read(B, 39.0)
    yield "b", members["b"].keyring()
    for now in (40.0, 69.0, 70.0, 99.0):
        for name, rotation in members.items():
            if rotation.handle_timer(now):
                yield name, rotation.keyring()


@pytest.mark.anyio
async def test_two_rings_change_their_key_one_after_the_other_and_nobody_is_suspected() -> None:
    config = replace(FAST, probe_interval_s=0.5, probe_timeout_s=0.45)
    async with ring("a", A, config) as a, ring("b", A, config) as b:
        await b.join([a.endpoint])
        for member in (a, b):
            await knows(member, "a", "b")
        told = list(steps())
        assert [name for name, _ in told] == ["a", "b", "a", "b", "a", "b"]
        for name, keyring in told:
            await (a if name == "a" else b).set_keyring(keyring)
            await probed(a, b)
            assert (await a.join([b.endpoint])).contacted
            assert (await b.join([a.endpoint])).contacted
        assert told[-1][1].keys == (B,)
        for member in (a, b):
            assert member.counters.suspicions == 0
            assert member.counters.refutations == 0
            assert member.counters.rejected[RejectReason.UNDECRYPTABLE] == 0
        async with ring("c", A, FAST) as c:
            assert (await c.join([a.endpoint])).failed


async def probed(*rings: Ring) -> None:
    """Wait until each has begun another probe."""
    goals = [(member, member.counters.probes + 1) for member in rings]
    with anyio.fail_after(PATIENCE_S):
        while any(member.counters.probes < goal for member, goal in goals):  # noqa: ASYNC110  (counters tell nobody)
            await anyio.sleep(0.01)
