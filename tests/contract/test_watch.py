"""Watches: from a version, from nothing, with selectors, bookmarks, and versions that are too old."""

from __future__ import annotations

import itertools
import json
import time

import pytest

from tests.contract.client import TABLE, Api, Obj, config_map, eventually

_NUMBERS = itertools.count()


@pytest.fixture
def mark() -> str:
    """A label value of this test's own."""
    return f"watch-{next(_NUMBERS)}"


def _create(api: Api, ns: str, name: str, mark: str) -> Obj:
    return api.post(f"{ns}/configmaps", config_map(name, labels={"mark": mark}))


def _seen(events: list[Obj]) -> list[tuple[str, str]]:
    return [(event["type"], event["object"]["metadata"].get("name", "")) for event in events]


def _version(obj: Obj) -> int:
    return int(obj["metadata"]["resourceVersion"])


def test_a_watch_from_a_version_gives_what_came_after(api: Api, ns: str, mark: str) -> None:
    _create(api, ns, f"{mark}-before", mark)
    start = api.get(f"{ns}/configmaps")["metadata"]["resourceVersion"]
    _create(api, ns, f"{mark}-a", mark)
    api.patch(f"{ns}/configmaps/{mark}-a", {"data": {"a": "2"}})
    api.delete(f"{ns}/configmaps/{mark}-a")
    _create(api, ns, f"{mark}-b", mark)
    events = api.watch(
        f"{ns}/configmaps", lambda found: len(found) == 4, resourceVersion=start, labelSelector=f"mark={mark}"
    )
    assert _seen(events) == [
        ("ADDED", f"{mark}-a"),
        ("MODIFIED", f"{mark}-a"),
        ("DELETED", f"{mark}-a"),
        ("ADDED", f"{mark}-b"),
    ]
    versions = [_version(event["object"]) for event in events]
    assert versions == sorted(set(versions))
    assert versions[0] > int(start)
    assert events[2]["object"]["data"] == {"a": "2"}
    resumed = api.watch(
        f"{ns}/configmaps",
        lambda found: len(found) == 2,
        resourceVersion=versions[1],
        labelSelector=f"mark={mark}",
    )
    assert _seen(resumed) == _seen(events)[2:]


@pytest.mark.parametrize("version", ["", "0"])
def test_a_watch_without_a_version_begins_with_the_state(api: Api, ns: str, mark: str, version: str) -> None:
    for at in range(3):
        _create(api, ns, f"{mark}-{at}", mark)
    params = {"resourceVersion": version} if version else {}
    selector = f"mark={mark}"

    def complete() -> bool:
        # With version "0" a server may answer from a cache that has not caught up.
        events = api.watch(
            f"{ns}/configmaps", lambda found: len(found) == 3, labelSelector=selector, **params
        )
        return sorted(_seen(events)) == [("ADDED", f"{mark}-{at}") for at in range(3)]

    eventually("the state is complete", complete)


def test_a_watch_goes_on_with_what_happens(api: Api, ns: str, mark: str) -> None:
    start = api.get(f"{ns}/configmaps")["metadata"]["resourceVersion"]
    params: dict[str, str | int] = {
        "watch": "true",
        "resourceVersion": start,
        "labelSelector": f"mark={mark}",
        "timeoutSeconds": 20,
    }
    with api.http.stream("GET", f"{ns}/configmaps", params=params) as answer:
        assert answer.status_code == 200
        lines = answer.iter_lines()
        for at in range(3):
            _create(api, ns, f"{mark}-{at}", mark)
            event = json.loads(next(lines))
            assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", f"{mark}-{at}")


def test_a_selector_sees_objects_come_and_go(api: Api, ns: str, mark: str) -> None:
    start = api.get(f"{ns}/configmaps")["metadata"]["resourceVersion"]
    _create(api, ns, f"{mark}-x", "other")
    api.patch(f"{ns}/configmaps/{mark}-x", {"metadata": {"labels": {"mark": mark}}})
    api.patch(f"{ns}/configmaps/{mark}-x", {"data": {"a": "2"}})
    api.patch(f"{ns}/configmaps/{mark}-x", {"metadata": {"labels": {"mark": "other"}}})
    events = api.watch(
        f"{ns}/configmaps", lambda found: len(found) == 3, resourceVersion=start, labelSelector=f"mark={mark}"
    )
    name = f"{mark}-x"
    assert _seen(events) == [("ADDED", name), ("MODIFIED", name), ("DELETED", name)]
    assert _version(events[2]["object"]) > _version(events[1]["object"])


