"""The claims of one node, by itself: what it asks, when it answers, when it lets go."""

from ipaddress import IPv4Interface

import pytest

from announcer.layer2 import arp, claimbook
from announcer.layer2.claims import (
    ANYONE,
    Alarm,
    Announce,
    Changed,
    Reannounce,
    Reason,
    Silence,
    State,
)
from announcer.layer2.gateways import Gateway
from announcer.layer2.interfaces import InterfaceView
from announcer.layer2.signed import Kind, name_hash
from tests.unit.announcer.claims_bench import (
    ETH0,
    OTHER,
    OTHER_MAC,
    SECOND,
    STEP_S,
    STRANGER_MAC,
    VIP,
    Bench,
    trailer,
)


def test_two_questions_and_silence_come_before_the_first_answer() -> None:
    bench = Bench()
    bench.meet()
    bench.own()
    assert [destination for _, destination in bench.asked] == [arp.BROADCAST] * 2
    assert bench.asked[1][0] - bench.asked[0][0] == pytest.approx(0.03, abs=0.006)
    assert bench.last().reason is Reason.SILENCE
    assert bench.answering()


def test_silence_means_nothing_while_nobody_at_all_answers() -> None:
    bench = Bench(witness=False)
    bench.meet()
    bench.want()
    bench.run(5.0)
    assert not bench.answering()
    assert bench.last() == Changed(VIP, State.ASKING, Reason.LINK_NOT_PROVEN, b"")
    bench.witness = True
    bench.run(0.5)
    assert bench.answering()


def test_alone_it_announces_after_a_second() -> None:
    bench = Bench()
    bench.want()
    bench.run(0.9)
    assert not bench.answering()
    bench.run(0.3)
    assert (bench.answering(), bench.last().reason) == (True, Reason.ALONE)


def test_a_holder_is_polled_until_it_lets_go() -> None:
    bench = Bench()
    bench.meet()
    bench.want()
    bench.book.answered(VIP, OTHER, bench.now, go=False)
    bench.take()
    assert bench.last() == Changed(VIP, State.HELD, Reason.HOLDER_ANSWERS, OTHER)
    for _ in range(20):
        bench.run(0.05)
        bench.book.answered(VIP, OTHER, bench.now, go=False)
    assert not bench.answering()
    assert bench.asked[-1][1] == OTHER_MAC, "the holder is asked by itself"
    bench.book.answered(VIP, OTHER, bench.now, go=True)
    bench.take()
    assert (bench.answering(), bench.last().reason) == (True, Reason.TOLD_TO)


def test_a_holder_that_falls_silent_loses_everything_it_held() -> None:
    bench = Bench()
    bench.meet()
    bench.want()
    bench.book.answered(VIP, OTHER, bench.now, go=False)
    bench.run(0.55)
    assert not bench.answering()
    bench.run(0.5)
    assert bench.answering()
    assert bench.last().reason is Reason.SILENCE


def test_of_two_askers_the_one_that_ranks_first_goes_on() -> None:
    bench = Bench()
    bench.meet()
    bench.want()
    bench.book.asked(VIP, trailer(Kind.QUESTION), bench.now)
    bench.take()
    assert bench.states()[-1] is State.ASKING
    bench.book.asked(VIP, trailer(Kind.QUESTION, first=True), bench.now)
    bench.take()
    assert bench.last() == Changed(VIP, State.HELD, Reason.OTHER_ASKS, OTHER)
    bench.run(0.4)
    assert bench.answering(), "the other did not announce after all"


def test_hand_over_ends_with_the_announcement_of_the_successor() -> None:
    bench = Bench()
    bench.meet()
    bench.own()
    bench.book.hand_over(VIP, OTHER, bench.now)
    bench.run(0.7)
    assert bench.answering()
    assert bench.offers == 3, "one at once and one every 0.3 s"
    bench.book.announced(VIP, trailer(Kind.ANNOUNCEMENT), bench.now)
    bench.take()
    assert (bench.answering(), bench.last().reason, len(bench.book)) == (False, Reason.TAKEN_OVER, 0)


@pytest.mark.parametrize("first", [True, False])
def test_of_two_that_hand_over_to_a_third_the_one_that_ranks_first_goes_on(first: bool) -> None:
    bench = Bench()
    bench.meet()
    bench.own()
    bench.book.hand_over(VIP, name_hash("n3"), bench.now)
    bench.book.announced(VIP, trailer(Kind.ANNOUNCEMENT, first=first), bench.now)
    bench.take()
    assert bench.answering() is not first
    assert bench.reannounced() == (0 if first else 1)


