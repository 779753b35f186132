"""Labels, and the way of a living ring from plain text to keys."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gossip.config import SwimConfig
from gossip.errors import ConfigError, DecodeError, RejectReason
from gossip.keyring import Keyring
from gossip.messages import Ack, ErrorReply, Ping, encode
from gossip.outputs import OpenStream, PeerRejected, SendDatagram, WriteStream
from gossip.packet import PacketCodec
from gossip.shell import Ring
from gossip.stream import PushPull, StreamReader, encode_push_pull, frame
from tests.unit.gossip.helpers import PORT, SOURCE, Bench, entropy, of, state
from tests.unit.gossip.test_shell import FAST, KEY, knows

BLUE = SwimConfig(label="blue")
HEADER = b"\xf4\x04blue"
KEYRING = Keyring([KEY])
TABLE = encode_push_pull([state("b", 10)], join=True)


@pytest.mark.parametrize("keyring", [None, KEYRING])
def test_a_packet_carries_the_label_outside_and_authenticates_it(keyring: Keyring | None) -> None:
    codec = PacketCodec(BLUE, keyring, entropy)
    packet = codec.pack([encode(Ack(1))], crc=False)
    assert packet.startswith(HEADER)
    if keyring is not None:
        sealed = packet[len(HEADER) :]
        assert AESGCM(KEY).decrypt(sealed[1:13], sealed[13:], b"blue") == encode(Ack(1))
    assert codec.unpack(packet).messages == [Ack(1)]
    assert PacketCodec(SwimConfig(), keyring, entropy).budget == codec.budget + len(HEADER)


@pytest.mark.parametrize(
    ("wanted", "data", "reason", "said"),
    [
        (
            "blue",
            b"\xf4\x03red" + encode(Ack(1)),
            RejectReason.LABELLED,
            "label 'red'; this ring has label 'blue'",
        ),
        ("blue", encode(Ack(1)), RejectReason.LABELLED, "no label; this ring has label 'blue'"),
        ("", HEADER + encode(Ack(1)), RejectReason.LABELLED, "label 'blue'; this ring has no label"),
        ("blue", b"\xf4\x00" + encode(Ack(1)), RejectReason.MALFORMED, "empty label"),
        ("blue", b"\xf4\x04bl", RejectReason.TRUNCATED, "within its label"),
        ("blue", b"\xf4", RejectReason.TRUNCATED, "within its label"),
    ],
)
def test_packets_of_other_rings_are_refused(
    wanted: str, data: bytes, reason: RejectReason, said: str
) -> None:
    decoded = PacketCodec(SwimConfig(label=wanted), None, entropy).unpack(data)
    assert not decoded.messages
    (fault,) = decoded.faults
    assert fault.reason is reason
    assert said in fault.detail


def test_a_label_under_the_right_key_but_changed_on_the_way_does_not_authenticate() -> None:
    packet = PacketCodec(BLUE, KEYRING, entropy).pack([encode(Ack(1))], crc=False)
    forged = packet.replace(b"blue", b"grey")
    (fault,) = PacketCodec(SwimConfig(label="grey"), KEYRING, entropy).unpack(forged).faults
    assert fault.reason is RejectReason.UNDECRYPTABLE


@pytest.mark.parametrize("keyring", [None, KEYRING])
def test_only_who_dials_writes_the_label_onto_a_stream(keyring: Keyring | None) -> None:
    bench = Bench(BLUE, keyring)
    (number,) = bench.node.join([("198.18.0.10", PORT)], now=bench.now)
    (opened,) = of(OpenStream, bench.node.take_outputs())
    assert opened.data.startswith(HEADER)
    other = Bench(BLUE, keyring)
    stream = other.node.accept_stream(source=SOURCE, now=other.now)
    assert stream is not None
    for piece in (opened.data[:1], opened.data[1:5], opened.data[5:6], opened.data[6:]):
        other.node.receive_stream(stream, piece, now=other.now)
    (written,) = of(WriteStream, other.node.take_outputs())
    assert written.data[:1] == (b"\x06" if keyring is None else b"\x0a")
    if keyring is not None:
        head, sealed = written.data[:5], written.data[5:]
        AESGCM(KEY).decrypt(sealed[1:13], sealed[13:], head + b"blue")
    bench.node.receive_stream(number, written.data, now=bench.now)
    assert not of(PeerRejected, bench.node.take_outputs())


@pytest.mark.parametrize(
    ("config", "data", "reason"),
    [
        (BLUE, TABLE, RejectReason.LABELLED),
        (BLUE, b"\xf4\x03red" + TABLE, RejectReason.LABELLED),
        (SwimConfig(), HEADER + TABLE, RejectReason.LABELLED),
        (BLUE, b"\xf4\x00" + TABLE, RejectReason.MALFORMED),
    ],
)
def test_streams_of_other_rings_are_refused_with_a_reason(
    config: SwimConfig, data: bytes, reason: RejectReason
) -> None:
    bench = Bench(config)
    stream = bench.node.accept_stream(source=SOURCE, now=bench.now)
    assert stream is not None
    bench.node.receive_stream(stream, data, now=bench.now)
    outputs = bench.node.take_outputs()
    assert [rejected.reason for rejected in of(PeerRejected, outputs)] == [reason]
    (written,) = of(WriteStream, outputs)
    assert isinstance(StreamReader(config, None, reply=True).feed(written.data), ErrorReply)


def test_a_label_is_bounded() -> None:
    SwimConfig(label="x" * 255)
    with pytest.raises(ConfigError, match="label: has 256 bytes; at most 255 are allowed"):
        SwimConfig(label="é" * 128)


LENIENT = SwimConfig(gossip_verify_incoming=False)
PLAIN_OUT = SwimConfig(gossip_verify_incoming=False, gossip_verify_outgoing=False)


def test_plain_text_is_taken_and_sent_while_a_ring_gets_its_keys() -> None:
    plain = PacketCodec(SwimConfig(), None, entropy).pack([encode(Ping(1, "me"))], crc=False)
    for config, sealed in ((LENIENT, True), (PLAIN_OUT, False)):
        bench = Bench(config, KEYRING)
        (answer,) = of(SendDatagram, bench.hear_bytes(plain))
        codec = PacketCodec(SwimConfig(), KEYRING if sealed else None, entropy)
        assert Ack(1) in codec.unpack(answer.data).messages
        stream = bench.node.accept_stream(source=SOURCE, now=bench.now)
        assert stream is not None
        bench.node.receive_stream(stream, TABLE, now=bench.now)
        (written,) = of(WriteStream, bench.node.take_outputs())
        reader = StreamReader(SwimConfig(), KEYRING if sealed else None, reply=True)
        assert isinstance(reader.feed(written.data), PushPull)


def test_on_a_stream_what_claims_to_be_sealed_must_open_even_then() -> None:
    foreign = frame(TABLE, Keyring([bytes([9]) * 32]), entropy, 2)
    with pytest.raises(DecodeError) as refused:
        StreamReader(LENIENT, KEYRING).feed(foreign)
    assert refused.value.reason is RejectReason.UNDECRYPTABLE


def made(name: str, bind: str = "127.0.0.1", advertise: str | None = None, **changes: object) -> Ring:
    return Ring(
        name=name,
        bind=(bind, 0),
        advertise=None if advertise is None else (advertise, 0),
        keyring=KEYRING,
        config=replace(FAST, **changes),  # type: ignore[arg-type]  # the test names existing fields
        meta=b"",
    )


@pytest.mark.anyio
async def test_labelled_rings_on_sockets() -> None:
    async with made("a", label="blue") as a, made("b", label="blue") as b, made("c", label="red") as c:
        assert (await b.join([a.endpoint])).contacted
        for member in (a, b):
            await knows(member, "a", "b")
        (error,) = (await c.join([a.endpoint])).failed.values()
        assert error
        assert set(a.members()) == {"a", "b"}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("first", "second"), [(PLAIN_OUT, PLAIN_OUT), (PLAIN_OUT, LENIENT), (LENIENT, SwimConfig())]
)
async def test_neighbouring_steps_of_the_way_to_keys_form_one_ring(
    first: SwimConfig, second: SwimConfig
) -> None:
    async with as_in("a", first) as a, as_in("b", second) as b:
        assert (await b.join([a.endpoint])).contacted
        for member in (a, b):
            await knows(member, "a", "b")
            assert not member.counters.rejected


def as_in(name: str, config: SwimConfig) -> Ring:
    return made(
        name,
        gossip_verify_incoming=config.gossip_verify_incoming,
        gossip_verify_outgoing=config.gossip_verify_outgoing,
    )


@pytest.mark.anyio
@pytest.mark.parametrize("loopback", ["127.0.0.1", "::1"])
async def test_the_wildcard_of_ipv6_takes_both_families(loopback: str) -> None:
    async with made("w", "::", loopback) as wide, made("a", loopback) as a:
        assert (await wide.join([a.endpoint])).contacted
        assert (await a.join([wide.endpoint])).contacted
        for member in (wide, a):
            await knows(member, "a", "w")
        assert a.members()["w"].address == loopback
