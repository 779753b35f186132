"""The core of the responder on a virtual clock: table, lease, gap, links, counters."""

from collections import Counter
from ipaddress import IPv4Address, IPv4Interface

import pytest

from announcer.layer2 import arp
from announcer.layer2.arp import ArpFrame, DropReason
from announcer.layer2.counts import MAX_REPORTED
from announcer.layer2.gateways import Gateway
from announcer.layer2.interfaces import MAX_INTERFACES, InterfaceView
from announcer.layer2.messages import (
    Add,
    AddressCounters,
    Announced,
    Counters,
    InterfaceFailed,
    InterfacesChanged,
    Introduce,
    LeaseExpired,
    LinkProven,
    Members,
    Pace,
    Remove,
    Renew,
    Stalled,
    Withdrawn,
)
from announcer.layer2.responder import SETTLE_S
from announcer.layer2.signed import Kind, Signer
from announcer.layer2.turns import LAST_TURN
from tests.unit.announcer.bench import ASKER, ETH0, ETH1, HOME, OTHER, START, VIP, Bench, owner

GATEWAY, GATEWAY_MAC = bytes([198, 18, 0, 1]), bytes.fromhex("0200000000fe")


def test_announces_and_answers() -> None:
    bench = Bench(VIP)
    assert bench.take(InterfacesChanged) == [InterfacesChanged((ETH0,))]
    assert bench.take(Announced) == [Announced(IPv4Address("198.18.1.0"), "eth0", START)]
    reply = bench.ask()
    assert reply is not None
    frame = arp.parse(reply)
    assert isinstance(frame, ArpFrame)
    assert (frame.sender_mac, frame.sender_ip, frame.destination) == (ETH0.mac, VIP, ASKER)


def test_a_request_asks_for_nothing_but_its_reply_and_a_member_for_more() -> None:
    bench = Bench(VIP, interfaces=(HOME,))
    bench.core.receive_command(Introduce(0, bench.now, "n1", (b"key",)), now=bench.now)
    bench.step(0.0)

    def busy() -> bool:
        return bench.core.busy

    assert bench.ask() is not None
    assert bench.ask(OTHER) is None
    assert not busy()
    hello = ArpFrame(arp.BROADCAST, ASKER, arp.REQUEST, ASKER, OTHER, bytes(6), OTHER)
    signed = Signer("n2", (b"key",)).sign(hello, Kind.HELLO)
    assert bench.core.receive_frame(HOME.index, signed, foreign=False, now=bench.now) is None
    assert busy()
    bench.step(0.0)
    assert not busy()
    bench.now += 2.0
    assert bench.ask() is None
    assert busy(), "the lease ran out"


def test_answers_with_the_mac_of_the_receiving_interface() -> None:
    bench = Bench(VIP, interfaces=(ETH0, ETH1))
    reply = bench.ask(interface=ETH1)
    assert reply is not None
    assert reply[6:12] == ETH1.mac


def test_announced_once_an_interface_and_only_for_frames_that_were_sent() -> None:
    bench = Bench()
    bench.core.receive_command(Add(0, bench.now, (VIP,)), now=bench.now)
    for due, _ in bench.core.take_frames(bench.now):
        bench.core.frame_sent(due, success=False, now=bench.now)
    assert not any(isinstance(event, Announced) for event in bench.core.take_outputs())
    bench.run(5.0)
    assert len(bench.take(Announced)) == 1


def test_withdrawn_address_is_silent_at_once() -> None:
    bench = Bench(VIP, OTHER)
    bench.sent.clear()
    bench.core.receive_command(Remove(0, bench.now, (VIP,)), now=bench.now)
    assert bench.ask() is None
    assert bench.ask(OTHER) is not None
    bench.run(6.0)
    assert bench.take(Withdrawn) == [Withdrawn(IPv4Address("198.18.1.0"))]
    assert {frame.sender_ip for frame in bench.sent} == {OTHER}


def test_repeated_add_starts_no_second_burst() -> None:
    bench = Bench(VIP)
    bench.run(6.0)
    bench.sent.clear()
    bench.core.receive_command(Add(0, bench.now, (VIP,)), now=bench.now)
    bench.run(6.0)
    assert bench.sent == []


