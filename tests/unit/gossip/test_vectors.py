"""Bytes of real peers' shape, read and written: messages, packets and streams of memberlist."""

import struct

import pytest

from gossip import lzw
from gossip.config import SwimConfig
from gossip.keyring import Keyring, derive_key
from gossip.messages import (
    Ack,
    Alive,
    Dead,
    ErrorReply,
    IndirectPing,
    Nack,
    NodeState,
    Ping,
    Struct,
    Suspect,
    decode_packet_message,
    encode,
)
from gossip.packet import PacketCodec, compound, compress, with_crc
from gossip.stream import PushPull, StreamReader, encode_push_pull, encode_user, frame

A, B = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))
PORT = 7946
METALLB_VSN = bytes((1, 5, 2, 0, 0, 0))
SERF_VSN = bytes((1, 5, 2, 2, 5, 5))
LEFT = "0583a446726f6da161ab496e6361726e6174696f6e01a44e6f6465a161"
ACK = "0282a75061796c6f6164c0a55365714e6f01"
ACK_COMPRESSED = "0982a4416c676f00a3427566b70005083a05254c1e366fc29001566a4a99384ede040808"
PUSH_PULL = (
    "0683a44a6f696ec3a54e6f64657301ac5573657253746174654c656e0087a441646472a40a000001ab496e6361726e6174696f6e01"
    "a44d657461c0a44e616d65a161a4506f7274cd1f0aa5537461746500a356736ea6010502000000"
)
STATE = NodeState("a", A, PORT, b"", 1, 0, METALLB_VSN)

PACKET_MESSAGES: dict[str, tuple[Struct, str]] = {
    "ping": (
        Ping(1, "b", A, PORT, "a"),
        "0085a44e6f6465a162a55365714e6f01aa536f7572636541646472a40a000001aa536f757263654e6f6465a161"
        "aa536f75726365506f7274cd1f0a",
    ),
    "indirect ping": (
        IndirectPing(1, B, PORT, "b", True, A, PORT, "a"),
        "0188a44e61636bc3a44e6f6465a162a4506f7274cd1f0aa55365714e6f01aa536f7572636541646472a40a000001"
        "aa536f757263654e6f6465a161aa536f75726365506f7274cd1f0aa6546172676574a40a000002",
    ),
    "ack": (Ack(1), ACK),
    "nack": (Nack(200), "0b81a55365714e6fccc8"),
    "suspect": (Suspect(1, "b", "a"), "0383a446726f6da161ab496e6361726e6174696f6e01a44e6f6465a162"),
    "alive of MetalLB": (
        Alive(1, "a", A, PORT, b"", METALLB_VSN),
        "0486a441646472a40a000001ab496e6361726e6174696f6e01a44d657461c0a44e6f6465a161a4506f7274cd1f0a"
        "a356736ea6010502000000",
    ),
    "alive of serf on a wildcard address": (
        Alive(1, "a", bytes(10) + b"\xff\xff" + A, PORT, b"\xff\x80", SERF_VSN),
        "0486a441646472b000000000000000000000ffff0a000001ab496e6361726e6174696f6e01a44d657461a2ff80"
        "a44e6f6465a161a4506f7274cd1f0aa356736ea6010502020505",
    ),
    "left": (Dead(1, "a", "a"), LEFT),
}

SECRET_KEY = bytes.fromhex("4d4445794d7a51314e6a63344f5746695932526c5a67e3b0c44298fc1c149afb")
SEALED = "01000102030405060708090a0b67e71cdea834baa9abd844a658e980972f6de7ed669d1917c58c1a08fcb9553a56eb"
SEALED_STREAM = (
    "0a0000004101000102030405060708090a0b6ce71fcfa52ab9c669fef165bc8cf4d17a69d88b787050cbe6d1ce46dafff76d945c7f6c"
    "fbebf8bf856c894fc40e87e4d9edc071"
)
SEALED_PADDED = (
    "00000102030405060708090a0b899ddda1f8a57b15a1c40b174001d0fdd84752afb209f4a0af98df24ddfbca83de8dce3c0f3537764348"
    "057e0c4ba1a6"
)


def counting(size: int) -> bytes:
    """The nonce of the vectors: 00 01 02 ..."""
    return bytes(range(size))


def codec(keyring: Keyring | None = None, config: SwimConfig | None = None) -> PacketCodec:
    return PacketCodec(config or SwimConfig.lan(), keyring, counting)


@pytest.mark.parametrize("name", PACKET_MESSAGES)
def test_message_is_written_and_read(name: str) -> None:
    message, text = PACKET_MESSAGES[name]
    assert encode(message).hex() == text
    assert decode_packet_message(bytes.fromhex(text)) == message


def test_error_reply() -> None:
    assert encode(ErrorReply("x")).hex() == "0d81a54572726f72a178"
    assert StreamReader(SwimConfig.lan(), None).feed(bytes.fromhex("0d81a54572726f72a178")) == ErrorReply("x")


def test_left_with_crc() -> None:
    packet = bytes.fromhex("0c2a90e607" + LEFT)
    assert with_crc(bytes.fromhex(LEFT)) == packet
    assert codec().unpack(packet) == ([Dead(1, "a", "a")], [])


