"""Any message survives the wire; any bytes become a message or the package's own error."""

import itertools
import random
from typing import TypeVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gossip import lzw
from gossip.config import SwimConfig
from gossip.errors import DecodeError
from gossip.keyring import Keyring
from gossip.messages import (
    Ack,
    Alive,
    Dead,
    ErrorReply,
    IndirectPing,
    Nack,
    NodeState,
    PacketMessage,
    Ping,
    Struct,
    Suspect,
    User,
    decode_packet_message,
    encode,
)
from gossip.meta import Meta
from gossip.packet import PacketCodec, compress
from gossip.stream import PushPull, StreamMessage, StreamReader, encode_push_pull, encode_user, frame

T = TypeVar("T")

KEYRING = Keyring([bytes(range(32)), bytes(16)])
KEYRINGS = st.sampled_from([None, KEYRING])

u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)
names = st.text(max_size=100).filter(lambda text: len(text.encode(errors="surrogatepass")) <= 512)
names = names.filter(lambda text: not any("\ud800" <= char <= "\udfff" for char in text))
addresses = st.one_of(st.just(b""), st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16))
metas = st.binary(max_size=512)
versions = st.binary(max_size=6)
source = {"source_addr": addresses, "source_port": u16, "source_node": names}
verdict = {"incarnation": u32, "node": names, "accuser": names}

packet_messages: st.SearchStrategy[Struct] = st.one_of(
    st.builds(Ping, seq=u32, node=names, **source),
    st.builds(IndirectPing, seq=u32, target=addresses, port=u16, node=names, nack=st.booleans(), **source),
    st.builds(Ack, seq=u32, payload=st.binary(max_size=300)),
    st.builds(Nack, seq=u32),
    st.builds(Suspect, **verdict),
    st.builds(Alive, incarnation=u32, node=names, addr=addresses, port=u16, meta=metas, vsn=versions),
    st.builds(Dead, **verdict),
    st.builds(User, payload=st.binary(max_size=300)),
)
states = st.builds(
    NodeState,
    name=names,
    addr=addresses,
    port=u16,
    meta=metas,
    incarnation=u32,
    state=st.integers(0, 3),
    vsn=versions,
)


def entropy(size: int) -> bytes:
    return bytes(size)


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(places)]


def read(reader: StreamReader, piece: bytes) -> StreamMessage | None:
    """Hand over a piece, and expand what is compressed."""
    message = reader.feed(piece)
    while message is None and reader.expanding:
        message = reader.step()
    return message


@given(packet_messages)
def test_any_message_comes_back(message: Struct) -> None:
    assert decode_packet_message(encode(message)) == message


@given(
    st.lists(packet_messages, min_size=1, max_size=20),
    KEYRINGS,
    st.booleans(),
    st.booleans(),
    st.sampled_from([1, 2]),
)
def test_any_packet_comes_back(
    messages: list[PacketMessage], keyring: Keyring | None, crc: bool, compression: bool, protocol: int
) -> None:
    config = SwimConfig(enable_compression=compression, protocol_version=protocol)
    codec = PacketCodec(config, keyring, entropy)
    packet = codec.pack([encode(message) for message in messages], crc=crc)
    assert codec.unpack(packet) == (messages, [])


@given(st.lists(states, max_size=20), st.booleans(), metas, KEYRINGS, st.booleans(), st.lists(st.integers(0)))
def test_any_table_comes_back_in_any_pieces(
    table: list[NodeState],
    join: bool,
    user_state: bytes,
    keyring: Keyring | None,
    compressed: bool,
    cuts: list[int],
) -> None:
    data = encode_push_pull(table, join=join, user_state=user_state)
    stream = frame(compress(data) if compressed else data, keyring, entropy, 2)
    reader = StreamReader(SwimConfig.lan(), keyring)
    results = [read(reader, piece) for piece in in_pieces(stream, cuts)]
    assert results[-1] == PushPull(join, table, user_state)


@given(st.one_of(st.builds(ErrorReply, error=names), st.builds(Ack, seq=u32)), KEYRINGS)
def test_any_short_stream_comes_back(message: Struct, keyring: Keyring | None) -> None:
    reader = StreamReader(SwimConfig.lan(), keyring)
    assert reader.feed(frame(encode(message), keyring, entropy, 1)) == message


@given(st.binary(max_size=2000))
def test_any_user_message_comes_back_on_a_stream(payload: bytes) -> None:
    assert StreamReader(SwimConfig.lan(), None).feed(encode_user(payload)) == User(payload)