def test_the_pace_is_the_speakers() -> None:
    bench = Bench()
    bench.core.receive_command(Pace(0, bench.now, 100), now=bench.now)
    addresses = tuple(bytes([198, 18, 1, host]) for host in range(200))
    bench.core.receive_command(Add(0, bench.now, addresses), now=bench.now)
    for _ in range(100):
        bench.core.receive_command(Renew(0, bench.now), now=bench.now)
        bench.step(0.01)
    assert 99 <= len(bench.sent) <= 101


# --- lease


def test_lease_runs_out_without_renewal() -> None:
    bench = Bench(VIP)
    bench.run(1.5, renew=False)
    assert bench.ask() is not None, "valid to its last moment"
    bench.step(0.01)
    assert bench.ask() is None
    assert bench.take(LeaseExpired) == [LeaseExpired(bench.now, 1)]


def test_expiry_needs_no_timer_to_silence() -> None:
    bench = Bench(VIP)
    bench.run(1.5, renew=False)
    bench.now += 0.2
    assert bench.ask() is None
    assert bench.core.take_frames(bench.now) == []


def test_renewed_lease_lasts() -> None:
    bench = Bench(VIP)
    bench.run(60.0)
    assert bench.ask() is not None
    assert bench.take(LeaseExpired) == []


def test_expired_lease_is_not_renewed_only_filled_anew() -> None:
    bench = Bench(VIP)
    bench.run(2.0, renew=False)
    bench.run(1.0, renew=True)
    bench.core.receive_command(Add(0, bench.now, (VIP,)), now=bench.now)
    assert bench.ask() is None, "a command of the table that ended"
    bench.core.receive_command(Renew(1, bench.now), now=bench.now)
    assert bench.ask() is None, "a renewal fills no table"
    bench.core.receive_command(Add(1, bench.now, (VIP,)), now=bench.now)
    assert bench.ask() is not None
    bench.take(Announced)
    bench.step(0.0)
    assert bench.take(Announced) == [Announced(IPv4Address("198.18.1.0"), "eth0", bench.now)]


def test_renewal_sent_after_the_end_does_not_save_the_lease() -> None:
    """The whole machine stood still: the speaker wakes first and renews before the responder looks at the clock."""
    bench = Bench(VIP)
    bench.now += 10.0
    bench.core.observe(bench.now)
    bench.core.receive_command(Renew(0, bench.now), now=bench.now)
    bench.core.resume(bench.now)
    assert bench.ask() is None
    bench.step(0.0)
    assert bench.take(LeaseExpired) == [LeaseExpired(bench.now, 1)]


def test_lease_holds_when_only_the_responder_stood_still() -> None:
    bench = Bench(VIP)
    sent = [START + 0.25 * step for step in range(1, 41)]
    bench.now += 10.0
    bench.core.observe(bench.now)
    for at in sent:
        bench.core.receive_command(Renew(0, at), now=bench.now)
    bench.core.resume(bench.now)
    bench.step(0.0)
    assert bench.take(LeaseExpired) == []
    assert bench.ask() is not None


def test_change_carries_the_lease_from_its_own_time() -> None:
    bench = Bench()
    bench.core.receive_command(Add(0, START - 1.0, (VIP,)), now=START)
    bench.run(0.5, renew=False)
    assert bench.ask() is not None
    bench.step(0.01)
    assert bench.ask() is None


def test_empty_table_needs_no_lease() -> None:
    bench = Bench(VIP)
    bench.core.receive_command(Remove(0, bench.now, (VIP,)), now=bench.now)
    bench.run(10.0, renew=False)
    assert bench.take(LeaseExpired) == []
    bench.core.receive_command(Add(0, bench.now, (VIP,)), now=bench.now)
    assert bench.ask() is not None


# --- gap


def test_gap_drops_what_queued_up_until_resumed() -> None:
    bench = Bench(VIP)
    bench.sent.clear()
    bench.now += 0.6
    assert bench.ask() is None
    assert bench.ask() is None
    assert bench.core.take_frames(bench.now) == [], "the rounds at 0.1 and 0.3 s are overdue"
    bench.core.resume(bench.now)
    assert bench.ask() is not None
    bench.step(0.0)
    (stalled,) = bench.take(Stalled)
    assert isinstance(stalled, Stalled)
    assert stalled.at == bench.now
    assert stalled.seconds == pytest.approx(0.6)
    assert bench.counters().drops[DropReason.STALLED] == 2


