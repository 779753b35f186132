"""Asking a member on the wire, and knowing who is on it."""

import random
from ipaddress import IPv4Interface

import pytest

from announcer.layer2 import arp, neighbours, signed
from announcer.layer2.arp import REPLY, ArpFrame
from announcer.layer2.evidence import Answer, Evidence, MemberQuestions
from announcer.layer2.gateways import parse_gateways, parse_neighbours
from announcer.layer2.interfaces import InterfaceView
from announcer.layer2.neighbours import Neighbours
from announcer.layer2.signed import Kind, Signer, name_hash

ETH0 = InterfaceView(2, "eth0", bytes.fromhex("020000000001"), (IPv4Interface("198.18.0.11/16"),))
ETH1 = InterfaceView(3, "eth1", bytes.fromhex("020000000011"), (IPv4Interface("198.19.0.11/24"),))
N2, N3 = name_hash("n2"), name_hash("n3")
RING, N3_ADDRESS = bytes([198, 18, 0, 12]), bytes([198, 18, 0, 13])


def hello(mac: bytes, address: bytes) -> ArpFrame:
    return ArpFrame(arp.BROADCAST, mac, arp.REQUEST, mac, address, bytes(6), address)


@pytest.fixture
def known() -> Neighbours:
    made = Neighbours()
    made.introduce(Signer("n1", [b"key"]), 100.0)
    made.set_interfaces({2: ETH0, 3: ETH1}, 100.0)
    made.set_alive([N2, N3], alive=True)
    made.hello(2, N2, hello(b"\x02" + bytes(4) + b"\x02", RING), welcome=False, now=100.0)
    made.hello(3, N2, hello(b"\x02" + bytes(4) + b"\x12", bytes([198, 19, 0, 12])), welcome=False, now=100.0)
    made.hello(2, N3, hello(b"\x02" + bytes(4) + b"\x03", N3_ADDRESS), welcome=False, now=100.0)
    made.frames.clear()
    return made


def test_a_member_is_asked_twice_where_its_ring_is(known: Neighbours) -> None:
    questions = MemberQuestions(known, random.Random(1).randbytes)
    questions.ask(N2, RING, 101.0)
    questions.ask(N2, RING, 101.0)
    questions.handle_timer(101.031)
    to_n2 = [index for index, frame in known.frames if frame[:6] == b"\x02" + bytes(4) + b"\x02"]
    assert to_n2 == [2, 2]
    assert questions.take_results() == []
    known.hear(2, hello(b"\x02" + bytes(4) + b"\x03", N3_ADDRESS)._replace(operation=REPLY), 101.04)
    questions.handle_timer(101.062)
    assert questions.take_results() == [Evidence(N2, Answer.SILENT, proven=True)]
    assert questions.next_deadline() is None


def test_silence_is_not_proven_where_nobody_else_answers(known: Neighbours) -> None:
    questions = MemberQuestions(known, random.Random(1).randbytes)
    questions.ask(N2, RING, 101.0)
    questions.handle_timer(101.031)
    questions.handle_timer(101.062)
    assert questions.take_results() == [Evidence(N2, Answer.SILENT, proven=False)]


def test_an_answer_ends_the_window_and_an_unknown_member_has_no_wire(known: Neighbours) -> None:
    questions = MemberQuestions(known, random.Random(1).randbytes)
    questions.ask(N2, RING, 101.0)
    assert questions.nonce(N2) is not None
    questions.answered(N2)
    questions.ask(name_hash("n9"), RING, 101.0)
    assert questions.take_results() == [
        Evidence(N2, Answer.ANSWERED, proven=True),
        Evidence(name_hash("n9"), Answer.NO_WIRE, proven=False),
    ]


def test_a_welcome_is_said_back_to_who_asked_for_it(known: Neighbours) -> None:
    mac = b"\x02" + bytes(4) + b"\x09"
    known.hello(2, name_hash("n9"), hello(mac, bytes([198, 18, 0, 19])), welcome=True, now=102.0)
    (sent,) = known.frames
    said = signed.read(sent[1])
    assert (sent[0], sent[1][:6]) == (2, mac)
    assert said is not None
    assert (said.kind, said.flags) == (Kind.HELLO, 0)