def test_compound_of_ping_and_suspect() -> None:
    ping, suspect = PACKET_MESSAGES["ping"], PACKET_MESSAGES["suspect"]
    packet = compound([bytes.fromhex(ping[1]), bytes.fromhex(suspect[1])])
    assert packet.hex().startswith("0702003b001d")
    assert codec().unpack(packet) == ([ping[0], suspect[0]], [])


def test_compressed_ack() -> None:
    assert compress(bytes.fromhex(ACK)).hex() == ACK_COMPRESSED
    assert codec().unpack(bytes.fromhex(ACK_COMPRESSED)) == ([Ack(1)], [])


def test_push_pull_join() -> None:
    assert encode_push_pull([STATE], join=True).hex() == PUSH_PULL
    reader = StreamReader(SwimConfig.lan(), None)
    assert reader.feed(bytes.fromhex(PUSH_PULL)) == PushPull(True, [STATE], b"")


def test_push_pull_of_the_signed_integer_dialect() -> None:
    # go-msgpack 2 writes the length of the user state as a signed 16-bit integer, 0.5 as an unsigned one.
    for length in ("cd0249", "d10249"):
        header = bytes.fromhex("0683a44a6f696ec2a54e6f64657300ac5573657253746174654c656e" + length)
        message = StreamReader(SwimConfig.lan(), None).feed(header + b"u" * 585)
        assert message == PushPull(False, [], b"u" * 585)


def test_user_message_on_a_stream() -> None:
    text = "0881aa557365724d73674c656e03616263"
    assert encode_user(b"abc").hex() == text
    message = StreamReader(SwimConfig.lan(), None).feed(bytes.fromhex(text))
    assert getattr(message, "payload", None) == b"abc"


def test_sealed_packet() -> None:
    keyring = Keyring([derive_key(b"MDEyMzQ1Njc4OWFiY2RlZg")])
    assert keyring.keys == (SECRET_KEY,)
    assert codec(keyring).pack([bytes.fromhex(ACK)], crc=False).hex() == SEALED
    assert codec(keyring).unpack(bytes.fromhex(SEALED)) == ([Ack(1)], [])


def test_sealed_packet_with_padding() -> None:
    keyring = Keyring([derive_key(b"MDEyMzQ1Njc4OWFiY2RlZg", 16)])
    padded = codec(keyring, SwimConfig(protocol_version=1))
    assert padded.pack([bytes.fromhex(ACK)], crc=False).hex() == SEALED_PADDED
    # Either version is read, whichever is sent.
    assert codec(keyring).unpack(bytes.fromhex(SEALED_PADDED)) == ([Ack(1)], [])


def test_sealed_stream() -> None:
    keyring = Keyring([SECRET_KEY])
    assert frame(bytes.fromhex(ACK_COMPRESSED), keyring, counting, 2).hex() == SEALED_STREAM
    assert StreamReader(SwimConfig.lan(), keyring).feed(bytes.fromhex(SEALED_STREAM)) == Ack(1)


@pytest.mark.parametrize(
    ("leading_clear", "text"),
    [
        (False, "549e0829f2448a932754041234b8b0e0c1840101"),
        (True, "00a93c1152e48914274fa80824687061c183090302"),
    ],
)
def test_lzw(leading_clear: bool, text: str) -> None:
    plain = b"TOBEORNOTTOBEORTOBEORNOT"
    assert lzw.compress(plain, leading_clear=leading_clear).hex() == text
    assert lzw.decompress(bytes.fromhex(text), limit=len(plain)) == plain


@pytest.mark.parametrize(
    ("secret", "short", "long"),
    [
        (
            b"abc",
            "616263e3b0c44298fc1c149afbf4c899",
            "616263e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b78",
        ),
        (
            b"MDEyMzQ1Njc4OWFiY2RlZg",
            "4d4445794d7a51314e6a63344f574669",
            "4d4445794d7a51314e6a63344f5746695932526c5a67e3b0c44298fc1c149afb",
        ),
        (
            b"0123456789abcdef0123456789abcdef0123456789",
            "30313233343536373839616263646566",
            "3031323334353637383961626364656630313233343536373839616263646566",
        ),
    ],
)
def test_keys_of_metallb(secret: bytes, short: str, long: str) -> None:
    assert derive_key(secret, 16).hex() == short
    assert derive_key(secret).hex() == long


def test_serf_ack_payload_and_user_messages_pass_through() -> None:
    payload = bytes.fromhex(
        "0184aa41646a7573746d656e74cb0000000000000000a54572726f72cb3ff8000000000000a6486569676874cb3ee4f8b588e368f1"
        "a356656398" + "cb0000000000000000" * 8
    )
    ack = decode_packet_message(encode(Ack(7, payload)))
    assert ack == Ack(7, payload)
    (user,) = codec().unpack(bytes.fromhex("080182a54c54696d6501a44e6f6465a161")).messages
    assert encode(user).hex() == "080182a54c54696d6501a44e6f6465a161"


def test_compound_lengths_are_in_network_order() -> None:
    parts = [encode(Nack(seq)) for seq in range(1, 128)]
    packet = compound(parts)
    assert struct.unpack_from(">BB", packet) == (7, 127)
    messages, faults = codec().unpack(packet)
    assert messages == [Nack(seq) for seq in range(1, 128)]
    assert not faults
