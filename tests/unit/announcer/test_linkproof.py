"""A node finds out by itself that nobody on its segment can be heard."""

import random
from ipaddress import IPv4Interface

import pytest

from announcer.layer2 import arp
from announcer.layer2.arp import REPLY, ArpFrame
from announcer.layer2.gateways import Gateway
from announcer.layer2.interfaces import InterfaceView
from announcer.layer2.linkproof import AGAIN_S, CHECK_S, MISSES, LinkChanged, LinkProof
from announcer.layer2.neighbours import GATEWAY_SOUGHT_S, Neighbours
from announcer.layer2.signed import Signer, name_hash

ETH0 = InterfaceView(2, "eth0", bytes.fromhex("020000000001"), (IPv4Interface("198.18.0.11/16"),))
GATEWAY = bytes([198, 18, 0, 1])
GATEWAY_MAC = bytes.fromhex("0200000000fe")
STEP_S = 0.01


class Bench:
    """A link with members and a gateway behind it; `answering` are the MACs that answer when they are asked."""

    def __init__(self, *members: int, gateway: bool = False, hint: bytes = b"") -> None:
        self.now = 100.0
        self.neighbours = Neighbours()
        self.neighbours.introduce(Signer("n1", [b"key"]), self.now)
        self.neighbours.set_interfaces({2: ETH0}, self.now)
        self.answering: set[bytes] = set()
        self.asked: list[bytes] = []
        self.changes: list[tuple[float, LinkChanged]] = []
        self.returned: list[float] = []
        """When the gateway was heard after a silence."""
        for number in members:
            mac, address = bytes([2, 0, 0, 0, 0, number]), bytes([198, 18, 0, 10 + number])
            hello = ArpFrame(arp.BROADCAST, mac, arp.REQUEST, mac, address, bytes(6), address)
            self.neighbours.hello(2, name_hash(f"n{number}"), hello, welcome=False, now=self.now)
            self.answering.add(mac)
        self.neighbours.set_alive([name_hash(f"n{number}") for number in members], alive=True)
        if gateway:
            self.neighbours.set_gateways({2: Gateway(GATEWAY, hint)}, self.now)
            self.answering.add(GATEWAY_MAC)
        self.greeting, self.neighbours.frames = self.neighbours.frames, []
        self.proof = LinkProof(self.neighbours, random.Random(1).randbytes)
        self.proof.watch([2], self.now)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += STEP_S
            self.proof.handle_timer(self.now)
            self.changes += [(self.now, change) for change in self.proof.take_changes()]
            frames, self.neighbours.frames = self.neighbours.frames, []
            for _, frame in frames:
                self._answer(frame)

    def _answer(self, frame: bytes) -> None:
        heard = arp.parse(frame)
        assert isinstance(heard, ArpFrame)
        self.asked.append(heard.destination)
        mac = GATEWAY_MAC if heard.target_ip == GATEWAY else heard.destination
        if mac in self.answering:
            reply = ArpFrame(ETH0.mac, mac, REPLY, mac, heard.target_ip, ETH0.mac, heard.sender_ip)
            if self.neighbours.hear(2, reply, self.now):
                self.returned.append(self.now)


def test_one_question_a_second_while_it_is_answered() -> None:
    bench = Bench(2, 3, 4)
    bench.run(30.0)
    assert len(bench.asked) == pytest.approx(30, abs=1)
    assert len(set(bench.asked)) == 3, "in turn"
    assert bench.changes == []


@pytest.mark.parametrize(("members", "gateway"), [((2, 3), False), ((2,), True), ((2, 3, 4, 5), True)])
def test_silence_of_all_is_a_lost_link_and_one_answer_finds_it_again(
    members: tuple[int, ...], gateway: bool
) -> None:
    bench = Bench(*members, gateway=gateway)
    bench.run(5.0)
    answering, bench.answering = bench.answering, set()
    cut = bench.now
    bench.run(3.0)
    assert [change for _, change in bench.changes] == [LinkChanged(2, proven=False)]
    assert bench.proof.is_lost(2)
    assert MISSES * AGAIN_S - CHECK_S - STEP_S <= bench.changes[0][0] - cut <= CHECK_S + MISSES * AGAIN_S
    bench.answering = {min(answering)}
    back = bench.now
    bench.run(1.0)
    assert bench.changes[1][1] == LinkChanged(2, proven=True)
    assert bench.changes[1][0] - back <= 3 * AGAIN_S + 3 * STEP_S, "two are asked at a time"


