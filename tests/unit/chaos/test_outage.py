"""The outage figure from synthetic probe records."""

import json

import pytest

from chaos import outage
from chaos.errors import MeasurementError

START = ["probe", "udp", "198.18.1.0", 7, 0.004, 100.0, 1_790_000_000.0]


def lines(*events: list[object]) -> list[str]:
    return [json.dumps(event) + "\n" for event in (START, *events)]


def steady(first: int, last: int, *, silent: range = range(0)) -> list[list[object]]:
    """Questions every 4 ms from 100 s on, answered after 1 ms except those in `silent`."""
    events: list[list[object]] = []
    for number in range(first, last):
        at = 100 + number * 0.004
        events.append(["sent", number, at])
        if number not in silent:
            events.append(["answered", number, at + 0.001, "n1" if number < silent.start else "n2"])
    return events


def test_gap_runs_from_last_answer_to_first_answer() -> None:
    record = outage.parse(lines(*steady(0, 1000, silent=range(250, 500))))
    gap = outage.longest_gap(record, fault=101.0)
    assert gap.start == pytest.approx(100 + 249 * 0.004 + 0.001)
    assert gap.end == pytest.approx(100 + 500 * 0.004 + 0.001)
    assert gap.seconds == pytest.approx(251 * 0.004), "the interval is not subtracted"
    assert gap.by == "n2"


def test_gaps_that_end_before_the_fault_do_not_count() -> None:
    record = outage.parse(lines(*steady(0, 1000, silent=range(100, 200))))
    assert outage.longest_gap(record, fault=102.0).seconds == pytest.approx(0.004)


def test_a_gap_that_begins_well_after_the_fault_counts() -> None:
    record = outage.parse(lines(*steady(0, 1000, silent=range(600, 700))))
    assert outage.longest_gap(record, fault=101.0).seconds == pytest.approx(101 * 0.004)


def test_answers_in_reverse_order_make_no_gap_of_their_own() -> None:
    events = steady(0, 500, silent=range(200, 300))
    # Datagrams that waited for a neighbour entry are answered together, the last one first.
    events += [["answered", number, 101.0 + (249 - number) * 1e-5, "n2"] for number in range(200, 250)]
    record = outage.parse(lines(*events))
    gap = outage.longest_gap(record, fault=100.9)
    assert gap.start == pytest.approx(100.797)
    assert gap.end == pytest.approx(101.0)
    assert outage.sent_and_lost(record, since=100.0) == (500, 50)


def test_no_answer_before_or_after_is_an_error() -> None:
    record = outage.parse(lines(*steady(0, 500, silent=range(250, 500))))
    with pytest.raises(MeasurementError, match="did not come back"):
        outage.longest_gap(record, fault=101.0)
    with pytest.raises(MeasurementError, match="before the fault"):
        outage.longest_gap(record, fault=99.0)


def test_sent_and_lost_count_from_a_time_on() -> None:
    record = outage.parse(lines(*steady(0, 1000, silent=range(250, 500))))
    assert outage.sent_and_lost(record, since=0) == (1000, 250)
    assert outage.sent_and_lost(record, since=100 + 400 * 0.004 - 1e-6) == (600, 100)


def test_held_up_counts_only_at_the_edges_of_the_gap() -> None:
    def held_up(*late: list[object]) -> float:
        record = outage.parse(lines(*steady(0, 1000, silent=range(250, 500)), *late))
        return outage.held_up_s(record, outage.longest_gap(record, fault=101.0))

    assert held_up() == 0
    assert held_up(["late", 101.5, 0.3]) == 0, "in the middle it changes nothing"
    assert held_up(["late", 101.99, 0.3]) == pytest.approx(0.3), "the answer may have waited to be asked for"
    assert held_up(["late", 101.1, 0.15]) == pytest.approx(0.15)
    assert held_up(["late", 100.5, 0.3], ["late", 102.5, 0.3]) == 0


def test_growing_and_broken_records() -> None:
    growing = [*lines(*steady(0, 3)), '["sent", 4, 1']
    assert len(outage.parse(growing).sent) == 3
    assert not outage.parse(growing).complete
    assert outage.parse(lines(["end", 101.0])).complete
    with pytest.raises(MeasurementError, match="line 2"):
        outage.parse([*lines(), '["oops", 1]\n'])
    with pytest.raises(MeasurementError, match="first line"):
        outage.parse([])


def test_noise_floor_depends_on_the_rate() -> None:
    assert outage.noise_s(outage.parse(lines())) == 0.05
    slow = [*START]
    slow[4] = 0.02
    assert outage.noise_s(outage.parse([json.dumps(slow) + "\n"])) == pytest.approx(0.1)


def test_steady_means_no_answer_missing_within_the_window() -> None:
    record = outage.parse(lines(*steady(0, 1000, silent=range(250, 500))))
    assert outage.steady(record, since=100.2, until=100.9)
    assert not outage.steady(record, since=100.2, until=101.2)
    assert not outage.steady(record, since=101.5, until=102.5)
    assert outage.steady(record, since=102.01, until=103.9)
    assert not outage.steady(record, since=103.0, until=104.5), "the record ends too early"