def test_gap_of_a_quarter_second_is_none() -> None:
    bench = Bench(VIP)
    bench.step(0.25)
    assert bench.ask() is not None
    assert bench.take(Stalled) == []


def test_second_gap_while_emptying_the_queues_keeps_dropping() -> None:
    bench = Bench(VIP)
    bench.now += 0.3
    bench.core.observe(bench.now)
    bench.now += 0.3
    bench.core.resume(bench.now)
    assert bench.core.stalled
    assert bench.ask() is None


# --- links


def test_link_that_comes_up_hears_of_every_address() -> None:
    bench = Bench(VIP, OTHER)
    bench.run(6.0)
    bench.take(Announced)
    bench.sent.clear()
    bench.core.set_interfaces((ETH0, ETH1), now=bench.now)
    came_up = bench.now
    bench.step(0.0)
    bench.run(6.0)
    assert bench.take(Announced) == [
        Announced(IPv4Address("198.18.1.0"), "eth1", came_up),
        Announced(IPv4Address("198.18.1.1"), "eth1", came_up),
    ]
    assert {frame.source for frame in bench.sent} == {ETH1.mac}


def test_returning_link_and_changed_mac_are_announced_again() -> None:
    bench = Bench(VIP)
    bench.run(6.0)
    bench.take(Announced)
    bench.core.set_interfaces((), now=bench.now)
    assert bench.ask() is None
    bench.run(1.0)
    bench.core.set_interfaces((ETH0,), now=bench.now)
    bench.run(1.0)
    assert len(bench.take(Announced)) == 1
    changed = ETH0._replace(mac=ETH1.mac)
    bench.sent.clear()
    bench.core.set_interfaces((changed,), now=bench.now)
    bench.run(1.0)
    assert len(bench.take(Announced)) == 1
    assert {frame.source for frame in bench.sent} == {ETH1.mac}


def test_address_of_the_node_is_news_but_no_reason_to_announce() -> None:
    bench = Bench(VIP)
    bench.run(6.0)
    bench.sent.clear()
    bench.take(InterfacesChanged)
    renamed = ETH0._replace(name="data0")
    bench.core.set_interfaces((renamed,), now=bench.now)
    bench.core.set_interfaces((renamed,), now=bench.now)
    bench.run(1.0)
    assert bench.take(InterfacesChanged) == [InterfacesChanged((renamed,))]
    assert bench.sent == []


def test_interfaces_are_bounded_and_it_says_so() -> None:
    bench = Bench()
    many = [InterfaceView(index, f"eth{index}", ETH0.mac) for index in range(MAX_INTERFACES + 1)]
    bench.core.set_interfaces(many, now=bench.now)
    bench.step(0.0)
    assert [event.interface for event in bench.take(InterfaceFailed)] == [f"eth{MAX_INTERFACES}"]  # type: ignore[union-attr]


# --- counters


def test_counters_of_an_address() -> None:
    bench = Bench(VIP)
    bench.ask()
    bench.ask()
    counted = bench.counters().addresses[IPv4Address("198.18.1.0")]
    assert counted == AddressCounters(requests_received=2, responses_sent=2, gratuitous_sent=2 * 7)


def test_failed_reply_is_received_but_not_sent() -> None:
    bench = Bench(VIP)
    frame = ArpFrame(arp.BROADCAST, ASKER, arp.REQUEST, ASKER, bytes(4), bytes(6), VIP).encode()
    reply = bench.core.receive_frame(2, frame, foreign=False, now=bench.now)
    assert reply is not None
    bench.core.reply_sent(2, frame, success=False)
    counters = bench.counters()
    counted = counters.addresses[IPv4Address("198.18.1.0")]
    assert (counted.requests_received, counted.responses_sent) == (1, 0)
    assert counters.drops[DropReason.ERROR] == 1


def test_counting_a_request_waits_for_the_timer_but_not_for_long() -> None:
    bench = Bench(VIP)
    bench.run(8.0)
    bench.take(Counters)
    bench.ask()
    assert not bench.core.busy
    deadline = bench.core.next_deadline()
    assert deadline is not None
    assert deadline <= bench.now + SETTLE_S
    bench.step(SETTLE_S)
    assert bench.take(Counters)