def test_one_that_answers_is_enough() -> None:
    bench = Bench(2, 3, 4, gateway=True)
    bench.run(5.0)
    bench.answering = {bytes([2, 0, 0, 0, 0, 4])}
    bench.run(30.0)
    assert bench.changes == []


@pytest.mark.parametrize(("members", "gateway"), [((2,), False), ((), True)])
def test_of_two_parties_neither_knows_whose_link_is_cut(members: tuple[int, ...], gateway: bool) -> None:
    bench = Bench(*members, gateway=gateway)
    bench.run(5.0)
    bench.answering = set()
    bench.run(30.0)
    assert bench.changes == []


def test_a_gateway_that_never_answered_does_not_count() -> None:
    bench = Bench(2, gateway=True)
    bench.answering.discard(GATEWAY_MAC)
    bench.run(5.0)
    bench.answering = set()
    bench.run(10.0)
    assert bench.changes == []


def test_a_gateway_that_answers_broadcasts_only_is_told_of_a_takeover_all_the_same() -> None:
    bench = Bench(2, 3, gateway=True, hint=GATEWAY_MAC)
    bench.answering.discard(GATEWAY_MAC)
    bench.run(5.0)
    assert bench.neighbours.gateway_at(2) == (GATEWAY_MAC, GATEWAY)
    assert not bench.neighbours.gateway_answers(2)


def test_members_that_die_are_not_missed() -> None:
    bench = Bench(2, 3)
    bench.run(5.0)
    bench.answering = set()
    bench.run(2.5)
    assert bench.proof.is_lost(2)
    bench.neighbours.set_alive([name_hash("n2")], alive=False)
    bench.run(0.5)
    assert not bench.proof.is_lost(2), "the ring has another explanation by now"


def test_what_was_not_heard_during_a_stall_means_nothing() -> None:
    bench = Bench(2, 3)
    bench.run(5.0)
    answering, bench.answering = bench.answering, set()
    bench.run(1.7)
    bench.answering = answering
    bench.proof.restart(bench.now)
    bench.run(5.0)
    assert bench.changes == []


def test_a_link_nobody_needs_is_not_asked_on() -> None:
    bench = Bench(2, 3)
    bench.proof.watch([], bench.now)
    bench.run(5.0)
    assert bench.asked == []
    assert bench.proof.next_deadline() is None


def test_a_gateway_is_asked_at_its_own_mac_until_it_is_silent() -> None:
    bench = Bench(gateway=True)
    bench.run(5.0)
    assert bench.asked[0] == arp.BROADCAST
    assert set(bench.asked[1:]) == {GATEWAY_MAC}
    stranger = bytes.fromhex("0200000000aa")
    reply = ArpFrame(ETH0.mac, stranger, REPLY, stranger, GATEWAY, ETH0.mac, bytes(4))
    bench.neighbours.hear(2, reply, bench.now)
    assert bench.neighbours.gateway_at(2) == (GATEWAY_MAC, GATEWAY), "a second answer takes nobody's place"
    bench.answering = set()
    bench.asked.clear()
    bench.run(4.0)
    assert bench.asked[-1] == arp.BROADCAST


@pytest.mark.parametrize("alive", [True, False], ids=["alive", "cached"])
def test_an_answer_to_a_broadcast_proves_nothing_before_it_is_given_again_at_its_own_mac(alive: bool) -> None:
    """A switch may answer for a gateway that nobody behind it can reach."""
    bench = Bench(gateway=True)
    bench.answering = {GATEWAY_MAC} if alive else set()
    reply = ArpFrame(ETH0.mac, GATEWAY_MAC, REPLY, GATEWAY_MAC, GATEWAY, ETH0.mac, bytes(4))
    for _ in range(20):
        bench.run(0.5)
        if bench.asked and bench.asked[-1] == arp.BROADCAST:
            bench.neighbours.hear(2, reply, bench.now)
    assert GATEWAY_MAC in bench.asked
    assert bench.neighbours.has_witness(2) is alive
    assert bench.neighbours.answered_since(2, 0.0) is alive


