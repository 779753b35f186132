"""Packets that real members sent (tests/fixtures/packets, made by tests/interop/capture.py): all of them are
understood, and what we would send in their place is the same to the byte, but for two known differences."""

import json
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from gossip.config import SwimConfig
from gossip.keyring import Keyring
from gossip.messages import (
    Ack,
    Alive,
    Dead,
    IndirectPing,
    Nack,
    Ping,
    Suspect,
    User,
    decode_packet_message,
    encode,
)
from gossip.packet import PacketCodec, compound, compress, expand, with_crc
from gossip.stream import PushPull, StreamReader, encode_push_pull, encode_user, frame

FIXTURES = Path(__file__).parents[2] / "fixtures" / "packets"
DIFFERENCES = {
    # A Go int of 128 to 32767: go-msgpack 2 writes it as a signed integer, 0.5 as an unsigned one, as we do.
    "signed length": (b"UserStateLen\xd1", b"UserStateLen\xcd"),
    # Meta that is empty but not nil. Members take both for the same; 0.5 also writes nil in its place when it
    # passes the message on.
    "empty meta": (b"\xa4Meta\xa0", b"\xa4Meta\xc0"),
}
"""Theirs and ours."""
KNOWN = {
    "memberlist-0.1.7": {"empty meta"},
    "memberlist-0.1.7-short-key": {"empty meta"},
    "memberlist-0.5.1": {"empty meta", "signed length"},
    "memberlist-0.7.0": {"empty meta", "signed length"},
    "memberlist-0.7.0-ipv6": {"empty meta", "signed length"},
    "serf-0.9.4": set(),
}
EVERYTHING = {Ping, IndirectPing, Ack, Nack, Suspect, Alive, Dead, User}
LAYERS = {"compress", "compound", "crc"}


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


def expected(theirs: bytes) -> tuple[bytes, set[str]]:
    """What we should send in place of a message, and in what that differs."""
    ours, differing = theirs, set()
    for name, (before, after) in DIFFERENCES.items():
        if before in theirs:
            ours = ours.replace(before, after)
            differing.add(name)
    return ours, differing


def check(message: bytes) -> set[str]:
    """Make a datagram's plain text anew, layer by layer; the differences in it."""
    match message[0]:
        case 12:
            assert with_crc(message[5:]) == message
            return check(message[5:])
        case 9:
            inner = expand(message[1:], 65_536)
            assert compress(inner) == message
            return check(inner)
        case 7:
            lengths = [int.from_bytes(message[2 + 2 * i : 4 + 2 * i], "big") for i in range(message[1])]
            start, parts = 2 + 2 * message[1], []
            for length in lengths:
                parts.append(message[start : start + length])
                start += length
            assert compound(parts) == message
            return set().union(*map(check, parts))
        case _:
            ours, differing = expected(message)
            assert encode(decode_packet_message(message)) == ours
            return differing


def read_stream(plain: bytes) -> bytes:
    """What we would send in place of a stream's message, before compression."""
    message = StreamReader(SwimConfig.lan(), None).feed(plain)
    if isinstance(message, PushPull):
        return encode_push_pull(message.states, join=message.join, user_state=message.user_state)
    if isinstance(message, User):
        return encode_user(message.payload)
    assert message is not None
    return encode(message)


@pytest.mark.parametrize("program", KNOWN)
def test_every_datagram_is_understood_and_made_anew(program: str) -> None:
    datagrams = capture(program).datagrams
    codec = PacketCodec(SwimConfig.lan(), None, bytes)
    kinds = set()
    for datagram in datagrams:
        plain = bytes.fromhex(datagram.plain)
        decoded = codec.unpack(plain)
        assert decoded.messages, datagram
        assert not decoded.faults, datagram
        assert check(plain) <= KNOWN[program], datagram
        kinds |= {type(message) for message in decoded.messages}
    words = " ".join(datagram.holds for datagram in datagrams).replace("(", " ").replace(")", " ").split()
    assert kinds == EVERYTHING
    assert set(words) >= LAYERS


@pytest.mark.parametrize("program", KNOWN)
def test_every_stream_is_understood_and_made_anew(program: str) -> None:
    kinds, differing = set(), set()
    for exchange in capture(program).streams:
        for plain in (bytes.fromhex(exchange.sent), bytes.fromhex(exchange.answered)):
            if not plain:
                continue
            inner = expand(plain[1:], 1 << 20)
            assert compress(inner) == plain
            kinds.add(inner[0])
            ours, found = expected(inner)
            assert read_stream(plain) == ours
            differing |= found
    assert differing == KNOWN[program]
    assert {0, 2, 6} <= kinds
    assert (8 in kinds) == program.startswith("memberlist")


@pytest.mark.parametrize("program", KNOWN)
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


@pytest.mark.parametrize("program", KNOWN)
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
    assert sources <= ({("", 0)} if program.startswith("memberlist-0.1.7") else named)
    # One serf agent is bound to a wildcard address and announces 16 bytes of an IPv4 address.
    assert forms == ({4, 16} if serf else {16} if program.endswith("ipv6") else {4})
    assert len(found.key) == (16 if program.endswith("short-key") else 32)
    assert versions == ({"010502020505"} if serf else {"010502000000"})
    # A member without an application, as MetalLB's are, sends no state.
    assert serf or lengths == {0, 585}
