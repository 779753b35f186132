"""What is told of an address and MAC, as the Events about foreign answers are: once in ten minutes, however many there are."""

from __future__ import annotations

from announcer.layer2.told import Told
from speaker.serviceevents import FOREIGN_AGAIN_S as AGAIN_S
from speaker.serviceevents import MAX_FOREIGN_TOLD as MAX_TOLD

ONE, TWO = bytes.fromhex("0200000000aa"), bytes.fromhex("0200000000ab")


def made() -> Told[bytes]:
    return Told(again_s=AGAIN_S, most=MAX_TOLD)


def test_the_same_is_told_again_after_ten_minutes_only() -> None:
    events = made()
    assert [events.tell(ONE, now) for now in (0.0, 60.0, AGAIN_S - 1.0)] == [0, None, None]
    assert events.tell(TWO, 300.0) == 0
    assert [events.tell(ONE, now) for now in (AGAIN_S, AGAIN_S + 1.0)] == [2, None], "twice left out"
    assert events.tell(TWO, AGAIN_S + 1.0, times=7) is None
    assert events.tell(TWO, AGAIN_S + 300.0) == 7


def test_what_was_not_told_after_all_is_told_the_next_time() -> None:
    events = made()
    assert events.tell(ONE, 0.0) == 0
    events.forget(ONE)
    assert [events.tell(ONE, 1.0), events.tell(ONE, AGAIN_S + 0.5)] == [0, None]


def test_made_up_macs_cost_bounded_memory_and_no_repetition() -> None:
    events = made()
    macs = [number.to_bytes(6, "big") for number in range(MAX_TOLD + 100)]
    assert sum(events.tell(mac, 1.0) is not None for mac in macs) == MAX_TOLD
    assert events.tell(macs[0], 2.0) is None
    assert events.tell(ONE, AGAIN_S) is None
    assert events.tell(ONE, 1.0 + AGAIN_S) == 0
    later = sum(events.tell(mac, 1.0 + AGAIN_S) is not None for mac in reversed(macs))
    assert later == MAX_TOLD - 1, "as many again, and no more"
    assert len(events._told) == MAX_TOLD
