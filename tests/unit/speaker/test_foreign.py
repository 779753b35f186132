"""Events about foreign answers: one for an address and MAC in ten minutes, however many there are."""

from __future__ import annotations

from speaker.foreign import AGAIN_S, MAX_TOLD, ForeignEvents
from tests.unit.speaker.builders import VIP

ONE, TWO = bytes.fromhex("0200000000aa"), bytes.fromhex("0200000000ab")


def test_the_same_is_told_again_after_ten_minutes_only() -> None:
    events = ForeignEvents()
    assert [events.due(VIP, ONE, now) for now in (0.0, 60.0, AGAIN_S - 1.0)] == [True, False, False]
    assert events.due(VIP, TWO, 300.0)
    assert events.due(VIP + 1, ONE, 300.0)
    assert [events.due(VIP, ONE, now) for now in (AGAIN_S, AGAIN_S + 1.0)] == [True, False]
    assert not events.due(VIP, TWO, AGAIN_S + 1.0)
    assert events.due(VIP, TWO, AGAIN_S + 300.0)


def test_made_up_macs_cost_bounded_memory_and_no_repetition() -> None:
    events = ForeignEvents()
    told = [events.due(VIP, number.to_bytes(6, "big"), 1.0) for number in range(MAX_TOLD + 100)]
    assert told.count(True) == MAX_TOLD
    assert not events.due(VIP, bytes(6), 2.0)
    assert events.due(VIP, ONE, 1.0 + AGAIN_S)
    assert events._told.keys() == {(VIP, ONE)}