def test_a_flood_is_counted_before_it_takes_much_memory() -> None:
    bench = Bench(VIP)
    asked = 0
    for _ in range(1_000):
        bench.ask()
        asked += 1
        if bench.core.busy:
            break
    bench.step(0.0)
    assert not bench.core.busy
    assert bench.counters().addresses[IPv4Address("198.18.1.0")].requests_received == asked


def test_every_drop_reason_is_counted() -> None:
    bench = Bench(VIP)
    good = ArpFrame(arp.BROADCAST, ASKER, arp.REQUEST, ASKER, bytes(4), bytes(6), VIP)
    for frame in (
        good._replace(operation=arp.REPLY).encode(),
        good._replace(destination=ASKER).encode(),
        good._replace(target_ip=OTHER).encode(),
        good.encode()[:30],
        good._replace(sender_mac=arp.BROADCAST).encode(),
        good._replace(source=ETH0.mac).encode(),
    ):
        assert bench.core.receive_frame(2, frame, foreign=False, now=bench.now) is None
    assert bench.ask(interface=ETH1) is None
    assert bench.ask(foreign=True) is None
    bench.core.read_failed(bench.now)
    bench.now += 1.0
    assert bench.ask() is None
    bench.core.resume(bench.now)
    bench.core.receive_command(Introduce(0, bench.now, "n1", (b"key",)), now=bench.now)
    hello = Signer("n2", [b"key"]).sign(good, Kind.HELLO)
    assert bench.core.receive_frame(2, hello, foreign=False, now=bench.now) is None
    assert bench.counters().drops == dict.fromkeys(DropReason, 1)


def test_counters_come_once_a_second_and_only_when_they_moved() -> None:
    bench = Bench()
    for _ in range(40):
        bench.ask(OTHER)
        bench.step(0.1)
    reports = bench.take(Counters)
    assert len(reports) == 4
    bench.run(3.0)
    assert len(bench.take(Counters)) == 1, "what moved since the last report"
    bench.run(5.0)
    assert bench.take(Counters) == []


def test_counters_survive_withdrawal() -> None:
    bench = Bench(VIP)
    bench.ask()
    bench.core.receive_command(Remove(0, bench.now, (VIP,)), now=bench.now)
    bench.core.receive_command(Add(0, bench.now, (VIP,)), now=bench.now)
    bench.ask()
    assert bench.counters().addresses[IPv4Address("198.18.1.0")].requests_received == 2


def test_long_reports_are_cut_and_finished_later() -> None:
    addresses = tuple(number.to_bytes(4, "big") for number in range(MAX_REPORTED + 500))
    bench = Bench(*addresses)
    for address in addresses:
        bench.ask(address)
    bench.run(6.0)
    reports = [event for event in bench.events if isinstance(event, Counters)]
    assert max(len(report.addresses) for report in reports) == MAX_REPORTED
    told = {address.packed for report in reports for address in report.addresses}
    assert told == set(addresses)


def test_reports_wait_for_a_reader_without_piling_up() -> None:
    bench = Bench(VIP)
    for _ in range(100):
        bench.now += 0.1
        bench.core.receive_command(Renew(0, bench.now), now=bench.now)
        bench.ask()
        bench.core.handle_timer(bench.now)
    assert len(bench.core.take_outputs()) == 1


def test_next_deadline_is_the_earliest_of_all() -> None:
    bench = Bench()
    bench.run(5.0)
    bench.take(Counters)
    assert bench.core.next_deadline() is None
    bench.core.receive_command(Add(0, bench.now, (VIP,)), now=bench.now)
    assert bench.core.next_deadline() == bench.now, "the first gratuitous frame"
    bench.step(0.0)
    bench.step(0.0)
    assert bench.core.next_deadline() == pytest.approx(bench.now + 0.1)