def test_only_the_successor_is_told_to_take_over_and_has_a_second_for_it() -> None:
    bench = Bench()
    bench.meet()
    bench.own()
    bench.book.hand_over(VIP, name_hash("n3"), bench.now)
    assert not bench.book.asked(VIP, trailer(Kind.QUESTION), bench.now)
    bench.book.hand_over(VIP, OTHER, bench.now)
    assert bench.book.asked(VIP, trailer(Kind.QUESTION), bench.now)
    bench.run(0.9)
    assert bench.answering()
    bench.run(0.2)
    assert (bench.answering(), bench.last().reason) == (False, Reason.NOT_TAKEN)


def test_who_leaves_tells_everybody_to_take_over() -> None:
    bench = Bench()
    bench.meet()
    bench.own()
    bench.book.hand_over(VIP, ANYONE, bench.now)
    assert bench.book.asked(VIP, trailer(Kind.QUESTION), bench.now)


def test_who_leaves_asks_whether_another_has_the_address_already() -> None:
    bench = Bench()
    bench.meet()
    bench.own()
    questions = len(bench.asked)
    bench.book.hand_over(VIP, ANYONE, bench.now)
    bench.run(0.05)
    assert len(bench.asked) == questions + 1
    bench.book.answered(VIP, OTHER, bench.now, go=True)
    bench.take()
    assert bench.answering(), "that one leaves as well"
    bench.book.answered(VIP, OTHER, bench.now, go=False)
    bench.take()
    assert (bench.answering(), bench.last().reason) == (False, Reason.TAKEN_OVER)


def test_an_address_that_comes_back_while_it_is_handed_over_is_kept() -> None:
    bench = Bench()
    bench.meet()
    bench.own()
    bench.book.hand_over(VIP, OTHER, bench.now)
    bench.want()
    assert bench.states()[-1] is State.ANNOUNCING
    assert not any(isinstance(output, Silence) for output in bench.outputs)


@pytest.mark.parametrize("handed_over", [False, True])
def test_what_is_announced_after_a_silence_or_again_is_told_for_a_while(handed_over: bool) -> None:
    bench = Bench()
    bench.meet()
    bench.own()
    if handed_over:
        bench.run(claimbook.TELL_S + 1.0)
        bench.book.hand_over(VIP, OTHER, bench.now)
        bench.want()
    bench.told.clear()
    bench.run(5.0)
    assert bench.told == [VIP] * 7
    assert len(bench.asked) == 2, "a switch might answer"


def test_few_addresses_are_told_of_for_a_while() -> None:
    bench = Bench()
    bench.meet()
    vips = [bytes([198, 18, 2, number]) for number in range(100)]
    for vip in vips:
        bench.book.want(vip, bench.now, known=True)
    bench.run(0.2)
    assert sum(isinstance(output, Announce) for output in bench.outputs) == len(vips)
    bench.run(5.0)
    assert len(set(bench.told)) == claimbook.TOLD_AT_ONCE


@pytest.mark.parametrize("first", [False, True])
def test_of_two_that_hand_over_to_each_other_the_one_that_ranks_first_goes_on(first: bool) -> None:
    bench = Bench()
    bench.meet()
    bench.own()
    bench.book.hand_over(VIP, OTHER, bench.now)
    bench.book.offered(VIP, trailer(Kind.OFFER, first=first), bench.now)
    bench.take()
    assert bench.answering() is not first
    assert any(isinstance(output, Reannounce) for output in bench.outputs) is not first


def test_an_offer_of_what_is_announced_already_is_answered_by_an_announcement() -> None:
    bench = Bench()
    bench.meet()
    bench.own()
    for _ in range(2):
        bench.book.offered(VIP, trailer(Kind.OFFER), bench.now)
    bench.take()
    assert bench.reannounced() == 1
    assert bench.answering()


@pytest.mark.parametrize("alive", [True, False])
def test_a_holder_that_the_ring_calls_dead_means_that_a_cut_has_ended(alive: bool) -> None:
    bench = Bench()
    bench.meet()
    bench.own()
    bench.neighbours.set_alive([OTHER], alive=alive)
    bench.book.want(SECOND, bench.now, known=True)
    bench.book.answered(SECOND, OTHER, bench.now, go=False)
    bench.run(STEP_S)
    again = [output.address for output in bench.outputs if isinstance(output, Reannounce)]
    assert again == ([] if alive else [VIP])