def test_hellos_go_out_at_link_up_and_every_thirty_seconds(known: Neighbours) -> None:
    known.set_interfaces({2: ETH0}, 103.0)
    known.set_interfaces({2: ETH0, 3: ETH1}, 104.0)
    assert [index for index, _ in known.frames] == [3]
    known.frames.clear()
    known.handle_timer(129.9)
    assert known.frames == []
    known.handle_timer(130.0)
    assert [index for index, _ in known.frames] == [2, 3]
    assert known.next_deadline() == 160.0


def test_a_flood_of_hellos_does_not_grow_the_table(known: Neighbours) -> None:
    for number in range(neighbours.MAX_NEIGHBOURS + 100):
        known.hello(2, number.to_bytes(4, "big"), hello(ETH1.mac, RING), welcome=False, now=105.0)
    assert len(known.witnesses(2)) == 2, "the living members are kept"
    assert (
        sum(bool(known.find(number.to_bytes(4, "big"))) for number in range(5_000))
        <= neighbours.MAX_NEIGHBOURS
    )


def test_an_address_is_at_home_where_its_prefix_is_or_was(known: Neighbours) -> None:
    vip, elsewhere = bytes([198, 18, 1, 0]), bytes([203, 0, 113, 1])
    assert (known.home(vip), known.home(elsewhere)) == ((2,), (2, 3))
    known.set_interfaces({3: ETH1}, 106.0)
    assert (known.home(vip), known.home(elsewhere)) == ((), (3,))


def test_only_an_answer_of_who_was_asked_from_its_own_place_proves_the_link(known: Neighbours) -> None:
    n2, n3, cache = (bytes([2, 0, 0, 0, 0, number]) for number in (2, 3, 9))

    def proves(mac: bytes, address: bytes, *, operation: int = REPLY) -> bool:
        known.hear(2, hello(mac, address)._replace(operation=operation), 107.0)
        return known.proved_since(2, 106.0)

    assert not proves(n2, RING), "nobody asked it"
    known.ask_witnesses(2, bytes(8), 106.5)
    assert not proves(ETH1.mac, RING), "ourselves"
    assert not proves(n2, RING, operation=arp.REQUEST)
    assert not proves(n2, bytes([198, 18, 1, 0])), "a cache, of an address that moves"
    assert not proves(cache, RING), "somebody in its place"
    assert not proves(n3, RING)
    assert proves(n3, N3_ADDRESS), "its kernel, or its responder"


def test_gateways_are_read_from_the_routing_table() -> None:
    text = (
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t020012C6\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
        "eth0\t00000000\t010012C6\t0003\t0\t0\t50\t00000000\t0\t0\t0\n"
        "eth0\t000012C6\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
        "tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n"
    )
    assert parse_gateways(text) == {"eth0": bytes([198, 18, 0, 1])}
    assert parse_gateways("") == {}


def test_of_the_kernels_neighbours_only_the_gateways_are_read() -> None:
    text = (
        "IP address       HW type     Flags       HW address            Mask     Device\n"
        "198.18.0.1       0x1         0x2         02:00:00:00:01:01     *        eth0\n"
        "198.18.0.1       0x1         0x2         02:00:00:00:01:02     *        eth1\n"
        "198.19.0.1       0x1         0x0         00:00:00:00:00:00     *        eth2\n"
        "198.18.0.9       0x3         0x6         N0CALL-1     *        ax0\n"
        "198.18.0.8       0x300       0x6              *        tun0\n"
    )
    gateway, other = bytes([198, 18, 0, 1]), bytes([198, 19, 0, 1])
    assert parse_neighbours(text, {"eth0": gateway, "eth2": other}) == {"eth0": bytes.fromhex("020000000101")}
    assert parse_neighbours("", {"eth0": gateway}) == {}
