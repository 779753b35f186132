"""The trailer of frames between members."""

import os
import random
import shutil
import subprocess
from ipaddress import IPv4Interface
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Padding
from scapy.utils import wrpcap

from announcer.layer2 import arp, signed
from announcer.layer2.arp import ArpFrame
from announcer.layer2.interfaces import InterfaceView
from announcer.layer2.neighbours import Neighbours
from announcer.layer2.signed import FLAG_GO, Kind, Signer, name_hash

VIP = bytes([198, 18, 1, 0])
MAC = bytes.fromhex("020000000001")
FRAME = ArpFrame(arp.BROADCAST, MAC, arp.REPLY, MAC, VIP, bytes(6), VIP)
NONCE = bytes(range(8))
PEER = bytes.fromhex("020000000002")
PEER_IP = bytes([198, 18, 0, 12])


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


def said() -> dict[str, bytes]:
    """A frame of each kind as n1 (198.18.0.11) sends it; n2 is at PEER_IP."""
    neighbours, signer = Neighbours(), Signer("n1", [b"key"])
    view = InterfaceView(1, "eth0", MAC, (IPv4Interface("198.18.0.11/16"),))
    neighbours.set_interfaces({1: view}, 0.0)
    neighbours.introduce(signer, 0.0)
    here = ArpFrame(arp.BROADCAST, PEER, arp.REQUEST, PEER, PEER_IP, bytes(6), PEER_IP)
    neighbours.hello(1, name_hash("n2"), here, welcome=False, now=0.0)
    neighbours.question(1, VIP, NONCE, probe=True)
    neighbours.question(1, PEER_IP, NONCE, to=PEER)
    neighbours.announce(VIP)
    neighbours.offer(VIP, name_hash("n2"))
    kinds = ("hello", "question", "question to a member", "announcement", "offer")
    frames = dict(zip(kinds, [frame for _, frame in neighbours.frames], strict=True))
    question = ArpFrame(arp.BROADCAST, PEER, arp.REQUEST, PEER, arp.ANY, bytes(6), VIP).encode()
    reply = arp.answer(question, MAC, {VIP})
    assert isinstance(reply, bytes)
    answer = arp.parse(reply)
    assert isinstance(answer, ArpFrame)
    frames["answer"] = signer.sign(answer, Kind.ANSWER, flags=FLAG_GO, nonce=NONCE)
    return frames


SAID = {
    "hello": "Request who-has 198.18.0.11 tell 198.18.0.11",
    "question": "Request who-has 198.18.1.0 tell 0.0.0.0",
    "question to a member": "Request who-has 198.18.0.12 tell 198.18.0.11",
    "announcement": "Request who-has 198.18.1.0 (ff:ff:ff:ff:ff:ff) tell 198.18.1.0",
    "offer": "Reply 198.18.1.0 is-at 02:00:00:00:00:01",
    "answer": "Reply 198.18.1.0 is-at 02:00:00:00:00:01",
}
"""What each frame is to everybody else, in tcpdump's words."""


@pytest.mark.parametrize("kind", SAID)
def test_scapy_reads_ordinary_arp_with_the_trailer_as_padding(kind: str) -> None:
    frame = said()[kind]
    trailer, heard = signed.read(frame), arp.parse(frame)
    assert trailer is not None
    assert trailer.kind is Kind[kind.split(maxsplit=1)[0].upper()]
    assert isinstance(heard, ArpFrame)
    packet = Ether(frame)
    assert packet.layers() == [Ether, ARP, Padding]
    assert packet[Padding].load == frame[42:]
    assert packet[ARP].op == heard.operation
    theirs = Ether(dst=heard.destination, src=heard.source) / ARP(
        op=heard.operation,
        hwsrc=heard.sender_mac,
        psrc=".".join(map(str, heard.sender_ip)),
        hwdst=heard.target_mac,
        pdst=".".join(map(str, heard.target_ip)),
    )
    assert bytes(theirs) == frame[:42]


def test_tcpdump_prints_ordinary_requests_and_replies(tmp_path: Path) -> None:
    tcpdump = shutil.which("tcpdump", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if tcpdump is None:
        pytest.fail("tcpdump is missing; install it with: sudo apt-get install tcpdump")
    file = tmp_path / "said.pcap"
    frames = said()
    wrpcap(str(file), [Ether(frames[kind]) for kind in SAID])
    done = subprocess.run([tcpdump, "-nt", "-r", file], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"ARP, {words}, length 46" for words in SAID.values()]
