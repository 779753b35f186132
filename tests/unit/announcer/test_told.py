"""What is told of an address and MAC, as the Events about foreign answers are: once in ten minutes, however many there are."""

from __future__ import annotations

from announcer.layer2.told import Told
from speaker.decide import Address
from speaker.main import FOREIGN_AGAIN_S as AGAIN_S
from speaker.main import MAX_FOREIGN_TOLD as MAX_TOLD
from tests.unit.speaker.builders import VIP

ONE, TWO = bytes.fromhex("0200000000aa"), bytes.fromhex("0200000000ab")


def test_the_same_is_told_again_after_ten_minutes_only() -> None:
    events: Told[tuple[Address, bytes]] = Told(again_s=AGAIN_S, most=MAX_TOLD)
    assert [events.due((VIP, ONE), now) for now in (0.0, 60.0, AGAIN_S - 1.0)] == [True, False, False]
    assert events.due((VIP, TWO), 300.0)
    assert events.due((VIP + 1, ONE), 300.0)
    assert [events.due((VIP, ONE), now) for now in (AGAIN_S, AGAIN_S + 1.0)] == [True, False]
    assert not events.due((VIP, TWO), AGAIN_S + 1.0)
    assert events.due((VIP, TWO), AGAIN_S + 300.0)


def test_made_up_macs_cost_bounded_memory_and_no_repetition() -> None:
    events: Told[tuple[Address, bytes]] = Told(again_s=AGAIN_S, most=MAX_TOLD)
    told = [events.due((VIP, number.to_bytes(6, "big")), 1.0) for number in range(MAX_TOLD + 100)]
    assert told.count(True) == MAX_TOLD
    assert not events.due((VIP, bytes(6)), 2.0)
    assert events.due((VIP, ONE), 1.0 + AGAIN_S)
    assert events._told.keys() == {(VIP, ONE)}
