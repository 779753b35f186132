"""Which Events are posted, and which are cut."""

from __future__ import annotations

import random

from cluster.aggregation import (
    KNOWN_FOR_S,
    MAX_KNOWN,
    MAX_MESSAGE,
    MAX_PENDING,
    Create,
    EventQueue,
    EventSource,
    ObjectReference,
    Patch,
    TokenBucket,
    reference,
)
from cluster.objects import ObjectMeta

START = 5_000.0


def queue() -> EventQueue:
    return EventQueue(EventSource("metallb-speaker", "n1"), rng=random.Random(1), now=START)


def about(name: str, namespace: str = "d") -> ObjectReference:
    return reference("Service", ObjectMeta(name=name, namespace=namespace, uid=f"uid-{name}"))


def add(q: EventQueue, name: str = "web", message: str = "m", now: float = START, wall: str = "t0") -> None:
    q.add(about(name), "Normal", "nodeAssigned", message, wall=wall, now=now)


def test_first_occurrence_is_a_whole_event() -> None:
    q = queue()
    add(q)
    post = q.take(START)
    assert isinstance(post, Create)
    event = post.event
    assert event.metadata.name.startswith("web.")
    assert event.metadata.namespace == "d"
    assert (event.involved_object.kind, event.involved_object.name, event.involved_object.uid) == (
        "Service",
        "web",
        "uid-web",
    )
    assert (event.type, event.reason, event.message, event.count) == ("Normal", "nodeAssigned", "m", 1)
    assert (event.source.component, event.source.host) == ("metallb-speaker", "n1")
    assert (event.first_timestamp, event.last_timestamp) == ("t0", "t0")
    q.done(post, START)
    assert not q


def test_repeats_become_counts() -> None:
    q = queue()
    for wall in ("t0", "t1", "t2"):
        add(q, wall=wall)
    assert len(q) == 1
    first = q.take(START)
    assert isinstance(first, Create)
    assert (first.event.count, first.event.first_timestamp, first.event.last_timestamp) == (3, "t0", "t2")
    q.done(first, START)
    add(q, now=START + 1, wall="t3")
    again = q.take(START + 1)
    assert isinstance(again, Patch)
    assert again.name == first.event.metadata.name
    assert (again.namespace, again.repeat.count, again.repeat.last_timestamp) == ("d", 4, "t3")


def test_other_message_is_another_event() -> None:
    q = queue()
    add(q, message="one")
    add(q, message="two")
    assert len(q) == 2


def test_what_happens_during_a_post_is_not_lost() -> None:
    q = queue()
    add(q)
    post = q.take(START)
    assert post is not None
    add(q)
    add(q)
    q.done(post, START)
    again = q.take(START)
    assert isinstance(again, Patch)
    assert again.repeat.count == 3
    add(q)
    q.done(again, START)
    last = q.take(START)
    assert isinstance(last, Patch)
    assert last.repeat.count == 4
    q.done(last, START)
    assert not q


def test_event_that_the_server_forgot_is_created_anew() -> None:
    q = queue()
    add(q)
    first = q.take(START)
    assert first is not None
    q.done(first, START)
    add(q)
    patch = q.take(START)
    assert isinstance(patch, Patch)
    q.refused(patch)
    create = q.take(START)
    assert isinstance(create, Create)
    q.done(create, START)
    add(q, now=START + KNOWN_FOR_S + 1)
    assert isinstance(q.take(START + KNOWN_FOR_S + 1), Create)
    assert q.dropped == 0


def test_refused_event_is_dropped_and_counted() -> None:
    q = queue()
    add(q)
    add(q)
    post = q.take(START)
    assert post is not None
    q.refused(post)
    assert not q
    assert q.dropped == 2


def test_object_without_namespace_reports_in_default() -> None:
    q = queue()
    q.add(reference("Node", ObjectMeta(name="n1")), "Warning", "r", "m", wall="t", now=START)
    post = q.take(START)
    assert isinstance(post, Create)
    assert post.event.metadata.namespace == "default"
    assert post.event.involved_object.namespace == ""


def test_queue_is_bounded() -> None:
    q = queue()
    for number in range(MAX_PENDING + 50):
        add(q, name=f"s{number}")
    assert len(q) == MAX_PENDING
    assert q.dropped == 50


def test_one_object_cannot_flood() -> None:
    q = queue()
    for number in range(100):
        add(q, message=str(number))
    add(q, name="other")
    assert len(q) == 26
    assert q.dropped == 75
    add(q, message="later", now=START + 301)
    assert len(q) == 27


def test_no_reason_takes_anothers_place() -> None:
    q = queue()
    for number in range(MAX_PENDING + 50):
        kept = q.add(about(f"s{number}"), "Warning", "foreignAnswer", "m", wall="t", now=START)
        assert kept is (number < MAX_PENDING)
    for number in range(50):
        assert q.add(about("s0"), "Warning", "other", f"m{number}", wall="t", now=START) is (number < 25)
    assert q.add(about("s0"), "Normal", "nodeAssigned", "m", wall="t", now=START)
    posted: list[str] = []
    for _ in range(3):
        post = q.take(START)
        assert isinstance(post, Create)
        q.done(post, START)
        posted.append(post.event.reason)
    assert set(posted) == {"foreignAnswer", "other", "nodeAssigned"}, "in turn"


def test_posts_are_spread_over_time() -> None:
    q = queue()
    for number in range(MAX_PENDING):
        add(q, name=f"s{number}")
    now, posted = START, 0
    while q:
        post = q.take(now)
        if post is None:
            assert 0 < q.ready_in() <= 0.1
            now += q.ready_in() + 1e-9
        else:
            q.done(post, now)
            posted += 1
    assert posted == MAX_PENDING
    assert now - START > (MAX_PENDING - 50) / 10 - 1


def test_memory_of_events_is_bounded() -> None:
    q = queue()
    now = START
    for number in range(MAX_KNOWN + 200):
        now += 1
        add(q, name=f"s{number}", now=now)
        post = q.take(now)
        assert post is not None
        q.done(post, now)
    (share,) = q._shares.values()
    assert len(share.known) == MAX_KNOWN
    assert len(share.objects) == MAX_KNOWN


def test_long_texts_are_cut() -> None:
    q = queue()
    add(q, name="x" * 253, message="m" * 5000)
    post = q.take(START)
    assert isinstance(post, Create)
    assert len(post.event.message) == MAX_MESSAGE
    assert len(post.event.metadata.name) <= 253


def test_bucket_never_goes_back_in_time() -> None:
    bucket = TokenBucket(rate=1.0, burst=2, now=10.0)
    assert [bucket.take(10.0), bucket.take(10.0), bucket.take(9.0), bucket.take(10.5)] == [
        True,
        True,
        False,
        False,
    ]
    assert bucket.take(12.0)
