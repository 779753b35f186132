"""One counter, a bounded history, and the past that can be found again."""

from __future__ import annotations

import random

import pytest

from chaos.lab.apiserver.errors import StatusError
from chaos.lab.apiserver.revisions import Revisions
from tests.seed import chosen_seed
from tests.unit.chaos.apiserver.builders import Obj


def _obj(name: str, value: int, namespace: str = "ns") -> Obj:
    return {"kind": "Thing", "metadata": {"namespace": namespace, "name": name}, "value": value}


def _state(found: list[object]) -> list[tuple[str, str, int]]:
    return [
        (r.obj["metadata"]["namespace"], r.obj["metadata"]["name"], r.obj["value"])  # type: ignore[attr-defined]
        for r in found
    ]


def test_any_earlier_moment_can_be_listed() -> None:
    rng = random.Random(chosen_seed())
    revisions = Revisions(history=1000)
    moments: dict[int, list[tuple[str, str, int]]] = {}
    for step in range(300):
        key = (rng.choice(["a", "b", "c"]), f"n{rng.randrange(8)}")
        if revisions.get("things", key) is not None and rng.random() < 0.4:
            revisions.remove("things", key)
        else:
            revisions.put("things", _obj(key[1], step, key[0]))
        if rng.random() < 0.3:
            revisions.put("others", _obj("x", step))
        moments[revisions.revision] = _state(list(revisions.records("things")))
    for revision, state in moments.items():
        assert _state(list(revisions.records("things", at=revision))) == state
        only = [entry for entry in state if entry[0] == "b"]
        assert _state(list(revisions.records("things", "b", revision))) == only


def test_events_after_a_revision() -> None:
    revisions = Revisions(first=10)
    revisions.put("things", _obj("a", 1))
    revisions.put("others", _obj("x", 1))
    revisions.put("things", _obj("a", 2))
    revisions.remove("things", ("ns", "a"))
    assert [(e.revision, e.type) for e in revisions.events_after("things", 10)] == [
        (11, "ADDED"),
        (13, "MODIFIED"),
        (14, "DELETED"),
    ]
    assert [e.revision for e in revisions.events_after("things", 13)] == [14]
    last = revisions.events_after("things", 13)[0]
    assert (last.record.obj["value"], last.record.version) == (2, "14")
    assert revisions.events_after("things", 14) == []


def test_what_was_before_the_first_revision_is_gone() -> None:
    revisions = Revisions(first=10)
    with pytest.raises(StatusError) as refused:
        revisions.events_after("things", 9)
    assert (refused.value.code, refused.value.reason) == (410, "Expired")


def test_the_history_is_bounded_and_says_so() -> None:
    revisions = Revisions(history=10, first=0)
    for at in range(100):
        revisions.put("things", _obj("a", at))
    kept = [since for since in range(100) if _answers(revisions, since)]
    assert kept == list(range(kept[0], 100))
    assert 10 <= len(kept) <= 20
    assert len(revisions.events_after("things", kept[0])) == 100 - kept[0]


def _answers(revisions: Revisions, since: int) -> bool:
    try:
        revisions.events_after("things", since)
    except StatusError:
        return False
    return True


def test_forgetting_leaves_only_the_present() -> None:
    revisions = Revisions(first=0)
    revisions.put("things", _obj("a", 1))
    revisions.forget()
    assert not _answers(revisions, 0)
    assert _answers(revisions, 1)


def test_listeners_are_called_until_they_leave() -> None:
    revisions = Revisions()
    calls: list[int] = []
    leave = revisions.subscribe("things", lambda: calls.append(revisions.revision))
    revisions.put("things", _obj("a", 1))
    revisions.put("others", _obj("a", 1))
    leave()
    revisions.put("things", _obj("a", 2))
    assert calls == [101]
