"""Many claims at once: their pace, and whose turn it is."""

from ipaddress import IPv4Interface

from announcer.layer2 import arp, claimbook
from announcer.layer2.arp import ArpFrame
from announcer.layer2.claims import Announce
from announcer.layer2.signed import name_hash
from tests.unit.announcer.claims_bench import ETH0, VIP, Bench


def test_ten_thousand_claims_keep_the_pace() -> None:
    bench = Bench()
    bench.meet()
    vips = [number.to_bytes(4, "big") for number in range(0xC6120000, 0xC6120000 + 2_000)]
    for vip in vips:
        bench.book.want(vip, bench.now, known=True)
    bench.book.handle_timer(bench.now)
    frames = len(bench.neighbours.frames)
    assert frames <= claimbook.STEPS_AT_ONCE + 3, "the questions of one moment, and those that prove the link"
    bench.run(1.0)
    assert sum(isinstance(output, Announce) for output in bench.outputs) == len(vips)


def many(third: int, count: int) -> list[bytes]:
    return [bytes([198, 18, third, number]) for number in range(count)]


def announced(bench: Bench) -> list[bytes]:
    return [output.address for output in bench.outputs if isinstance(output, Announce)]


def test_of_many_that_come_at_once_those_of_a_lower_turn_are_asked_for_and_announced_first() -> None:
    bench = Bench()
    bench.meet()
    groups = {3: many(1, 60), -1: many(2, 60), 2: many(3, 60)}
    for turn, group in groups.items():
        bench.turns.give(group, turn)
        for vip in reversed(group):
            bench.book.want(vip, bench.now, known=True)
    bench.run(1.0)
    in_turn = [vip for turn in sorted(groups) for vip in groups[turn]]
    assert list(dict.fromkeys(bench.order)) == in_turn
    assert announced(bench) == in_turn


def test_who_comes_later_with_a_lower_turn_is_asked_for_before_those_that_still_wait() -> None:
    bench = Bench()
    bench.meet()
    early, late = many(1, 250), many(2, 10)
    for vip in early:
        bench.book.want(vip, bench.now, known=True)
    bench.book.handle_timer(bench.now)
    bench.take()
    begun = len(set(bench.order))
    bench.turns.give(late, 1)
    for vip in late:
        bench.book.want(vip, bench.now, known=True)
    bench.run(1.0)
    assert 0 < begun < len(early)
    assert announced(bench) == [*early[:begun], *late, *early[begun:]]


def test_a_few_of_a_lower_turn_do_not_wait_for_the_first_questions_of_thousands() -> None:
    bench = Bench()
    bench.meet()
    many_others = [bytes([198, 18, 10 + number // 200, number % 200]) for number in range(4_000)]
    few = many(1, 10)
    bench.turns.give(few, 1)
    for vip in (*many_others, *few):
        bench.book.want(vip, bench.now, known=True)
    bench.run(0.1)
    assert announced(bench) == few, "two questions 30 ms apart, and the verdict as long after"
    bench.run(2.0)
    assert len(announced(bench)) == 4_010


def test_what_is_asked_for_in_vain_again_and_again_keeps_nothing_of_a_higher_turn_waiting() -> None:
    bench = Bench()
    bench.meet()
    elsewhere = ETH0._replace(index=3, name="eth1", addresses=(IPv4Interface("198.19.0.11/16"),))
    bench.neighbours.set_interfaces({2: ETH0, 3: elsewhere}, bench.now)
    bench.meet()
    deaf = bytes.fromhex("020000000003")
    hello = ArpFrame(arp.BROADCAST, deaf, arp.REQUEST, deaf, bytes([198, 19, 0, 13]), bytes(6), bytes(4))
    bench.neighbours.hello(3, name_hash("n3"), hello, welcome=False, now=bench.now)
    bench.neighbours.set_alive([name_hash("n3")], alive=True)
    silent = [bytes([198, 19, 1 + number // 200, number % 200]) for number in range(2_000)]
    bench.turns.give(silent, 1)
    for vip in silent:
        bench.book.want(vip, bench.now, known=True)
    bench.run(2.0)
    assert announced(bench) == []
    bench.want()
    bench.run(1.0)
    assert announced(bench) == [VIP]


def test_another_turn_has_nothing_asked_for_or_announced_again() -> None:
    bench = Bench()
    bench.meet()
    bench.own()
    bench.run(5.0)
    bench.outputs.clear()
    bench.order.clear()
    bench.turns.give([VIP], 1)
    bench.want()
    bench.run(5.0)
    assert (bench.outputs, bench.order) == ([], [])
