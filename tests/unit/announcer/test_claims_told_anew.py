"""What is announced once more: when a cut may have ended, when the gateway is back."""

from ipaddress import IPv4Interface

import pytest

from announcer.layer2.claimbook import (
    GATEWAY_BACK_ALONE_S,
    GATEWAY_BACK_AT_ONCE,
    GATEWAY_BACK_S,
    REANNOUNCE_S,
)
from announcer.layer2.interfaces import InterfaceView
from tests.unit.announcer.claims_bench import ETH0, OTHER, STEP_S, Bench


def test_everything_is_announced_again_when_a_cut_may_have_ended_four_times_a_second_at_most() -> None:
    bench = Bench()
    bench.meet()
    bench.own()
    end = bench.now + 2.5 * REANNOUNCE_S
    while bench.now < end:
        bench.book.cut_ended(bench.now)
        bench.run(STEP_S)
    assert bench.reannounced() == 3


def test_a_gateway_that_comes_and_goes_is_followed_some_times_at_once_and_then_once_in_ten_minutes() -> None:
    bench = Bench()
    bench.meet()
    bench.own()
    for second in range(int(5.5 * GATEWAY_BACK_S)):
        bench.book.gateway_back(2, bench.now)
        bench.run(STEP_S)
        if second < GATEWAY_BACK_AT_ONCE:
            assert bench.reannounced() == second + 1
        bench.now += 1.0
    assert bench.reannounced() == GATEWAY_BACK_AT_ONCE + 5
    bench.book.gateway_back(2, bench.now)
    bench.book.cut_ended(bench.now)
    bench.run(STEP_S)
    assert bench.reannounced() == GATEWAY_BACK_AT_ONCE + 6, "what members tell waits for no gateway"


def test_the_last_return_of_a_gateway_that_came_and_went_is_announced_in_the_end() -> None:
    bench = Bench()
    bench.meet()
    bench.own()
    for _ in range(GATEWAY_BACK_AT_ONCE + 1):
        bench.book.gateway_back(2, bench.now)
        bench.run(2 * REANNOUNCE_S)
    assert bench.reannounced() == GATEWAY_BACK_AT_ONCE
    bench.run(GATEWAY_BACK_S)
    assert bench.reannounced() == GATEWAY_BACK_AT_ONCE + 1


@pytest.mark.parametrize("alone", [True, False])
def test_where_no_member_lives_the_return_of_a_gateway_waits_for_the_first_of_them(alone: bool) -> None:
    bench = Bench()
    bench.meet()
    bench.own()
    bench.neighbours.set_alive([OTHER], alive=not alone)
    bench.book.gateway_back(2, bench.now)
    bench.run(GATEWAY_BACK_ALONE_S / 2)
    assert bench.reannounced() == (not alone)
    bench.run(GATEWAY_BACK_ALONE_S)
    assert bench.reannounced() == 1


def test_the_first_member_that_answers_is_told_for_a_gateway_too() -> None:
    bench = Bench()
    bench.meet()
    bench.own()
    bench.neighbours.set_alive([OTHER], alive=False)
    bench.book.gateway_back(2, bench.now)
    bench.run(10 * STEP_S)
    assert bench.reannounced() == 0
    bench.book.cut_ended(bench.now)
    bench.run(STEP_S)
    assert bench.reannounced() == 1
    bench.run(2 * GATEWAY_BACK_ALONE_S)
    assert bench.reannounced() == 1


def test_a_gateway_behind_another_interface_and_one_that_finds_nothing_announced_change_nothing() -> None:
    bench = Bench()
    bench.meet()
    eth1 = InterfaceView(3, "eth1", bytes.fromhex("020000000003"), (IPv4Interface("198.19.0.11/24"),))
    bench.neighbours.set_interfaces({2: ETH0, 3: eth1}, bench.now)
    bench.want()
    bench.book.gateway_back(2, bench.now)
    bench.own()
    bench.book.gateway_back(3, bench.now)
    bench.run(1.0)
    assert bench.reannounced() == 0
    bench.book.gateway_back(2, bench.now)
    bench.run(1.0)
    assert bench.reannounced() == 1
