"""The trailer of frames between members."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from announcer.layer2 import arp, signed
from announcer.layer2.arp import ArpFrame
from announcer.layer2.signed import FLAG_GO, Kind, Signer, name_hash

VIP = bytes([198, 18, 1, 0])
MAC = bytes.fromhex("020000000001")
FRAME = ArpFrame(arp.BROADCAST, MAC, arp.REPLY, MAC, VIP, bytes(6), VIP)
NONCE = bytes(range(8))


def test_the_trailer_byte_for_byte() -> None:
    frame = Signer("n1", [b"key"]).question(FRAME._replace(operation=arp.REQUEST), NONCE)
    assert len(frame) == 60
    assert frame[:42] == FRAME._replace(operation=arp.REQUEST).encode()[:42]
    # sha256("n1"), sha256("n1#198.18.1.0"): `printf n1#198.18.1.0 | sha256sum`
    assert frame[42:] == b"vr\x01" + bytes.fromhex("676b8bb8") + bytes.fromhex("136d1b") + NONCE


def test_an_answer_verifies_for_its_nonce_sender_and_words_only() -> None:
    sender, receiver = Signer("n1", [b"new", b"old"]), Signer("n2", [b"old", b"new"])
    data = sender.sign(FRAME, Kind.ANSWER, flags=FLAG_GO, nonce=NONCE)
    trailer = signed.read(data)
    assert trailer is not None
    assert (trailer.kind, trailer.flags, trailer.name) == (Kind.ANSWER, FLAG_GO, name_hash("n1"))
    assert receiver.verifies(FRAME, trailer, NONCE)
    assert not receiver.verifies(FRAME, trailer, bytes(8)), "a replay answers another question"
    assert not receiver.verifies(FRAME, trailer._replace(flags=0), NONCE)
    assert not receiver.verifies(FRAME._replace(sender_mac=bytes(6)), trailer, NONCE)
    assert not receiver.verifies(FRAME._replace(sender_ip=bytes(4)), trailer, NONCE)
    assert not Signer("n2", [b"other"]).verifies(FRAME, trailer, NONCE)
    assert not sender.verifies(FRAME, trailer, NONCE), "our own frame, reflected"


@pytest.mark.parametrize("length", [0, 42, 59])
def test_a_short_frame_has_no_trailer(length: int) -> None:
    assert signed.read(Signer("n1", []).sign(FRAME, Kind.HELLO)[:length]) is None


@given(st.binary(max_size=80), st.binary(min_size=18, max_size=18))
def test_any_bytes_are_read_or_refused(data: bytes, trailer: bytes) -> None:
    signed.read(data)
    found = signed.read(FRAME.encode()[:42] + b"vr" + trailer[2:])
    if found is not None:
        assert not Signer("n2", [b"key"]).verifies(FRAME, found, NONCE)


def test_ranks_differ_by_address_so_that_owners_spread() -> None:
    rng = random.Random(1)
    vips = [rng.randbytes(4) for _ in range(300)]
    first = [min((signed.rank(name, vip), name) for name in ("n1", "n2", "n3"))[1] for vip in vips]
    assert {name: first.count(name) > 60 for name in first} == {"n1": True, "n2": True, "n3": True}