@given(st.binary(max_size=5000), st.booleans())
def test_lzw_gives_back_what_it_took(data: bytes, leading_clear: bool) -> None:
    assert lzw.decompress(lzw.compress(data, leading_clear=leading_clear), limit=len(data)) == data


@given(
    st.builds(
        Meta,
        software=st.text(st.characters(codec="ascii"), max_size=50),
        version=st.text(st.characters(codec="utf-8"), max_size=20),
        draining=st.booleans(),
        eligible=st.booleans(),
        segments=st.lists(st.binary(min_size=4, max_size=4), max_size=50).map(tuple),
    )
)
def test_any_meta_comes_back(meta: Meta) -> None:
    assert Meta.decode(meta.encode()) == meta


def mangled(data: bytes, seed: int) -> bytes:
    """Real bytes with a few changed, cut or repeated: these reach deeper than random ones."""
    rng = random.Random(seed)
    broken = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(broken) + 1)
        kind = rng.randrange(4)
        if kind == 0 and broken:
            broken[place % len(broken)] = rng.randrange(256)
        elif kind == 1:
            del broken[place:]
        elif kind == 2:
            broken[place:place] = rng.randbytes(rng.randint(1, 6))
        else:
            broken += broken[place : place + 20]
    return bytes(broken)


any_bytes = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda kind, rest: bytes([kind]) + rest, st.integers(0, 13), st.binary(max_size=300)),
    st.builds(mangled, packet_messages.map(encode), st.integers(0, 1 << 32)),
)


@given(any_bytes)
@example(b"\x02\xc7\x0c\xff" + bytes(12))
@example(b"\x02" + b"\x91" * 2000)
@example(b"\x02\x81\x91\x01\x01")
@example(b"\x02\xdf\xff\xff\xff\xff")
def test_any_bytes_are_a_message_or_our_error(data: bytes) -> None:
    try:
        message = decode_packet_message(data)
    except DecodeError:
        return
    assert decode_packet_message(encode(message)) == message


@given(any_bytes, KEYRINGS, st.booleans())
def test_any_bytes_in_a_packet_are_messages_or_faults(
    data: bytes, keyring: Keyring | None, sealed: bool
) -> None:
    codec = PacketCodec(SwimConfig.lan(), keyring, entropy)
    messages, faults = codec.unpack(codec.pack([data or b"\x00"], crc=False) if sealed else data)
    assert all(isinstance(fault, DecodeError) for fault in faults)
    assert messages or faults


@given(
    st.one_of(
        any_bytes,
        st.builds(
            lambda table, seed: mangled(encode_push_pull(table, join=True), seed),
            st.lists(states, max_size=5),
            st.integers(0, 1 << 32),
        ),
    ),
    KEYRINGS,
    st.sampled_from(["plain", "framed", "compressed"]),
    st.lists(st.integers(0)),
)
def test_any_bytes_on_a_stream_are_a_message_or_our_error(
    data: bytes, keyring: Keyring | None, form: str, cuts: list[int]
) -> None:
    if form == "compressed":
        data = compress(data)
    if form != "plain":
        data = frame(data, keyring, entropy, 2)
    reader = StreamReader(SwimConfig.lan(), keyring)
    try:
        for piece in in_pieces(data, cuts):
            if read(reader, piece) is not None:
                return
    except DecodeError:
        return
    assert reader.truncated().detail == f"ended after {len(data)} bytes"


@given(st.binary(max_size=1000))
def test_any_bytes_unpack_by_lzw_or_are_our_error(data: bytes) -> None:
    try:
        assert len(lzw.decompress(data, limit=10_000)) <= 10_000
    except DecodeError:
        return


@given(st.one_of(st.binary(max_size=600), st.binary(max_size=600).map(lambda rest: b"vip1" + rest)))
def test_any_bytes_are_a_meta_of_ours_or_none(data: bytes) -> None:
    meta = Meta.decode(data)
    if meta is not None:
        assert Meta.decode(meta.encode()) == meta


def test_the_generators_reach_every_decoder() -> None:
    reached = {type(decode_packet_message(encode(message))) for message in SAMPLES}
    assert reached == {Ping, IndirectPing, Ack, Nack, Suspect, Alive, Dead, User}


SAMPLES: list[Struct] = [
    Ping(1),
    IndirectPing(1, b"", 0, ""),
    Ack(1),
    Nack(1),
    Suspect(1, "", ""),
    Alive(1, "", b"", 0),
    Dead(1, "", ""),
    User(b""),
]


@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: type(message).__name__)
def test_every_truncation_of_every_message_is_our_error_or_a_message(message: Struct) -> None:
    data = encode(message)
    for end in range(len(data)):
        try:
            decode_packet_message(data[:end])
        except DecodeError:
            continue
