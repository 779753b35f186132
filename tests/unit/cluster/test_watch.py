"""The list-and-watch machine, driven through what API servers do, well and badly."""

from __future__ import annotations

import random

import pytest

from cluster.backoff import Backoff
from cluster.errors import ApiError, UnreachableError
from cluster.objects import Service
from cluster.watch import (
    MAX_LINE_BYTES,
    READ_GRACE_S,
    WATCH_TIMEOUT_S,
    CloseWatch,
    Deleted,
    ListWatch,
    ObjectSkipped,
    OpenWatch,
    Output,
    Recovered,
    RequestPage,
    Synced,
    Trouble,
    Upserted,
)
from cluster.wire import MAX_PAGES, Page, Skipped
from tests.unit.cluster.support import bookmark, event, page, service, status

DOWN = UnreachableError("GET /api/v1/services: ConnectError: refused")


def shown(outputs: list[Output[Service]]) -> list[str]:
    """Outputs as short text, requests and news alike."""
    texts = []
    for output in outputs:
        match output:
            case Upserted(obj=obj, old=old):
                before = f" was {old.metadata.resource_version}" if old else ""
                texts.append(f"+{obj.metadata.name}@{obj.metadata.resource_version}{before}")
            case Deleted(obj=obj):
                texts.append(f"-{obj.metadata.name}@{obj.metadata.resource_version}")
            case RequestPage(continue_token=token):
                texts.append(f"page {token}".rstrip())
            case OpenWatch(resource_version=version):
                texts.append(f"watch {version}")
            case CloseWatch():
                texts.append("close")
            case Synced():
                texts.append("synced")
            case Recovered():
                texts.append("recovered")
            case Trouble():
                texts.append("trouble")
            case ObjectSkipped(error=error):
                texts.append(f"skipped {error}")
    return texts


class Machine:
    """A ListWatch with a clock of its own and a back-off that is easy to read."""

    def __init__(self, seed: int = 1, backoff: Backoff | None = None) -> None:
        self.now = 1_000_000.0
        self.core = ListWatch(Service, rng=random.Random(seed), backoff=backoff)

    def synced(self) -> bool:
        return self.core.synced

    def error(self) -> str | None:
        return self.core.last_error

    def out(self) -> list[str]:
        return shown(self.core.take_outputs())

    def page(self, page: Page[Service]) -> list[str]:
        self.core.receive_page(page, self.now)
        return self.out()

    def data(self, data: bytes) -> list[str]:
        self.core.receive_data(data, self.now)
        return self.out()

    def fail(self, error: UnreachableError | ApiError = DOWN, **how: float) -> list[str]:
        expired = isinstance(error, ApiError) and error.expired
        self.core.request_failed(
            error, self.now, expired=expired, retry_after_s=how.get("retry_after_s", 0.0)
        )
        return self.out()

    def open(self) -> list[str]:
        self.core.watch_opened(self.now)
        return self.out()

    def end(self) -> list[str]:
        self.core.watch_ended(self.now)
        return self.out()

    def wait(self) -> float:
        """Jump to the deadline; how long that was."""
        deadline = self.core.next_deadline()
        assert deadline is not None
        waited, self.now = deadline - self.now, deadline
        self.core.handle_timer(self.now)
        return waited

    def watching(self, *objects: dict[str, object], version: int = 10) -> None:
        """Get to an open watch."""
        self.core.start()
        assert self.out() == ["page"]
        self.page(page(version, *objects))
        assert self.open() == []


def test_first_list_then_watch() -> None:
    m = Machine()
    m.core.start()
    assert m.out() == ["page"]
    assert m.core.next_deadline() is None
    assert m.page(page(10, service("a", 1), service("b", 2), more="t1")) == ["page t1"]
    assert not m.core.store, "half a list is no knowledge"
    assert not m.synced()
    assert m.page(page(11, service("c", 3))) == ["+a@1", "+b@2", "+c@3", "synced", "watch 11"]
    assert m.synced()
    assert set(m.core.store) == {"d/a", "d/b", "d/c"}
    m.core.start()
    assert m.out() == []