def test_one_object_by_field(api: Api, ns: str, mark: str) -> None:
    start = api.get(f"{ns}/configmaps")["metadata"]["resourceVersion"]
    _create(api, ns, f"{mark}-x", mark)
    _create(api, ns, f"{mark}-y", mark)
    events = api.watch(
        f"{ns}/configmaps",
        lambda found: len(found) == 1,
        resourceVersion=start,
        fieldSelector=f"metadata.name={mark}-y",
    )
    assert _seen(events) == [("ADDED", f"{mark}-y")]


def test_a_watch_ends_when_its_time_is_over(api: Api, ns: str) -> None:
    start = api.get(f"{ns}/configmaps")["metadata"]["resourceVersion"]
    began = time.monotonic()
    events = api.watch(f"{ns}/configmaps", lambda _: False, resourceVersion=start, timeoutSeconds=1)
    assert events == []
    assert time.monotonic() - began < 10


def test_bookmarks_come_when_asked_for_and_can_be_resumed_from(api: Api, ns: str, mark: str) -> None:
    start = api.get(f"{ns}/configmaps")["metadata"]["resourceVersion"]
    _create(api, ns, f"{mark}-unseen", "other")
    # A kube-apiserver sends its bookmark two seconds before the end of a watch that ends before a minute,
    # and only when something has happened to the kind since the watch began.
    events = api.watch(
        f"{ns}/configmaps",
        lambda found: found[-1]["type"] == "BOOKMARK",
        resourceVersion=start,
        labelSelector=f"mark={mark}",
        allowWatchBookmarks="true",
        timeoutSeconds=10,
    )
    bookmark = events[-1]["object"]
    assert bookmark["kind"] == "ConfigMap"
    assert _version(bookmark) >= int(start)
    assert "data" not in bookmark
    _create(api, ns, f"{mark}-later", mark)
    after = api.watch(
        f"{ns}/configmaps",
        lambda found: len(found) == 1,
        resourceVersion=bookmark["metadata"]["resourceVersion"],
        labelSelector=f"mark={mark}",
    )
    assert _seen(after) == [("ADDED", f"{mark}-later")]


def test_initial_events_end_with_a_bookmark(api: Api, ns: str, mark: str) -> None:
    _create(api, ns, f"{mark}-x", mark)
    events = api.watch(
        f"{ns}/configmaps",
        lambda found: found[-1]["type"] == "BOOKMARK",
        labelSelector=f"mark={mark}",
        sendInitialEvents="true",
        resourceVersionMatch="NotOlderThan",
        allowWatchBookmarks="true",
    )
    assert _seen(events)[:-1] == [("ADDED", f"{mark}-x")]
    assert events[-1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_a_version_that_is_too_old_is_gone(api: Api, ns: str) -> None:
    """Version 1 is before anything that a server still remembers; 410 comes as an event or as the status.

    (A kube-apiserver that has run since its store was empty remembers that far: start it anew.)
    """
    params: dict[str, str | int] = {"watch": "true", "resourceVersion": "1", "timeoutSeconds": 5}
    with api.http.stream("GET", f"{ns}/configmaps", params=params) as answer:
        first = json.loads(next(answer.iter_lines()))
        if answer.status_code == 200:
            assert first["type"] == "ERROR"
            first = first["object"]
        else:
            assert answer.status_code == 410
    assert (first["kind"], first["code"]) == ("Status", 410)
    assert first["reason"] in ("Expired", "Gone")


def test_a_version_that_is_no_number_is_refused(api: Api, ns: str) -> None:
    found = api.call("GET", f"{ns}/configmaps", expect=(400, 422, 500), watch="true", resourceVersion="x")
    assert found["status"] == "Failure"


def test_tables_in_a_watch(api: Api, ns: str, mark: str) -> None:
    start = api.get(f"{ns}/configmaps")["metadata"]["resourceVersion"]
    _create(api, ns, f"{mark}-x", mark)
    events = api.watch(
        f"{ns}/configmaps",
        lambda found: len(found) == 1,
        accept=TABLE,
        resourceVersion=start,
        labelSelector=f"mark={mark}",
    )
    table = events[0]["object"]
    assert (events[0]["type"], table["kind"]) == ("ADDED", "Table")
    assert table["rows"][0]["cells"][0] == f"{mark}-x"
