"""Who was alive when, rebuilt from log lines."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vipring.timeline import NEWS_S, Phase, Timeline, at, moment, rebuild


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


def states(told: Timeline, ts: str) -> dict[str, dict[str, str]]:
    return {name: {who: seen.state for who, seen in view.items()} for name, view in at(told, ts).items()}


def test_who_held_what_at_a_moment() -> None:
    told = rebuild([("a", N1), ("b", N3)])
    assert states(told, "2026-11-22T10:00:14.55Z")["n2"] == {"n1": "dead", "n3": "suspect"}
    assert states(told, "2026-11-22T12:00:14.55+02:00")["n2"] == {"n1": "dead", "n3": "suspect"}
    assert states(told, "2026-11-22T10:00:29Z")["n2"] == {"n1": "dead", "n3": "dead"}
    assert at(told, "2026-11-22T09:00:00Z") == {}
    with pytest.raises(ValueError, match="'noon' is no moment; allowed: 2026"):
        at(told, "noon")


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
                    json.dumps({"ts": "noon", "node": "n7", "event": "memberDead", "member": "n2"}),
                ],
            )
        ]
    )
    assert told.observers == ["n1", "pod/speaker-x/speaker"]
    assert [seen.observer for seen in told.sightings] == ["pod/speaker-x/speaker"]
    assert told.skipped == 3


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


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026-11-22T10:00:05.1Z", "2026-11-22T10:00:05.100000000Z"),
        ("2026-11-22t10:00:05z", "2026-11-22T10:00:05.000Z"),
        ("2026-11-22 10:00:05.250", "2026-11-22T10:00:05.25Z"),
        ("2026-11-22T00:30:00+02:30", "2026-11-21T22:00:00Z"),
        ("2026-11-21T22:00:00-05:00", "2026-11-22T03:00:00Z"),
        ("2026-11-22T10:00:05.1234567891Z", "2026-11-22T10:00:05.123456789Z"),
    ],
)
def test_moments_are_compared_as_times(text: str, same: str) -> None:
    assert moment(text) == moment(same) is not None


@pytest.mark.parametrize(
    "text", ["", "nonsense", "10:00", "2026-11-22", "2026-13-01T00:00:00Z", "2026-11-22T25:00:00Z", "1e9"]
)
def test_what_is_no_moment(text: str) -> None:
    assert moment(text) is None


def test_nanoseconds_since_the_epoch() -> None:
    assert moment("1970-01-01T00:00:01.000000002Z") == 1_000_000_002


def test_sightings_are_sorted_as_times() -> None:
    east = line("00", "n1", "memberJoined", "n2").replace("10:00:00Z", "12:00:00+02:00")
    told = rebuild([("a", [line("01", "n3", "memberDead", "n2"), east])])
    assert [phase.state for phase in told.members["n2"]] == ["alive", "dead"]


def joined(observer: str, *members: str) -> list[str]:
    return [line("00", observer, "memberJoined", member) for member in members]


NAMES = ("n1", "n2", "n3", "n4", "n5")


def cluster() -> dict[str, list[str]]:
    """The logs of five speakers that have met."""
    return {name: joined(name, *(other for other in NAMES if other != name)) for name in NAMES}


def phases(logs: dict[str, list[str]], member: str) -> list[Phase]:
    return rebuild(logs.items()).members[member]


def test_an_observer_that_is_cut_off_disagrees() -> None:
    logs = cluster()
    for name in ("n1", "n2", "n3"):
        logs[name] += [line("10.5", name, "memberDead", "n4"), line("11", name, "memberDead", "n5")]
    for member in ("n1", "n2", "n3"):
        logs["n5"].append(line("11.1", "n5", "memberDead", member))
    logs["n5"].append(line("55", "n5", "memberDead", "n4"))
    alive, dead = phases(logs, "n4")
    assert alive.disagreeing == {}
    assert dead.disagreeing == {"n5": "alive"}
    assert dead.seen_by["n5"][17:-1] == "55"
    # To n5 all the others are dead; they know better of each other.
    _, called_dead = phases(logs, "n1")
    assert called_dead.seen_by.keys() == {"n5"}
    assert called_dead.disagreeing == {"n2": "alive", "n3": "alive"}


def test_news_on_its_way_is_no_disagreement() -> None:
    logs = cluster()
    for name, second in (("n1", 10.0), ("n2", 10.2), ("n3", 10.0 + NEWS_S), ("n5", 10.1 + NEWS_S)):
        logs[name].append(line(f"{second:.1f}", name, "memberDead", "n4"))
    _, dead = phases(logs, "n4")
    assert dead.disagreeing == {"n5": "alive"}
    assert len(dead.seen_by) == 4


def test_a_phase_that_was_soon_over_has_no_disagreement() -> None:
    logs = cluster()
    logs["n1"] += [line("10", "n1", "memberSuspect", "n4"), line("11", "n1", "memberAlive", "n4")]
    alive, suspect, again = phases(logs, "n4")
    assert (suspect.state, suspect.disagreeing, again.disagreeing) == ("suspect", {}, {})
    assert alive.disagreeing == {}


def test_the_log_of_a_dead_observer_is_no_disagreement() -> None:
    logs = cluster()
    for name in ("n1", "n2", "n3"):
        logs[name] += [line("10", name, "memberDead", "n4"), line("10", name, "memberDead", "n5")]
    assert [phase.disagreeing for phase in phases(logs, "n4")] == [{}, {}]
    # But one that goes on writing lives, whatever the others say.
    logs["n5"].append(json.dumps({"ts": "2026-11-22T10:00:40Z", "node": "n5", "event": "leaseExpired"}))
    assert phases(logs, "n4")[1].disagreeing == {"n5": "alive"}


@pytest.mark.parametrize("op", ["startup", "shutdown"])
def test_a_speaker_that_starts_anew_holds_nothing(op: str) -> None:
    logs = cluster()
    logs["n5"].append(json.dumps({"ts": "2026-11-22T10:00:05Z", "node": "n5", "op": op}))
    logs["n1"].append(line("10", "n1", "memberDead", "n4"))
    logs["n5"].append(line("20", "n5", "memberJoined", "n1"))
    told = rebuild(logs.items())
    assert told.members["n4"][1].disagreeing == {"n2": "alive", "n3": "alive"}
    assert "n5" in states(told, "2026-11-22T10:00:04Z")["n4"]
    assert "n5" not in states(told, "2026-11-22T10:00:06Z")["n4"]
    assert told.breaks == {"n5": ["2026-11-22T10:00:05Z"]}