def test_watch_asks_for_bookmarks_and_a_random_timeout() -> None:
    timeouts = set()
    for seed in range(50):
        m = Machine(seed)
        m.core.start()
        m.core.take_outputs()
        m.core.receive_page(page(10), m.now)
        request = m.core.take_outputs()[-1]
        assert isinstance(request, OpenWatch)
        assert WATCH_TIMEOUT_S[0] <= request.timeout_s <= WATCH_TIMEOUT_S[1]
        assert request.params() == {
            "resourceVersion": "10",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(request.timeout_s),
        }
        timeouts.add(request.timeout_s)
    assert len(timeouts) > 20


def test_events_are_differences() -> None:
    m = Machine()
    m.watching(service("a", 1))
    assert m.data(event("ADDED", service("b", 11))) == ["+b@11"]
    assert m.data(event("MODIFIED", service("a", 12)) + event("DELETED", service("b", 13))) == [
        "+a@12 was 1",
        "-b@11",
    ]
    assert m.data(event("DELETED", service("b", 14))) == [], "unknown already"
    assert m.data(event("ADDED", service("a", 12))) == [], "known in this version"
    assert {key: obj.metadata.resource_version for key, obj in m.core.store.items()} == {"d/a": "12"}


def test_recreated_object_is_another_object() -> None:
    m = Machine()
    m.watching(service("a", 1, uid="first"))
    assert m.data(event("MODIFIED", service("a", 11, uid="second"))) == ["-a@1", "+a@11"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000])
def test_any_split_of_the_bytes(size: int) -> None:
    stream = event("ADDED", service("ä", 11)) + b"\n\r\n" + bookmark(12) + event("MODIFIED", service("ä", 13))
    m = Machine()
    m.watching()
    news = [text for start in range(0, len(stream), size) for text in m.data(stream[start : start + size])]
    assert news == ["+ä@11", "+ä@13 was 11"]


def test_closing_server_resumes_at_the_last_version_without_repeats() -> None:
    m = Machine()
    m.watching(service("a", 1))
    m.data(event("MODIFIED", service("a", 11)))
    m.now += 300
    assert m.end() == ["watch 11"], "a watch that ran its time is followed at once"
    assert m.open() == []
    assert m.data(event("MODIFIED", service("a", 11))) == []


def test_bookmark_moves_the_version() -> None:
    m = Machine()
    m.watching()
    assert m.data(bookmark(99)) == []
    m.now += 300
    assert m.end() == ["watch 99"]


def test_gone_as_event_lists_again_and_tells_differences_only() -> None:
    m = Machine()
    m.watching(service("a", 1), service("b", 2), service("c", 3))
    assert m.data(status(410, "Expired")) == ["close", "page"]
    assert m.page(page(50, service("d", 41), service("b", 42), service("a", 1))) == [
        "-c@3",
        "+d@41",
        "+b@42 was 2",
        "watch 50",
    ]


def test_gone_as_http_status_lists_again() -> None:
    m = Machine()
    m.core.start()
    m.out()
    m.page(page(10, service("a", 1)))
    assert m.fail(ApiError(410, "Expired", "too old")) == ["page"]
    assert m.page(page(20, service("a", 1))) == ["watch 20"]


def test_server_that_keeps_saying_gone_is_not_stormed() -> None:
    m = Machine(backoff=Backoff(random.Random(3), first_s=1.0, cap_s=30.0))
    m.watching()
    started, lists = m.now, 0
    for _ in range(30):
        out = m.data(status(410, "Expired"))
        if "page" not in out:
            m.wait()
            out = m.out()
        assert out[-1] == "page"
        lists += 1
        assert m.page(page(10))[-1] == "watch 10"
        m.open()
    assert lists == 30
    assert m.now - started > 100, "30 s apart in the long run, halved by the jitter"


