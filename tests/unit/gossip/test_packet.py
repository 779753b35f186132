"""The layers of a datagram, their limits, and what is refused."""

import pytest

from gossip import lzw
from gossip.config import SwimConfig
from gossip.errors import RejectReason
from gossip.keyring import Keyring
from gossip.messages import Ack, Compressed, Nack, User, encode
from gossip.outputs import PeerRejected, SendDatagram
from gossip.packet import PacketCodec, compound, compress, with_crc
from gossip.sealing import seal
from tests.unit.gossip.helpers import Bench, alive, entropy, of

KEY, OTHER = bytes(32), bytes([1]) * 32
ACK = encode(Ack(1))


def codec(keyring: Keyring | None = None, config: SwimConfig | None = None) -> PacketCodec:
    return PacketCodec(config or SwimConfig.lan(), keyring, entropy)


def reasons(data: bytes, keyring: Keyring | None = None) -> list[RejectReason]:
    messages, faults = codec(keyring).unpack(data)
    assert not messages
    return [fault.reason for fault in faults]


@pytest.mark.parametrize("size", [16, 24, 32])
def test_every_key_decrypts_and_the_first_encrypts(size: int) -> None:
    first, second = bytes([1]) * size, bytes([2]) * size
    both = codec(Keyring([first, second]))
    assert both.unpack(codec(Keyring([second])).pack([ACK], crc=True)).messages == [Ack(1)]
    assert codec(Keyring([first])).unpack(both.pack([ACK], crc=True)).messages == [Ack(1)]
    assert reasons(both.pack([ACK], crc=True), Keyring([second])) == [RejectReason.UNDECRYPTABLE]


def test_what_is_refused_and_why() -> None:
    sealed = seal(ACK, Keyring([KEY]), entropy, 2)
    keyring = Keyring([KEY])
    assert reasons(b"") == [RejectReason.TRUNCATED]
    assert reasons(b"", keyring) == [RejectReason.TRUNCATED]
    assert reasons(b"\xf4\x01x" + ACK) == [RejectReason.LABELLED]
    assert reasons(b"\xf4\x01x" + sealed, keyring) == [RejectReason.LABELLED]
    assert reasons(sealed, Keyring([OTHER])) == [RejectReason.UNDECRYPTABLE]
    assert reasons(sealed[:-1] + bytes([sealed[-1] ^ 1]), keyring) == [RejectReason.UNDECRYPTABLE]
    assert reasons(sealed[:20], keyring) == [RejectReason.TRUNCATED]
    assert reasons(ACK, keyring) == [RejectReason.UNENCRYPTED]
    assert reasons(b"\x0c\x00\x00\x00\x00" + ACK) == [RejectReason.CHECKSUM]
    assert reasons(b"\x0c\x00") == [RejectReason.TRUNCATED]
    assert reasons(b"\x06\x80") == [RejectReason.UNSUPPORTED]
    assert reasons(b"\x02\xc1") == [RejectReason.MALFORMED]
    assert reasons(b"\x02\x81\xa5SeqNo\xff") == [RejectReason.MALFORMED]
    assert reasons(encode(Compressed(1, b"x"))) == [RejectReason.UNSUPPORTED]
    assert reasons(encode(Compressed(0, lzw.compress(b"")))) == [RejectReason.MALFORMED]


def test_wrappers_that_belong_outside_are_not_taken_inside() -> None:
    for inner in (with_crc(ACK), b"\x0a" + ACK, b"\xf4\x01x" + ACK):
        assert reasons(compound([inner])) == [RejectReason.UNSUPPORTED]
        assert reasons(compress(inner)) == [RejectReason.UNSUPPORTED]


def test_a_bad_part_does_not_spoil_the_others() -> None:
    messages, faults = codec().unpack(compound([ACK, b"\x63", b"", encode(Nack(2))]))
    assert messages == [Ack(1), Nack(2)]
    assert [fault.reason for fault in faults] == [RejectReason.UNSUPPORTED, RejectReason.TRUNCATED]


def test_the_parts_that_came_count_when_the_tail_is_missing() -> None:
    messages, faults = codec().unpack(compound([ACK, encode(Nack(2))])[:-1])
    assert messages == [Ack(1)]
    assert [fault.reason for fault in faults] == [RejectReason.TRUNCATED]


def test_a_bomb_is_refused_before_it_unfolds() -> None:
    assert reasons(compress(bytes(300_000))) == [RejectReason.TOO_LARGE]


def test_nested_wrappers_are_bounded() -> None:
    packet = ACK
    for _ in range(10):
        packet = compress(packet)
    assert reasons(packet) == [RejectReason.TOO_LARGE]
    packet = compound([b"\x08"] * 127)
    for _ in range(2):
        packet = compound([packet] * 20)
    messages, faults = codec().unpack(packet)
    assert len(messages) < 1100
    assert {fault.reason for fault in faults} == {RejectReason.TOO_LARGE}


def test_trailing_bytes_unknown_keys_missing_keys_and_nil_are_accepted() -> None:
    unpack = codec().unpack
    assert unpack(ACK + b"trailing").messages == [Ack(1)]
    assert unpack(b"\x02\x83\xa5SeqNo\x01\xa7Payload\xa0\xa5Other\x91\xc0").messages == [Ack(1)]
    assert unpack(b"\x02\x80").messages == [Ack(0)]
    assert unpack(b"\x02\x82\xa5SeqNo\xc0\xa7Payload\xc0").messages == [Ack(0)]
    # Signed and wide integers, str8 and bin, and an array in the order of the declaration.
    assert unpack(b"\x02\x82\xa5SeqNo\xd3" + bytes(7) + b"\x05\xa7Payload\xc4\x01x").messages == [
        Ack(5, b"x")
    ]
    assert unpack(b"\x02\x92\x05\xd9\x01x").messages == [Ack(5, b"x")]
    assert unpack(b"\x02\x92\x05\x92\x01\x02").messages == [Ack(5, b"\x01\x02")]


def test_integers_that_do_not_fit_are_refused() -> None:
    for value in (b"\xff", b"\xcf\x00\x00\x00\x01\x00\x00\x00\x00", b"\xcb" + bytes(8), b"\xc3"):
        assert reasons(b"\x02\x81\xa5SeqNo" + value) == [RejectReason.MALFORMED]


def test_compression_is_used_only_where_it_helps() -> None:
    squeezing = codec(config=SwimConfig(enable_compression=True))
    assert squeezing.pack([ACK], crc=False) == ACK
    long = encode(User(b"ab" * 400))
    packed = squeezing.pack([long], crc=False)
    assert packed[0] == 9
    assert len(packed) < len(long)
    assert codec().unpack(packed).messages == [User(b"ab" * 400)]


@pytest.mark.parametrize("keyring", [None, Keyring([KEY])])
def test_no_packet_exceeds_the_limit(keyring: Keyring | None) -> None:
    bench = Bench(keyring=keyring)
    for number in range(10, 200):
        bench.hear(alive(f"a-rather-long-name-of-a-node-{number}", number, meta=b"m" * 100))
    sizes = [len(output.data) for output in of_datagrams(bench)]
    assert max(sizes) <= 1405
    assert max(sizes) > 1200


def of_datagrams(bench: Bench) -> list[SendDatagram]:
    return of(SendDatagram, bench.wait(3.0))


def test_a_plain_ring_recognises_encrypted_packets() -> None:
    bench = Bench()
    (rejected,) = of(PeerRejected, bench.hear_bytes(seal(ACK, Keyring([KEY]), entropy, 2)))
    assert rejected.reason is RejectReason.ENCRYPTED