def test_of_those_that_answer_for_the_gateway_by_broadcast_the_one_that_answers_when_it_is_asked_is_it() -> (
    None
):
    bench = Bench(gateway=True)
    bench.answering = set()
    bench.run(0.5)
    for mac in (bytes.fromhex("0200000000aa"), GATEWAY_MAC):
        bench.neighbours.hear(2, ArpFrame(ETH0.mac, mac, REPLY, mac, GATEWAY, ETH0.mac, bytes(4)), bench.now)
    bench.answering = {GATEWAY_MAC}
    bench.run(0.1)
    assert bench.neighbours.gateway_at(2) == (GATEWAY_MAC, GATEWAY)


def test_made_up_gateways_are_asked_few_at_a_time() -> None:
    bench = Bench(gateway=True)
    bench.answering = set()
    bench.run(0.5)
    bench.asked.clear()
    for number in range(100):
        mac = bytes([2, 0, 0, 1, 0, number])
        bench.neighbours.hear(2, ArpFrame(ETH0.mac, mac, REPLY, mac, GATEWAY, ETH0.mac, bytes(4)), bench.now)
    bench.run(0.1)
    assert len(bench.asked) == 4


def test_what_a_cache_answers_finds_no_lost_link_again() -> None:
    """It is heard also where everything behind the switch is cut off."""
    bench = Bench(2, 3, gateway=True)
    bench.run(5.0)
    bench.answering = set()
    n2, vip = bytes([2, 0, 0, 0, 0, 2]), bytes([198, 18, 1, 0])
    for _ in range(500):
        bench.run(STEP_S)
        bench.neighbours.hear(2, ArpFrame(ETH0.mac, n2, REPLY, n2, vip, ETH0.mac, bytes(4)), bench.now)
        if bench.asked and bench.asked[-1] == arp.BROADCAST:
            bench.asked.clear()
            cached = ArpFrame(ETH0.mac, GATEWAY_MAC, REPLY, GATEWAY_MAC, GATEWAY, ETH0.mac, bytes(4))
            bench.neighbours.hear(2, cached, bench.now)
    assert [change.proven for _, change in bench.changes] == [False]


def test_a_gateway_is_asked_as_soon_as_there_is_one_and_where_the_kernel_holds_it_to_be() -> None:
    for hint in (b"", GATEWAY_MAC):
        frame = arp.parse(Bench(gateway=True, hint=hint).greeting[-1][1])
        assert isinstance(frame, ArpFrame)
        assert (frame.destination, frame.target_ip) == (hint or arp.BROADCAST, GATEWAY)


def test_a_gateway_that_is_slow_to_answer_is_not_asked_by_broadcast() -> None:
    bench = Bench(2, 3, gateway=True)
    bench.run(6.0)
    bench.asked.clear()
    for step in range(10):
        bench.neighbours.ask_witnesses(2, bytes(8), bench.now + 0.025 * step)
    frames = [arp.parse(frame) for _, frame in bench.neighbours.frames]
    asked = [frame for frame in frames if isinstance(frame, ArpFrame) and frame.target_ip == GATEWAY]
    assert len(asked) == 10
    assert {frame.destination for frame in asked} == {GATEWAY_MAC}


def test_what_nobody_was_there_to_answer_is_not_missed_later() -> None:
    bench = Bench(2, 3)
    names = [name_hash("n2"), name_hash("n3")]
    bench.neighbours.set_alive(names, alive=False)
    bench.run(10.0)
    bench.neighbours.set_alive(names, alive=True)
    bench.run(5.0)
    assert bench.changes == []


def test_hellos_of_others_do_not_prove_that_we_are_heard() -> None:
    bench = Bench(2, 3)
    bench.answering.clear()
    for _ in range(20):
        bench.run(0.5)
        mac, address = bytes([2, 0, 0, 0, 0, 2]), bytes([198, 18, 0, 12])
        hello = ArpFrame(arp.BROADCAST, mac, arp.REQUEST, mac, address, bytes(6), address)
        bench.neighbours.hello(2, name_hash("n2"), hello, welcome=False, now=bench.now)
        bench.neighbours.hear(2, hello._replace(operation=REPLY), bench.now)
    assert [change.proven for _, change in bench.changes] == [False]


def test_a_gateway_alone_that_never_answers_is_asked_once_a_second() -> None:
    bench = Bench(gateway=True)
    bench.answering.clear()
    bench.run(20.0)
    assert len(bench.asked) == pytest.approx(20, abs=1)
    assert bench.changes == []


