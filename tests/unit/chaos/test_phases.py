"""Log lines of speakers as times."""

import json

import pytest

from chaos import phases

FAULT = 1_790_000_000.0


def log(node: str, *lines: dict[str, object]) -> list[phases.Entry]:
    return phases.read_log(node, "".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:01Z", 1.0),
        ("2026-11-22T22:48:07.123456789Z", 1795387687.123456789),
        ("2026-11-22T23:48:07.5+01:00", 1795387687.5),
        ("2026-11-22T22:18:07.5-00:30", 1795387687.5),
        ("2026-11-22 22:48:07", None),
        ("", None),
    ],
)
def test_rfc3339(text: str, seconds: float | None) -> None:
    assert phases.seconds_of(text) == (None if seconds is None else pytest.approx(seconds, abs=1e-6))


def test_rfc3339_back_and_forth() -> None:
    assert phases.rfc3339(1795387687.25) == "2026-11-22T22:48:07.250000Z"


def test_a_field_without_a_value_does_not_hide_the_line() -> None:
    (entry,) = log(
        "n1",
        {"ts": "1970-01-01T00:00:09Z", "event": "foreignAnswer", "member": None, "mac": "02:00:00:00:01:08"},
    )
    assert (entry.line.event, entry.line.member, entry.line.mac) == (
        "foreignAnswer",
        None,
        "02:00:00:00:01:08",
    )


def test_lines_that_are_no_json_lines_are_left_out() -> None:
    text = 'Traceback (most recent call last):\n{"ts":"1970-01-01T00:00:09Z","event":"memberDead"}\n{"ts":"x"}\n[1]\n{"ts":'
    entries = phases.read_log("n1", text)
    assert [(entry.at, entry.line.event) for entry in entries] == [(9.0, "memberDead")]


def test_first_takes_the_earliest_matching_line() -> None:
    entries = log(
        "n1",
        {"ts": phases.rfc3339(FAULT - 1), "event": "memberDead", "member": "n2"},
        {"ts": phases.rfc3339(FAULT + 5), "event": "memberDead", "member": "n2"},
        {"ts": phases.rfc3339(FAULT + 4), "event": "memberDead", "member": "n3"},
        {
            "ts": phases.rfc3339(FAULT + 5.1),
            "event": "ownerChanged",
            "ip": "198.18.1.0",
            "owner": "n1",
            "previous": "n2",
        },
        {"ts": phases.rfc3339(FAULT + 5.05), "event": "ownerChanged", "ip": "198.18.1.1", "owner": "n3"},
    ) + log("n3", {"ts": phases.rfc3339(FAULT + 3), "event": "memberDead", "member": "n2"})

    def at(**fields: str) -> float:
        found = phases.first(entries, {fields.pop("event")}, since=FAULT, **fields)
        assert found is not None
        return round(found.at - FAULT, 3)

    assert at(event="memberDead", member="n2") == 3
    assert at(event="memberDead", member="n2", node="n1") == 5
    assert at(event="ownerChanged", ip="198.18.1.0", owner="n1") == 5.1
    assert phases.first(entries, {"memberDead"}, since=FAULT + 6) is None
