"""Retries on a clock that the test moves."""

from __future__ import annotations

import random

import pytest

from controller.workqueue import WorkQueue


@pytest.fixture
def queue() -> WorkQueue:
    return WorkQueue(random.Random(1))


def test_first_in_first_out_and_each_key_once(queue: WorkQueue) -> None:
    for key in "abca":
        queue.add(key)
    assert [queue.take(0.0) for _ in range(4)] == ["a", "b", "c", None]
    assert queue.next_deadline() is None
    assert len(queue) == 3


def test_a_key_added_while_it_is_worked_on_comes_again(queue: WorkQueue) -> None:
    queue.add("a")
    assert queue.take(0.0) == "a"
    queue.add("a")
    assert queue.take(0.0) is None
    queue.done("a")
    assert queue.take(0.0) == "a"
    queue.done("a")
    assert len(queue) == 0


def test_a_failing_key_waits_longer_each_time_and_holds_up_no_other(queue: WorkQueue) -> None:
    now, ceilings = 1000.0, []
    queue.add("bad")
    for _ in range(12):
        assert queue.take(now) == "bad"
        delay = queue.failed("bad", now, everything=False)
        ceilings.append(delay)
        assert queue.next_deadline() == pytest.approx(now + delay)
        assert queue.take(now + delay * 0.99) is None or delay == 0
        queue.add("good")
        assert queue.take(now) == "good"
        queue.done("good")
        now += delay
    assert max(ceilings[:3]) <= 0.2
    assert max(ceilings) > 5
    assert max(ceilings) <= 30


def test_an_added_key_is_due_at_once(queue: WorkQueue) -> None:
    queue.add("a")
    queue.take(0.0)
    queue.failed("a", 0.0, everything=False, retry_after_s=60.0)
    queue.add("a")
    assert queue.take(0.0) == "a"
    queue.done("a")
    assert queue.take(100.0) is None
    assert queue.next_deadline() is None


def test_a_server_away_pauses_everything(queue: WorkQueue) -> None:
    for key in "abc":
        queue.add(key)
    assert [queue.take(5.0), queue.take(5.0)] == ["a", "b"]
    delay = queue.failed("a", 5.0, everything=True, retry_after_s=2.0)
    assert delay >= 2.0
    assert queue.failed("b", 5.0, everything=True) == delay
    assert queue.take(5.0 + delay * 0.9) is None
    assert queue.next_deadline() == 5.0 + delay
    assert {queue.take(5.0 + delay) for _ in range(3)} == {"a", "b", "c"}


def test_a_success_ends_the_pause(queue: WorkQueue) -> None:
    for key in "ab":
        queue.add(key)
        queue.take(0.0)
    queue.failed("a", 0.0, everything=True, retry_after_s=9.0)
    queue.done("b")
    assert queue.take(0.0) == "a"


def test_a_key_that_met_a_dead_server_goes_behind_the_others(queue: WorkQueue) -> None:
    for key in "ab":
        queue.add(key)
    assert queue.take(0.0) == "a"
    delay = queue.failed("a", 0.0, everything=True)
    assert queue.take(delay) == "b"
    assert queue.take(delay) == "a"