def test_who_asked_before_is_told_by_a_request_of_its_own_after_a_takeover() -> None:
    bench = Bench(VIP)
    bench.run(6.0)
    bench.ask()
    bench.core.receive_command(Remove(0, bench.now, (VIP,)), now=bench.now)
    bench.core.receive_command(Add(0, bench.now, (VIP, OTHER)), now=bench.now)
    bench.sent.clear()
    bench.run(6.0)
    told = [frame for frame in bench.sent if frame.destination == ASKER]
    assert told == 2 * [
        ArpFrame(ASKER, ETH0.mac, arp.REQUEST, ETH0.mac, VIP, bytes(6), bytes([198, 18, 0, 2]))
    ]
    first = bench.sent.index(told[0])
    assert {frame.sender_ip for frame in bench.sent[:first]} == {VIP, OTHER}


def test_a_request_of_its_own_is_no_gratuitous_frame() -> None:
    bench = Bench(VIP)
    bench.ask()
    bench.core.receive_command(Remove(0, bench.now, (VIP,)), now=bench.now)
    before = len(bench.sent)
    bench.core.receive_command(Add(0, bench.now, (VIP,)), now=bench.now)
    counters = bench.counters().addresses[IPv4Address(VIP)]
    assert any(frame.destination == ASKER for frame in bench.sent[before:])
    assert counters.gratuitous_sent == sum(frame.destination == arp.BROADCAST for frame in bench.sent)


@pytest.mark.parametrize("silent", [False, True])
def test_a_gateway_that_answers_after_a_silence_is_told_of_everything_once_more(silent: bool) -> None:
    bench = owner()
    bench.core.set_gateways({HOME.index: Gateway(GATEWAY)}, now=bench.now)
    for second in range(40):
        asked = [arp.parse(data) for _, data in bench.core.take_questions()]
        if silent and 10 <= second < 20:
            asked.clear()
        for frame in asked:
            assert isinstance(frame, ArpFrame)
            if frame.target_ip == GATEWAY:
                answer = ArpFrame(
                    HOME.mac, GATEWAY_MAC, arp.REPLY, GATEWAY_MAC, GATEWAY, HOME.mac, frame.sender_ip
                )
                bench.say(answer.encode())
        if second == 10:
            bench.sent.clear()
        bench.run(1.0)
    told = Counter((frame.destination, frame.sender_ip) for frame in bench.sent)
    assert told[GATEWAY_MAC, VIP] == told[GATEWAY_MAC, OTHER] == (1 if silent else 0)
    assert told[arp.BROADCAST, VIP] == told[arp.BROADCAST, OTHER] == (2 if silent else 0), "in both forms"


def test_an_owner_that_nobody_hears_falls_silent_and_says_so() -> None:
    bench = Bench(interfaces=(HOME,))
    bench.core.receive_command(Introduce(0, bench.now, "n1", (b"key",)), now=bench.now)
    for number in (2, 3):
        mac, address = bytes([2, 0, 0, 0, 1, number]), bytes([198, 18, 0, 10 + number])
        hello = ArpFrame(arp.BROADCAST, mac, arp.REQUEST, mac, address, bytes(6), address)
        signed = Signer(f"n{number}", [b"key"]).sign(hello, Kind.HELLO)
        assert bench.core.receive_frame(HOME.index, signed, foreign=False, now=bench.now) is None
    names = tuple(Signer(f"n{number}", [b"key"]).hash for number in (2, 3))
    bench.core.receive_command(Add(0, bench.now, (VIP,)), now=bench.now)
    bench.run(1.5)
    assert bench.ask() is not None, "alone"
    bench.core.receive_command(Members(0, bench.now, True, names), now=bench.now)
    bench.run(3.0)
    assert bench.take(LinkProven) == [LinkProven("eth0", proven=False)]
    assert bench.ask() is None
    bench.core.receive_command(Members(0, bench.now, False, names), now=bench.now)
    bench.run(1.0)
    assert bench.take(LinkProven) == [LinkProven("eth0", proven=True)]


