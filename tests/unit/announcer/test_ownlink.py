"""Whether anybody answers this node: asked for once a second, and believed only where two would have to answer."""

import random
from collections.abc import Iterable
from ipaddress import IPv4Interface

import pytest

from announcer.layer2 import arp
from announcer.layer2.arp import REPLY, ArpFrame
from announcer.layer2.interfaces import InterfaceView
from announcer.layer2.neighbours import Neighbours
from announcer.layer2.ownlink import ASK_S, SILENT_S, Heard, OwnLinks
from announcer.layer2.signed import Signer, name_hash

ETH0 = InterfaceView(2, "eth0", bytes.fromhex("020000000001"), (IPv4Interface("198.18.0.11/16"),))
MEMBERS = {name_hash(name): number for name, number in (("n2", 2), ("n3", 3))}
GATEWAY = bytes([198, 18, 0, 1])
VIP = bytes([198, 18, 1, 1])


def mac(number: int) -> bytes:
    return bytes([2, 0, 0, 0, 0, number])


def answer(number: int) -> ArpFrame:
    address = bytes([198, 18, 0, 10 + number])
    return ArpFrame(ETH0.mac, mac(number), REPLY, mac(number), address, ETH0.mac, bytes([198, 18, 0, 11]))


class Bench:
    """One interface, whose members answer or do not; time goes from deadline to deadline."""

    def __init__(self, members: Iterable[bytes], *, gateway: bool = False) -> None:
        self.now = 100.0
        self.neighbours = Neighbours()
        self.neighbours.introduce(Signer("n1", [b"key"]), self.now)
        self.neighbours.set_interfaces({2: ETH0}, self.now)
        if gateway:
            self.neighbours.set_gateways({2: GATEWAY})
        self.neighbours.set_alive(members, alive=True)
        for name in members:
            greeting = answer(MEMBERS[name])._replace(destination=arp.BROADCAST, operation=arp.REQUEST)
            self.neighbours.hello(2, name, greeting, welcome=False, now=self.now)
        self.neighbours.frames.clear()
        self.links = OwnLinks(self.neighbours, random.Random(1).randbytes)
        self.links.handle_timer(self.now)
        self.answering = True

    def run(self, seconds: float) -> list[tuple[float, Heard]]:
        """What was found out, each with the time since the call."""
        begun, found = self.now, list[tuple[float, Heard]]()
        while (due := self.links.next_deadline()) is not None and due <= begun + seconds:
            self.now = max(self.now, due)
            self.links.handle_timer(self.now)
            asked, self.neighbours.frames = self.neighbours.frames, []
            if asked and self.answering:
                self.neighbours.hear(2, answer(2), self.now)
            found += [(self.now - begun, result) for result in self.links.take_results()]
        self.now = begun + seconds
        return found

    def asked(self, seconds: float) -> int:
        """Frames sent in so many seconds."""
        before = self.neighbours.question
        count = 0

        def counted(*args: object, **options: object) -> None:
            nonlocal count
            count += 1
            before(*args, **options)  # type: ignore[arg-type]

        self.neighbours.question = counted  # type: ignore[method-assign]
        assert self.run(seconds) == []
        self.neighbours.question = before  # type: ignore[method-assign]
        return count


def test_one_member_is_asked_a_second_while_it_answers() -> None:
    assert Bench(MEMBERS).asked(60.0) == pytest.approx(60 / ASK_S, abs=1)


def test_a_link_on_which_nobody_answers_is_found_and_its_end_too() -> None:
    bench = Bench(MEMBERS)
    bench.run(10.0)
    bench.answering = False
    ((when, silent),) = bench.run(5.0)
    assert silent == Heard(2, heard=False)
    assert SILENT_S - ASK_S <= when <= SILENT_S + 0.2
    bench.answering = True
    ((when, heard),) = bench.run(5.0)
    assert heard == Heard(2, heard=True)
    assert when <= 0.6


@pytest.mark.parametrize("gateway", [True, False], ids=["gateway", "no gateway"])
def test_of_two_alone_neither_knows_which_one_is_deaf(gateway: bool) -> None:
    bench = Bench([name_hash("n2")], gateway=gateway)
    bench.run(2.0)
    bench.answering = False
    assert bool(bench.run(10.0)) is gateway


def test_the_dead_need_not_answer() -> None:
    bench = Bench(MEMBERS)
    bench.answering = False
    bench.run(1.5)
    bench.neighbours.set_alive(MEMBERS, alive=False)
    assert bench.run(10.0) == []


def test_a_silent_link_counts_no_longer_once_nobody_else_is_left() -> None:
    bench = Bench(MEMBERS)
    bench.answering = False
    assert [result.heard for _, result in bench.run(5.0)] == [False]
    bench.neighbours.set_alive(MEMBERS, alive=False)
    assert [result.heard for _, result in bench.run(1.0)] == [True]


def test_a_process_that_stood_still_has_asked_nobody() -> None:
    bench = Bench(MEMBERS)
    bench.run(2.5)
    bench.now += 30.0
    bench.links.restart(bench.now)
    bench.links.handle_timer(bench.now)
    assert bench.links.take_results() == []
    assert bench.run(3.0) == []


def test_an_address_has_no_home_on_a_silent_link() -> None:
    bench = Bench(MEMBERS)
    assert bench.neighbours.home(VIP) == (2,)
    bench.neighbours.set_silent(2, silent=True)
    assert bench.neighbours.home(VIP) == ()
    bench.neighbours.set_silent(2, silent=False)
    assert bench.neighbours.home(VIP) == (2,)
