"""Owner intervals from synthetic observer records."""

import json
from collections.abc import Sequence

import pytest

from chaos import owners
from chaos.errors import MeasurementError

START = ["observer", "eth0", 0.05, 4, 100.0, 1_790_000_000.0]
VIP, OTHER = "198.18.1.0", "198.18.1.1"
A, B = "02:00:00:00:00:11", "02:00:00:00:00:12"


def record(
    rounds: Sequence[tuple[str, ...]], *, vip: str = VIP, extra: list[list[object]] | None = None
) -> owners.ObserverRecord:
    """One question every 50 ms from 100 s on, answered by the MACs of its round 1 ms later."""
    events: list[list[object]] = [START]
    for number, answering in enumerate(rounds):
        at = 100 + number * 0.05
        events.append(["q", number, vip, at])
        events += [["a", number, vip, mac, at + 0.001] for mac in answering]
    events += extra or []
    events.append(["end", 100 + len(rounds) * 0.05])
    return owners.parse([json.dumps(event) + "\n" for event in events])


def test_intervals_join_equal_rounds() -> None:
    found = owners.intervals(record([(A,)] * 4 + [()] * 10 + [(A, B)] * 2 + [(B,)] * 4), VIP)
    assert [(round(i.start, 3), round(i.end, 3), i.owners) for i in found] == [
        (100.0, 100.2, frozenset({A})),
        (100.2, 100.7, frozenset()),
        (100.7, 100.8, frozenset({A, B})),
        (100.8, 101.0, frozenset({B})),
    ]


def test_two_owners_and_no_owner_within_a_window() -> None:
    seen = record([(A,)] * 4 + [()] * 10 + [(A, B)] * 2 + [(B,)] * 4)
    assert owners.two_owners_s(seen, since=100, until=101) == pytest.approx(0.1)
    assert owners.no_owner_s(seen, since=100, until=101) == pytest.approx(0.5)
    assert owners.no_owner_s(seen, since=100.45, until=101) == pytest.approx(0.25)
    assert owners.no_owner_s(seen, since=100.8, until=101) == 0
    assert owners.two_owners_s(seen, since=100, until=100.75) == pytest.approx(0.05)


def test_a_steady_owner_has_neither() -> None:
    seen = record([(A,)] * 20)
    assert owners.two_owners_s(seen, since=100, until=101) == 0
    assert owners.no_owner_s(seen, since=100, until=101) == 0


def test_several_vips_count_once_where_they_overlap() -> None:
    extra: list[list[object]] = []
    for number in range(20):
        extra.append(["q", number, OTHER, 100.0 + number * 0.05])
        if number >= 8:
            extra.append(["a", number, OTHER, B, 100.001 + number * 0.05])
    seen = record([(A,)] * 4 + [()] * 6 + [(A,)] * 10, extra=extra)
    assert seen.vips == (VIP, OTHER)
    # One is silent from 0.2 to 0.5, the other from 0 to 0.4.
    assert owners.no_owner_s(seen, since=100, until=101) == pytest.approx(0.5)


def test_a_late_answer_belongs_to_its_question() -> None:
    seen = record([(A,), (), (B,), (B,)], extra=[["a", 1, VIP, A, 100.16]])
    assert owners.two_owners_s(seen, since=100, until=100.2) == 0
    assert [interval.owners for interval in owners.intervals(seen, VIP)] == [{A}, {B}]


def test_the_last_question_of_a_growing_record_is_left_out() -> None:
    text = [
        json.dumps(event) + "\n"
        for event in (START, ["q", 0, VIP, 100.0], ["a", 0, VIP, A, 100.1], ["q", 1, VIP, 100.05])
    ]
    seen = owners.parse(text)
    assert seen.end is None
    assert owners.intervals(seen, VIP) == (owners.Interval(100.0, 100.05, frozenset({A})),)


def test_owner_at_a_time() -> None:
    seen = record([(A,)] * 4 + [(B,)] * 4)
    assert owners.owner_at(seen, VIP, 100.1) == {A}
    assert owners.owner_at(seen, VIP, 100.2001) == {B}
    assert owners.owner_at(seen, VIP, 200) == frozenset()
    assert owners.owner_at(seen, OTHER, 100.1) == frozenset()


def test_first_announcement_after_the_fault() -> None:
    frames: list[list[object]] = [
        ["g", VIP, B, "reply", 99.0],
        ["g", VIP, A, "request", 100.2],
        ["g", VIP, B, "request", 100.6],
        ["g", VIP, B, "reply", 100.5],
    ]
    seen = record([(A,)] * 2, extra=frames)
    assert owners.first_announcement(seen, VIP, B, since=100) == 100.5
    assert owners.first_announcement(seen, VIP, B, since=101) is None
    assert owners.first_announcement(seen, OTHER, B, since=100) is None


def test_broken_records_are_errors() -> None:
    with pytest.raises(MeasurementError, match="first line"):
        owners.parse([])
    with pytest.raises(MeasurementError, match="line 1"):
        owners.parse(["nonsense\n"])


def test_settled_since_a_time() -> None:
    seen = record([(A,)] * 4 + [(B,)] * 4)
    assert owners.settled(seen, since=100.3) == {VIP: B}
    assert owners.settled(seen, since=100.1) == {}
    assert owners.settled(record([(A, B)] * 4), since=100.1) == {}
    assert owners.settled(record([()] * 4), since=100.1) == {}


def test_answers_of_others_do_not_count_where_it_is_known_who_may_own() -> None:
    events = [
        START,
        ["q", 0, VIP, 100.0],
        ["a", 0, VIP, A, 100.001],
        ["a", 0, VIP, B, 100.002],
        ["end", 100.1],
    ]
    lines = [json.dumps(event) + "\n" for event in events]
    assert owners.owner_at(owners.parse(lines), VIP, 100.0) == {A, B}
    assert owners.owner_at(owners.parse(lines, among={A}), VIP, 100.0) == {A}


def test_the_last_word_is_said_after_all_others() -> None:
    extra: list[list[object]] = [
        ["g", VIP, mac, "request", at] for at, mac in ((101, A), (102, B), (103, A), (104, A))
    ]
    seen = record([(A,)], extra=extra)
    assert owners.last_word(seen, VIP, A, since=100) == 103
    assert owners.last_word(seen, VIP, A, since=103.5) == 104
    assert owners.last_word(seen, VIP, B, since=100) is None


def test_silence_and_the_time_since_when_one_answers_alone() -> None:
    seen = record([(A,)] * 4 + [()] * 10 + [(A, B)] * 2 + [()] * 2 + [(B,)] * 4)
    assert owners.longest_silence_s(seen, since=100, until=101.1) == pytest.approx(0.5)
    assert owners.longest_silence_s(seen, since=100.5, until=101.1) == pytest.approx(0.2)
    assert owners.longest_silence_s(seen, since=100, until=101.1, vips=[OTHER]) == 0
    assert owners.alone_since(seen, VIP, B) == pytest.approx(100.9)
    assert owners.alone_since(seen, VIP, A) is None