def test_gone_in_the_middle_of_a_list_starts_it_over() -> None:
    m = Machine()
    m.core.start()
    m.out()
    m.page(page(10, service("a", 1), more="t"))
    assert m.fail(ApiError(410, "Expired", "continue token too old")) == ["page"]
    assert m.page(page(12, service("b", 2))) == ["+b@2", "synced", "watch 12"]


def test_failing_server_is_asked_ever_less_often() -> None:
    m = Machine(backoff=Backoff(random.Random(5), first_s=0.5, cap_s=30.0))
    m.core.start()
    assert m.out() == ["page"]
    waits = []
    for _ in range(400):
        assert m.fail() == ["trouble"]
        assert m.core.last_error == str(DOWN)
        waits.append(m.wait())
        assert m.out() == ["page"]
    assert max(waits) <= 30.0
    assert waits[0] <= 0.5
    assert sum(waits[10:]) / len(waits[10:]) == pytest.approx(15, rel=0.15), "full jitter under a cap of 30 s"


def test_recovery_is_said_once_and_resets_the_backoff() -> None:
    m = Machine(backoff=Backoff(random.Random(5), first_s=0.5, cap_s=30.0))
    m.watching(service("a", 1))
    for _ in range(10):
        m.fail()
        m.wait()
        assert m.out() == ["watch 10"]
    assert m.error() == str(DOWN)
    assert m.open() == ["recovered"]
    assert m.error() is None
    m.data(event("MODIFIED", service("a", 11)))
    assert m.fail() == ["trouble"]
    assert m.wait() <= 0.5


def test_list_alone_does_not_reset_the_backoff() -> None:
    m = Machine(backoff=Backoff(random.Random(5), first_s=0.5, cap_s=30.0))
    m.core.start()
    m.out()
    started = m.now
    for _ in range(40):
        m.page(page(10))
        m.fail(ApiError(500, "InternalError", "etcd"))
        m.wait()
        m.out()
    assert m.now - started > 40 * 5


def test_closing_at_once_without_events_is_not_stormed() -> None:
    m = Machine(backoff=Backoff(random.Random(7), first_s=0.5, cap_s=30.0))
    m.watching()
    started = m.now
    for _ in range(40):
        assert m.end() == []
        m.wait()
        assert m.out() == ["watch 10"]
        m.open()
    assert m.now - started > 40 * 5


def test_repeated_events_are_no_progress() -> None:
    m = Machine(backoff=Backoff(random.Random(7), first_s=0.5, cap_s=30.0))
    m.watching(service("a", 9))
    m.data(event("ADDED", service("a", 10)))
    started = m.now
    for _ in range(40):
        assert m.data(event("ADDED", service("a", 10))) == []
        m.end()
        m.wait()
        assert m.out() == ["watch 10"]
        m.open()
    assert m.now - started > 40 * 5


def test_retry_after_is_respected_within_reason() -> None:
    m = Machine()
    m.core.start()
    m.out()
    m.fail(ApiError(429, "TooManyRequests", "slow down"), retry_after_s=7.0)
    assert m.wait() >= 7.0
    m.out()
    m.fail(ApiError(429, "TooManyRequests", "slow down"), retry_after_s=99_999.0)
    assert m.wait() <= 60.0


def test_other_error_event_resumes_later() -> None:
    m = Machine()
    m.watching()
    assert m.data(status(500, "InternalError")) == ["close", "trouble"]
    assert "500 InternalError: m" in (m.core.last_error or "")
    m.wait()
    assert m.out() == ["watch 10"]


def test_half_open_connection_is_given_up() -> None:
    m = Machine()
    m.watching()
    m.data(bookmark(12))
    waited = m.wait()
    assert WATCH_TIMEOUT_S[0] + READ_GRACE_S <= waited <= WATCH_TIMEOUT_S[1] + READ_GRACE_S
    assert m.out() == ["close", "trouble"]
    m.wait()
    assert m.out() == ["watch 12"]


