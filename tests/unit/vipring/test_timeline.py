"""Who was alive when, rebuilt from log lines."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from vipring.timeline import at, rebuild


def line(ts: str, node: str, event: str, member: str, incarnation: int = 1, **more: object) -> str:
    return json.dumps(
        {
            "ts": f"2026-11-22T10:00:{ts}Z",
            "node": node,
            "event": event,
            "member": member,
            "incarnation": incarnation,
            "address": "198.18.0.12",
            **more,
        }
    )


N1 = [
    line("00.000000000", "n1", "memberJoined", "n2"),
    line("00.1", "n1", "memberJoined", "n3"),
    line("10.5", "n1", "memberSuspect", "n2", by="n3"),
    line("14.5", "n1", "memberDead", "n2", by="n3"),
    line("30", "n1", "memberJoined", "n2", incarnation=2),
]
N3 = [
    line("00.2", "n3", "memberJoined", "n2"),
    line("10.4", "n3", "memberSuspect", "n2", by="n3"),
    line("14.6", "n3", "memberDead", "n2", by="n1"),
    line("30.2", "n3", "memberJoined", "n2", incarnation=2),
]


def test_phases_of_a_death_and_a_return_seen_by_two() -> None:
    told = rebuild([("one.log", N1), ("three.log", N3)])
    assert told.observers == ["n1", "n3"]
    assert [(p.state, p.incarnation, p.start[17:-1], p.end and p.end[17:-1]) for p in told.members["n2"]] == [
        ("alive", 1, "00.000000000", "10.4"),
        ("suspect", 1, "10.4", "14.5"),
        ("dead", 1, "14.5", "30"),
        ("alive", 2, "30", None),
    ]
    dead = told.members["n2"][2]
    assert {who: ts[17:-1] for who, ts in dead.seen_by.items()} == {"n1": "14.5", "n3": "14.6"}
    assert list(told.members) == ["n2", "n3"]


def test_the_order_of_the_sources_does_not_matter() -> None:
    assert rebuild([("a", N1), ("b", N3)]) == rebuild([("b", N3), ("a", N1)])
    assert rebuild([("x", [*N3, *N1])]) == rebuild([("a", N1), ("b", N3)])


def test_a_late_observer_joins_the_phase_that_others_saw_pass() -> None:
    told = rebuild(
        [
            ("a", N1),
            (
                "b",
                [
                    line("14.9", "n4", "memberSuspect", "n2", by="n1"),
                    line("15", "n4", "memberDead", "n2", by="n1"),
                ],
            ),
        ]
    )
    assert [phase.state for phase in told.members["n2"]] == ["alive", "suspect", "dead", "alive"]
    assert "n4" in told.members["n2"][1].seen_by
    assert "n4" in told.members["n2"][2].seen_by


def test_a_refuted_suspicion() -> None:
    told = rebuild([("a", [N1[0], N1[2], line("11", "n1", "memberAlive", "n2", incarnation=2)])])
    assert [(phase.state, phase.incarnation) for phase in told.members["n2"]] == [
        ("alive", 1),
        ("suspect", 1),
        ("alive", 2),
    ]


def test_who_held_what_at_a_moment() -> None:
    told = rebuild([("a", N1), ("b", N3)])
    assert at(told, "2026-11-22T10:00:14.55Z")["n2"] == {"n1": "dead", "n3": "suspect"}
    assert at(told, "2026-11-22T10:00:29Z")["n2"] == {"n1": "dead", "n3": "dead"}
    assert at(told, "2026-11-22T09:00:00Z") == {}


def test_other_lines_prefixes_and_garbage() -> None:
    told = rebuild(
        [
            (
                "stdin",
                [
                    "[pod/speaker-x/speaker] "
                    + json.dumps({"ts": "2026-11-22T10:00:00Z", "event": "memberJoined", "member": "n2"}),
                    json.dumps(
                        {"ts": "2026-11-22T10:00:01Z", "node": "n1", "event": "announced", "ip": "198.18.1.0"}
                    ),
                    "plain text",
                    "{broken",
                    "",
                    json.dumps({"event": "memberDead", "member": "n2"}),
                    json.dumps({"ts": 5, "event": "memberDead"}),
                ],
            )
        ]
    )
    assert told.observers == ["n1", "pod/speaker-x/speaker"]
    assert [seen.observer for seen in told.sightings] == ["pod/speaker-x/speaker"]
    assert told.skipped == 2


@given(
    st.lists(
        st.one_of(
            st.text(), st.binary().map(lambda raw: raw.decode("utf-8", "replace")), st.sampled_from(N1 + N3)
        )
    )
)
def test_any_lines_are_survived(lines: list[str]) -> None:
    told = rebuild([("x", lines)])
    for phases in told.members.values():
        assert all(phase.end is not None for phase in phases[:-1])
        assert phases[-1].end is None
        assert all(phase.seen_by for phase in phases)
