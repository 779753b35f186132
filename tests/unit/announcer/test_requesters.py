"""Hosts that asked for an address are told in person who has it now."""

from ipaddress import IPv4Interface

import pytest

from announcer.layer2 import arp
from announcer.layer2.arp import REPLY, REQUEST, ArpFrame
from announcer.layer2.interfaces import InterfaceView
from announcer.layer2.neighbours import Neighbours
from announcer.layer2.requesters import ADDRESSES_A_STEP, KEPT_S, MAX_REQUESTS, ROUNDS_S, Requesters

ETH0 = InterfaceView(2, "eth0", bytes.fromhex("020000000001"), (IPv4Interface("198.18.0.11/16"),))
VIP = bytes([198, 18, 1, 1])
OTHER = bytes([198, 18, 1, 2])
GATEWAY, GATEWAY_MAC = bytes([198, 18, 0, 1]), bytes.fromhex("0200000000fe")


def mac(number: int) -> bytes:
    return bytes([2, 0, 0, 0, 1, number])


def host(number: int) -> bytes:
    return bytes([198, 18, 2, number])


def request(number: int, target: bytes = VIP, *, to: bytes = arp.BROADCAST) -> ArpFrame:
    return ArpFrame(to, mac(number), REQUEST, mac(number), host(number), bytes(6), target)


class Bench:
    def __init__(self) -> None:
        self.now = 100.0
        self.neighbours = Neighbours()
        self.neighbours.set_interfaces({2: ETH0}, self.now)
        self.requesters = Requesters(self.neighbours)

    def told(self, seconds: float, *announced: bytes) -> list[ArpFrame]:
        """The frames of so many seconds."""
        end = self.now + seconds
        while (due := self.requesters.next_deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            self.requesters.handle_timer(self.now, announced)
        self.now = end
        frames, self.neighbours.frames = self.neighbours.frames, []
        read = [arp.parse(frame) for _, frame in frames]
        return [frame for frame in read if isinstance(frame, ArpFrame)]

    def hear_gateway(self) -> None:
        self.neighbours.set_gateways({2: GATEWAY})
        answer = ArpFrame(ETH0.mac, GATEWAY_MAC, REPLY, GATEWAY_MAC, GATEWAY, ETH0.mac, bytes(4))
        self.neighbours.hear(2, answer, self.now)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_who_asked_is_asked_in_the_name_of_the_address_twice(bench: Bench) -> None:
    bench.requesters.remember(2, request(7), bench.now)
    bench.requesters.remember(2, request(8, OTHER), bench.now)
    bench.requesters.start(VIP, 2, bench.now)
    expected = ArpFrame(mac(7), ETH0.mac, REQUEST, ETH0.mac, VIP, bytes(6), host(7))
    assert bench.told(ROUNDS_S[0], VIP) == [expected]
    assert bench.told(5.0, VIP) == [expected]


def test_the_gateway_is_told_of_every_address(bench: Bench) -> None:
    bench.hear_gateway()
    bench.requesters.start(VIP, 2, bench.now)
    assert {(f.destination, f.target_ip) for f in bench.told(5.0, VIP)} == {(GATEWAY_MAC, GATEWAY)}


def test_nobody_is_told_of_an_address_that_went_away(bench: Bench) -> None:
    bench.requesters.remember(2, request(7), bench.now)
    bench.requesters.start(VIP, 2, bench.now)
    assert bench.told(5.0, OTHER) == []


@pytest.mark.parametrize(
    "frame",
    [
        request(7, to=ETH0.mac),
        request(7)._replace(sender_ip=arp.ANY),
        request(7)._replace(sender_ip=VIP),
        request(7)._replace(operation=REPLY),
        request(7)._replace(sender_mac=b"\x01" + bytes(5)),
    ],
    ids=["unicast", "probe", "gratuitous", "reply", "group address"],
)
def test_only_broadcast_questions_of_hosts_count(bench: Bench, frame: ArpFrame) -> None:
    bench.requesters.remember(2, frame, bench.now)
    bench.requesters.start(VIP, 2, bench.now)
    assert bench.told(5.0, VIP) == []
    assert bench.requesters.next_deadline() is None


def test_memory_is_bounded_and_ages(bench: Bench) -> None:
    for number in range(MAX_REQUESTS + 10):
        frame = request(number % 250)._replace(sender_ip=bytes([198, 18, 3 + number // 250, number % 250]))
        bench.requesters.remember(2, frame, bench.now)
    bench.requesters.start(VIP, 2, bench.now)
    assert len(bench.told(0.5, VIP)) == MAX_REQUESTS
    bench.now += KEPT_S
    bench.requesters.start(VIP, 2, bench.now)
    assert bench.told(5.0, VIP) == []


def test_thousands_of_addresses_are_told_in_steps(bench: Bench) -> None:
    bench.hear_gateway()
    addresses = [bytes([198, 19, number // 256, number % 256]) for number in range(200)]
    for address in addresses:
        bench.requesters.start(address, 2, bench.now)
    bench.now += ROUNDS_S[0]
    bench.requesters.handle_timer(bench.now, addresses)
    assert len(bench.neighbours.frames) == ADDRESSES_A_STEP
    assert {frame.sender_ip for frame in bench.told(0.5, *addresses)} == set(addresses)


def test_an_interface_that_went_is_forgotten(bench: Bench) -> None:
    bench.requesters.remember(2, request(7), bench.now)
    bench.requesters.forget_interface(2)
    bench.requesters.start(VIP, 2, bench.now)
    assert bench.told(5.0, VIP) == []