def test_early_timer_does_nothing() -> None:
    m = Machine()
    m.core.handle_timer(m.now)
    m.watching()
    m.core.handle_timer(m.now + 200)
    assert m.out() == []
    m.fail()
    deadline = m.core.next_deadline()
    assert deadline is not None
    m.core.handle_timer(deadline - 1e-6)
    assert m.out() == []


GARBAGE = {
    "text": b"<html>502 Bad Gateway</html>\n",
    "cut": b'{"type":"ADDED","object":{"metadata":\n',
    "list": b"[1]\n",
    "no type": b"{}\n",
    "no object": b'{"type":"ADDED"}\n',
    "no version": b'{"type":"ADDED","object":{"metadata":{"name":"a"}}}\n',
    "bytes": b"\xff\xfe\n",
    "deep": b"[" * 100_000 + b"\n",
    "deep object": b'{"type":"ADDED","object":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n",
    "error without status": b'{"type":"ERROR","object":3}\n',
}


@pytest.mark.parametrize("line", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_resumes_once_and_lists_the_second_time(line: bytes) -> None:
    m = Machine()
    m.watching(service("a", 1))
    assert m.data(line + event("MODIFIED", service("a", 11))) == ["close", "trouble"]
    m.wait()
    assert m.out() == ["watch 10"]
    m.open()
    assert m.data(line) == ["close", "trouble"]
    m.wait()
    assert m.out() == ["page"]
    assert m.page(page(12, service("a", 11))) == ["+a@11 was 1", "watch 12"]


def test_endless_line_is_bounded() -> None:
    m = Machine()
    m.watching()
    chunk = b"x" * 2**20
    for _ in range(MAX_LINE_BYTES // len(chunk)):
        assert m.data(chunk) == []
    assert m.data(chunk) == ["close", "trouble"]
    assert str(MAX_LINE_BYTES) in (m.core.last_error or "")


def test_bad_object_is_passed_over_and_the_rest_goes_on() -> None:
    m = Machine()
    m.watching(service("a", 1))
    bad = {
        "metadata": {"name": "a", "namespace": "d", "resourceVersion": "11", "uid": "a"},
        "spec": {"ports": 3},
    }
    skipped, added = m.data(event("MODIFIED", bad) + event("ADDED", service("b", 12)))
    assert skipped.startswith("skipped d/a: Expected `array`, got `int` - at `$.spec.ports`")
    assert added == "+b@12"
    assert m.core.store["d/a"].metadata.resource_version == "1", "the last version understood stays"
    m.now += 300
    assert m.end() == ["watch 12"]


def test_bad_object_in_a_list_keeps_its_last_good_version() -> None:
    m = Machine()
    m.watching(service("a", 1), service("b", 2))
    m.data(status(410, "Gone"))
    out = m.page(Page([], "20", "", (Skipped("d/a", "d/a: bad"), Skipped("d/new", "d/new: bad"))))
    assert out == ["skipped d/a: bad", "skipped d/new: bad", "-b@2", "watch 20"]
    assert set(m.core.store) == {"d/a"}


def test_unknown_event_type_is_passed_over() -> None:
    m = Machine()
    m.watching()
    assert m.data(event("ODD", service("c", 13))) == ["skipped watch event of unknown type 'ODD'"]


def test_list_without_version_is_refused() -> None:
    m = Machine()
    m.core.start()
    m.out()
    assert m.page(Page([], "")) == ["trouble"]
    assert not m.synced()


def test_endless_list_is_given_up() -> None:
    m = Machine()
    m.core.start()
    m.out()
    for _ in range(MAX_PAGES - 1):
        assert m.page(page(10, service("a", 1), more="again")) == ["page again"]
    assert m.page(page(10, service("a", 1), more="again")) == ["trouble"]
    m.wait()
    assert m.out() == ["page"]
    assert m.page(page(10, service("a", 1)))[0] == "+a@1"


def test_inputs_in_the_wrong_state_do_nothing() -> None:
    m = Machine()
    for act in (m.open, m.end, m.fail, lambda: m.data(bookmark(3)), lambda: m.page(page(3))):
        assert act() == []
    assert m.core.next_deadline() is None