MANY = range(2, 22)
A_ROUND_S = (len(MANY) + 1) * CHECK_S
"""Until each of many members and the gateway have been asked in turn."""


def test_a_gateway_that_owes_an_answer_is_asked_every_second_and_the_first_one_ends_its_silence() -> None:
    bench = Bench(*MANY, gateway=True)
    bench.run(2 * A_ROUND_S)
    bench.answering.discard(GATEWAY_MAC)
    bench.run(A_ROUND_S)
    bench.asked.clear()
    bench.run(A_ROUND_S)
    assert bench.asked.count(GATEWAY_MAC) >= A_ROUND_S / CHECK_S - 2
    assert bench.asked.count(arp.BROADCAST) <= 2, "in its turn only"
    bench.answering.add(GATEWAY_MAC)
    back = bench.now
    bench.run(2 * A_ROUND_S)
    [returned] = bench.returned
    assert returned - back <= CHECK_S + 2 * STEP_S
    assert bench.changes == []


def test_a_gateway_that_is_asked_seldom_or_misses_one_question_was_not_silent() -> None:
    bench = Bench(*MANY, gateway=True)
    bench.run(2 * A_ROUND_S)
    bench.answering.discard(GATEWAY_MAC)
    bench.asked.clear()
    while GATEWAY_MAC not in bench.asked:
        bench.run(STEP_S)
    bench.answering.add(GATEWAY_MAC)
    bench.run(2 * A_ROUND_S)
    assert bench.asked.count(GATEWAY_MAC) >= 3
    assert bench.returned == []


@pytest.mark.parametrize(("after_s", "silent"), [(0.9, False), (1.1, True)])
def test_a_gateway_that_is_slow_to_answer_was_not_silent(after_s: float, silent: bool) -> None:
    bench = Bench(2, 3, gateway=True)
    bench.run(6.0)
    # For less than 0.3 s: then it is asked by broadcast, and an answer from where it was does not count.
    for step in range(10):
        bench.neighbours.ask_witnesses(2, bytes(8), bench.now + 0.025 * step)
    reply = ArpFrame(ETH0.mac, GATEWAY_MAC, REPLY, GATEWAY_MAC, GATEWAY, ETH0.mac, bytes(4))
    assert bench.neighbours.hear(2, reply, bench.now + after_s) is silent


def test_a_gateway_that_is_gone_for_long_is_sought_less_often() -> None:
    bench = Bench(2, 3, gateway=True)
    bench.run(6.0)
    bench.answering.discard(GATEWAY_MAC)
    bench.run(60.0)
    asked = []
    for _ in range(2):
        count = 0
        for second in range(100):
            bench.neighbours.ask_one(2, bytes(8), bench.now + second)
            frames = [arp.parse(frame) for _, frame in bench.neighbours.frames]
            bench.neighbours.frames.clear()
            count += sum(
                isinstance(f, ArpFrame) and f.target_ip == GATEWAY and f.destination == GATEWAY_MAC
                for f in frames
            )
        bench.now += 100
        asked.append(count)
    assert all(5 <= count <= 15 for count in asked), asked


def test_whoever_answers_for_a_silent_gateway_without_having_been_asked_does_not_end_its_silence() -> None:
    bench = Bench(2, 3, gateway=True)
    bench.run(5.0)
    bench.answering.discard(GATEWAY_MAC)
    bench.run(10.0)
    stranger = bytes.fromhex("0200000000aa")
    assert not bench.neighbours.hear(
        2, ArpFrame(ETH0.mac, stranger, REPLY, stranger, GATEWAY, ETH0.mac, bytes(4)), bench.now
    )


def test_a_gateway_that_is_gone_for_good_is_asked_in_its_turn_again() -> None:
    bench = Bench(*MANY, gateway=True)
    bench.run(2 * A_ROUND_S)
    bench.answering.discard(GATEWAY_MAC)
    bench.run(A_ROUND_S + GATEWAY_SOUGHT_S)
    bench.asked.clear()
    bench.run(10 * A_ROUND_S)
    assert bench.asked.count(GATEWAY_MAC) == 0
    assert 10 <= bench.asked.count(arp.BROADCAST) <= 2 * 10 + 2
