"""Packets that real members sent (tests/fixtures/packets, made by tests/interop/capture.py): all of them are
understood, and what we would send in their place is the same to the byte but for one known difference."""

import json
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from gossip.config import SwimConfig
from gossip.keyring import Keyring
from gossip.messages import Ping, User, decode_packet_message, encode
from gossip.packet import PacketCodec, compound, compress, expand, with_crc
from gossip.stream import PushPull, StreamReader, encode_push_pull, encode_user, frame

FIXTURES = Path(__file__).parents[2] / "fixtures" / "packets"
PROGRAMS = ("memberlist-0.1.7", "memberlist-0.5.1", "memberlist-0.7.0", "serf-0.9.4")
UNSIGNED, SIGNED = b"UserStateLen\xcd", b"UserStateLen\xd1"
"""A Go int of 128 to 32767: go-msgpack 0.5 writes it as an unsigned integer, as we do; 2 writes it as a signed one."""
EVERYTHING = {
    "ping",
    "indirectPing",
    "ack",
    "nack",
    "suspect",
    "alive",
    "dead",
    "user",
    "compress",
    "compound",
    "crc",
}


class Datagram(msgspec.Struct, rename={"source": "from", "target": "to"}):
    source: str
    target: str
    holds: str
    plain: str


class Exchange(msgspec.Struct, rename={"source": "from"}):
    source: str
    sent: str
    answered: str


@dataclass(frozen=True)
class Capture:
    key: bytes
    sealed: dict[str, str]
    datagrams: list[Datagram]
    streams: list[Exchange]


def capture(program: str) -> Capture:
    content = json.loads((FIXTURES / f"{program}.json").read_text())
    return Capture(
        bytes.fromhex(content["key"]),
        content["sealed"],
        msgspec.convert(content["datagrams"], list[Datagram]),
        msgspec.convert(content["streams"], list[Exchange]),
    )


def nonce_of(sealed: bytes, at: int) -> bytes:
    return sealed[at : at + 12]


def again(message: bytes) -> bytes:
    """Take a datagram's plain text apart and make it anew, layer by layer."""
    match message[0]:
        case 12:
            return with_crc(again(message[5:]))
        case 9:
            return compress(again(expand(message[1:], 65_536)))
        case 7:
            lengths = [int.from_bytes(message[2 + 2 * i : 4 + 2 * i], "big") for i in range(message[1])]
            start, parts = 2 + 2 * message[1], []
            for length in lengths:
                parts.append(again(message[start : start + length]))
                start += length
            return compound(parts)
        case _:
            return encode(decode_packet_message(message))


def read_stream(plain: bytes) -> bytes:
    """What we would send in place of a stream's message, before compression."""
    message = StreamReader(SwimConfig.lan(), None).feed(plain)
    if isinstance(message, PushPull):
        return encode_push_pull(message.states, join=message.join, user_state=message.user_state)
    if isinstance(message, User):
        return encode_user(message.payload)
    assert message is not None
    return encode(message)


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_datagram_is_understood_and_made_anew(program: str) -> None:
    datagrams = capture(program).datagrams
    codec = PacketCodec(SwimConfig.lan(), None, bytes)
    for datagram in datagrams:
        plain = bytes.fromhex(datagram.plain)
        decoded = codec.unpack(plain)
        assert decoded.messages, datagram
        assert not decoded.faults, datagram
        assert again(plain).hex() == datagram.plain, datagram.holds
    words = " ".join(datagram.holds for datagram in datagrams).replace("(", " ").replace(")", " ").split()
    assert set(words) == EVERYTHING


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_stream_is_understood_and_made_anew(program: str) -> None:
    signed = program in ("memberlist-0.5.1", "memberlist-0.7.0")
    kinds = set()
    for exchange in capture(program).streams:
        for plain in (bytes.fromhex(exchange.sent), bytes.fromhex(exchange.answered)):
            if not plain:
                continue
            inner = expand(plain[1:], 1 << 20)
            kinds.add(inner[0])
            ours = read_stream(plain)
            assert ours == (inner.replace(SIGNED, UNSIGNED) if signed else inner)
            assert (ours == inner) == (not signed or inner[0] != 6)
            assert compress(inner) == plain
    assert {0, 2, 6} <= kinds
    assert (8 in kinds) == program.startswith("memberlist")


@pytest.mark.parametrize("program", PROGRAMS)
def test_encryption_is_the_same_under_the_same_nonce(program: str) -> None:
    found = capture(program)
    keyring = Keyring([found.key])
    sealed = bytes.fromhex(found.sealed["datagram"])
    codec = PacketCodec(SwimConfig.lan(), keyring, lambda _: nonce_of(sealed, 1))
    assert sealed[0] == 1
    plain = next(bytes.fromhex(one.plain) for one in found.datagrams)
    assert codec.pack([plain], crc=False) == sealed
    assert not codec.unpack(sealed).faults

    stream = bytes.fromhex(found.sealed["stream"])
    sent = bytes.fromhex(found.streams[0].sent)
    assert frame(sent, keyring, lambda _: nonce_of(stream, 6), 2) == stream
    assert isinstance(StreamReader(SwimConfig.lan(), keyring).feed(stream), PushPull)


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_tells_the_programs_apart(program: str) -> None:
    found = capture(program)
    sources, forms, versions, lengths = set(), set(), set(), set()
    for datagram in found.datagrams:
        for message in (
            PacketCodec(SwimConfig.lan(), None, bytes).unpack(bytes.fromhex(datagram.plain)).messages
        ):
            if isinstance(message, Ping):
                sources.add((message.source_node, message.source_port))
    for exchange in found.streams:
        states = StreamReader(SwimConfig.lan(), None).feed(bytes.fromhex(exchange.sent))
        if isinstance(states, PushPull):
            forms |= {len(state.addr) for state in states.states}
            versions |= {state.vsn.hex() for state in states.states}
            lengths.add(len(states.user_state))
    serf = program == "serf-0.9.4"
    # Pings name their sender since memberlist 0.2.0.
    named = {(name, 7946) for name in ("a", "b", "c")}
    assert sources
    assert sources <= ({("", 0)} if program == "memberlist-0.1.7" else named)
    # One serf agent is bound to a wildcard address and announces 16 bytes of an IPv4 address.
    assert forms == ({4, 16} if serf else {4})
    assert versions == ({"010502020505"} if serf else {"010502000000"})
    assert serf or lengths == {585}