@pytest.mark.parametrize("first", [True, False])
def test_of_two_owners_the_one_that_ranks_first_stays(first: bool) -> None:
    bench = Bench()
    bench.meet()
    bench.own()
    for _ in range(3):
        bench.book.announced(VIP, trailer(Kind.ANNOUNCEMENT, first=first), bench.now)
    bench.take()
    assert bench.answering() is not first
    again = bench.reannounced()
    assert again == (0 if first else 1), "four times a second at most"
    if first:
        assert bench.last() == Changed(VIP, State.HELD, Reason.OTHER_ANNOUNCES, OTHER)


def test_after_a_stall_everything_is_asked_for_again() -> None:
    bench = Bench()
    bench.meet()
    bench.own()
    bench.book.fence(bench.now)
    bench.take()
    assert (bench.answering(), bench.states()[-1]) == (False, State.ASKING)
    bench.run(0.2)
    assert bench.answering()


def test_a_stranger_keeps_an_address_that_was_never_ours() -> None:
    bench = Bench()
    bench.meet()
    bench.want(known=False)
    bench.book.answered_unsigned(bench.reply(STRANGER_MAC), bench.now)
    bench.take()
    assert Alarm(VIP, STRANGER_MAC) in bench.outputs
    assert bench.last() == Changed(VIP, State.CONFLICTED, Reason.STRANGER_ANSWERS, b"", STRANGER_MAC)
    questions = len(bench.asked)
    bench.run(0.9)
    assert len(bench.asked) == questions
    bench.run(0.4)
    assert bench.answering(), "it asks again and nobody answers any more"
    assert [output.mac for output in bench.outputs if isinstance(output, Changed)].count(STRANGER_MAC) == 1


def test_what_a_member_answered_for_is_no_strangers() -> None:
    bench = Bench()
    bench.meet()
    bench.want(known=False)
    bench.book.answered(VIP, OTHER, bench.now, go=False)
    bench.take()
    while bench.last().state is State.HELD:
        bench.run(STEP_S)
    assert not bench.answering()
    bench.book.answered_unsigned(bench.reply(STRANGER_MAC), bench.now)
    bench.run(0.4)
    assert bench.answering()


@pytest.mark.parametrize("mac", [STRANGER_MAC, OTHER_MAC, ETH0.mac])
def test_an_address_that_was_ours_is_announced_whatever_answers_unsigned(mac: bytes) -> None:
    bench = Bench()
    bench.meet()
    bench.want()
    bench.book.answered_unsigned(bench.reply(mac), bench.now)
    bench.run(0.2)
    assert bench.answering()
    alarms = [output for output in bench.outputs if isinstance(output, Alarm)]
    assert alarms == ([Alarm(VIP, mac)] if mac != ETH0.mac else [])


@pytest.mark.parametrize("answered", [True, False], ids=["reply", "request"])
@pytest.mark.parametrize("mac", [STRANGER_MAC, OTHER_MAC, ETH0.mac], ids=["stranger", "member", "own"])
def test_who_says_unsigned_to_have_what_is_announced_here_is_an_alarm_and_no_more(
    mac: bytes, answered: bool
) -> None:
    bench = Bench()
    bench.meet()
    bench.own()
    bench.run(3.0)
    before = bench.states()
    bench.outputs.clear()
    bench.asked.clear()
    if answered:
        bench.book.answered_unsigned(bench.reply(mac), bench.now)
    else:
        bench.book.announced_unsigned(arp.gratuitous(arp.REQUEST, mac=mac, address=VIP))
    bench.take()
    assert bench.outputs == ([Alarm(VIP, mac)] if mac != ETH0.mac else [])
    bench.run(1.0)
    assert (bench.asked, bench.offers, bench.states()) == ([], 0, [])
    assert before[-1] is State.ANNOUNCING


def test_who_says_unsigned_to_have_what_is_not_announced_here_is_no_alarm() -> None:
    bench = Bench()
    bench.meet()
    said = arp.gratuitous(arp.REQUEST, mac=STRANGER_MAC, address=VIP)
    bench.book.announced_unsigned(said)
    bench.want()
    bench.book.announced_unsigned(said)
    bench.book.answered(VIP, OTHER, bench.now, go=False)
    bench.book.announced_unsigned(said)
    bench.book.answered_unsigned(bench.reply(STRANGER_MAC), bench.now)
    bench.book.offered(VIP, trailer(Kind.OFFER), bench.now)
    bench.book.hand_over(VIP, ANYONE, bench.now)
    bench.book.answered_unsigned(bench.reply(STRANGER_MAC), bench.now)
    bench.take()
    assert bench.states() == [State.ASKING, State.HELD, State.ANNOUNCING, State.HANDING_OVER]
    assert not any(isinstance(output, Alarm) for output in bench.outputs)