@pytest.mark.parametrize("home", [True, False], ids=["home", "elsewhere"])
def test_a_link_that_goes_with_members_on_it_is_lost_where_addresses_depend_on_it(home: bool) -> None:
    elsewhere = InterfaceView(9, "eth9", bytes.fromhex("020000000009"), (IPv4Interface("198.19.0.11/24"),))
    bench = Bench(interfaces=(HOME, elsewhere))
    bench.core.receive_command(Introduce(0, bench.now, "n1", (b"key",)), now=bench.now)
    names = tuple(Signer(f"n{number}", [b"key"]).hash for number in (2, 3))
    bench.core.receive_command(Members(0, bench.now, True, names), now=bench.now)
    going, staying = (HOME, elsewhere) if home else (elsewhere, HOME)
    for number in (2, 3):
        mac, address = bytes([2, 0, 0, 0, 1, number]), bytes([198, 18, 0, 10 + number])
        hello = ArpFrame(arp.BROADCAST, mac, arp.REQUEST, mac, address, bytes(6), address)
        signed = Signer(f"n{number}", [b"key"]).sign(hello, Kind.HELLO)
        bench.core.receive_frame(going.index, signed, foreign=False, now=bench.now)
    bench.core.receive_command(Add(0, bench.now, (VIP,)), now=bench.now)
    bench.core.set_interfaces([staying], now=bench.now)
    bench.step(0.0)
    assert bench.take(LinkProven) == ([LinkProven("eth0", proven=False)] if home else [])
    bench.core.set_interfaces([staying, going], now=bench.now)
    bench.step(0.0)
    assert bench.take(LinkProven) == ([LinkProven("eth0", proven=True)] if home else [])


@pytest.mark.parametrize("asked", [True, False])
def test_requests_that_are_answered_tell_that_somebody_is_there(asked: bool) -> None:
    """The gateway went away, and nobody else could prove the link: who hears nothing at all takes nothing more."""
    bench = Bench(interfaces=(HOME,))
    bench.core.set_gateways({HOME.index: Gateway(GATEWAY, GATEWAY_MAC)}, now=bench.now)
    bench.core.receive_command(Introduce(0, bench.now, "n1", (b"key",)), now=bench.now)
    bench.core.receive_command(Add(0, bench.now, (VIP,)), now=bench.now)
    answer = ArpFrame(HOME.mac, GATEWAY_MAC, arp.REPLY, GATEWAY_MAC, GATEWAY, HOME.mac, arp.ANY).encode()
    while bench.ask() is None:
        bench.run(0.05)
        bench.say(answer)
    bench.run(6.0)
    bench.core.receive_command(Add(0, bench.now, (OTHER,)), now=bench.now)
    end = bench.now + 6.0
    while bench.now < end:
        bench.run(0.2)
        if asked:
            assert bench.ask() is not None
    assert (bench.ask(OTHER) is not None) is asked


def test_requests_from_before_a_stall_tell_nothing_of_now() -> None:
    bench = Bench(VIP)
    bench.ask()
    heard_at = bench.now
    bench.now += 10.0
    bench.core.observe(bench.now)
    bench.core.handle_timer(bench.now)
    neighbours = bench.core._neighbours
    assert neighbours.noticed_since(ETH0.index, heard_at)
    assert not neighbours.noticed_since(ETH0.index, heard_at + 1.0)


def test_many_addresses_are_made_known_by_turn_and_another_turn_changes_nothing_else() -> None:
    bench = Bench(interfaces=(HOME,))
    bench.core.receive_command(Pace(0, bench.now, 100), now=bench.now)
    groups = [tuple(bytes([198, 18, third, host]) for host in range(5)) for third in range(4)]
    for group, turn in zip(groups, (7, LAST_TURN, -7, 7), strict=True):
        bench.core.receive_command(Add(0, bench.now, group, turn=turn), now=bench.now)
    bench.run(10.0)

    def order() -> list[bytes]:
        return list(dict.fromkeys(frame.sender_ip for frame in bench.sent))

    assert order() == [*groups[2], *groups[0], *groups[3], *groups[1]]
    bench.sent.clear()
    bench.events.clear()
    bench.core.receive_command(Add(0, bench.now, groups[1], turn=-8), now=bench.now)
    bench.core.receive_command(Remove(0, bench.now, groups[0]), now=bench.now)
    bench.core.receive_command(Add(0, bench.now, groups[0]), now=bench.now)
    bench.run(10.0)
    assert set(order()) == set(groups[0]), "nothing is said anew of what has another turn"
    bench.sent.clear()
    bench.core.set_interfaces([HOME._replace(mac=ETH1.mac)], now=bench.now)
    bench.run(10.0)
    assert order() == [*groups[1], *groups[2], *groups[3], *groups[0]]