def test_an_address_is_given_up_with_its_segment_and_asked_for_when_it_is_back() -> None:
    bench = Bench()
    bench.meet()
    bench.own()
    elsewhere = InterfaceView(3, "eth1", bytes.fromhex("020000000011"), (IPv4Interface("198.19.0.11/24"),))
    bench.neighbours.set_interfaces({3: elsewhere}, bench.now)
    bench.book.interfaces_changed(bench.now)
    bench.run(0.5)
    assert (bench.answering(), bench.last().reason) == (False, Reason.LINK_DOWN)
    bench.neighbours.set_interfaces({2: ETH0, 3: elsewhere}, bench.now)
    bench.book.interfaces_changed(bench.now)
    bench.meet()
    bench.run(0.2)
    assert bench.answering()


def test_behind_a_lost_link_an_address_is_let_go_until_the_wire_was_asked() -> None:
    bench = Bench()
    bench.meet()
    bench.own()
    bench.witness = False
    bench.book.link_lost(2, bench.now)
    bench.take()
    assert not bench.answering()
    assert bench.last() == Changed(VIP, State.ASKING, Reason.LINK_NOT_PROVEN, b"")
    bench.run(5.0)
    assert not bench.answering()
    bench.witness = True
    bench.run(0.5)
    assert bench.answering()


def test_behind_a_lost_link_nothing_is_handed_over() -> None:
    bench = Bench()
    bench.meet()
    bench.own()
    bench.book.hand_over(VIP, OTHER, bench.now)
    bench.book.link_lost(2, bench.now)
    bench.take()
    assert (bench.answering(), bench.last().state) == (False, State.IDLE)


def test_another_lost_link_is_none_of_its_business() -> None:
    bench = Bench()
    bench.meet()
    bench.own()
    bench.book.link_lost(3, bench.now)
    bench.take()
    assert bench.answering()
    assert bench.book.sole_homes() == {2}


def lonely() -> Bench:
    """A node whose gateway answered once and does not any more, and which wants an address."""
    bench = Bench()
    gateway = bytes([198, 18, 0, 1])
    bench.neighbours.set_gateways({2: Gateway(gateway, STRANGER_MAC)}, bench.now)
    bench.neighbours.hear(2, bench.reply(STRANGER_MAC, gateway), bench.now)
    bench.want()
    return bench


def test_a_gateway_that_went_away_does_not_keep_the_last_member_silent() -> None:
    bench = lonely()
    bench.run(claimbook.LONELY_S - 0.5)
    bench.neighbours.notice(2, bench.reply(STRANGER_MAC, bytes([198, 18, 0, 9])), bench.now)
    assert not bench.answering()
    bench.run(1.0)
    assert (bench.answering(), bench.last().reason) == (True, Reason.ALONE)


def test_who_hears_nothing_takes_nothing_until_somebody_is_heard() -> None:
    bench = lonely()
    bench.run(60.0)
    assert (bench.answering(), bench.last().reason) == (False, Reason.LINK_NOT_PROVEN)
    bench.neighbours.notice(
        2, bench.reply(bench.neighbours.interfaces[2].mac, bytes([198, 18, 0, 9])), bench.now
    )
    bench.run(1.0)
    assert not bench.answering()
    bench.neighbours.notice(2, bench.reply(STRANGER_MAC, bytes([198, 18, 0, 9])), bench.now)
    bench.run(1.0)
    assert (bench.answering(), bench.last().reason) == (True, Reason.ALONE)


def test_what_a_cache_answers_is_asked_of_the_member_itself_once_a_window() -> None:
    bench = Bench()
    bench.meet()
    bench.want()
    bench.run(0.01)
    bench.book.answered_unsigned(bench.reply(OTHER_MAC), bench.now)
    bench.book.answered_unsigned(bench.reply(OTHER_MAC), bench.now)
    bench.take()
    assert [destination for _, destination in bench.asked].count(OTHER_MAC) == 1
    bench.book.answered(VIP, OTHER, bench.now, go=False)
    bench.take()
    assert (bench.last().state, bench.last().holder) == (State.HELD, OTHER)
