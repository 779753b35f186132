"""Tables of large clusters: nothing that they have to say is lost, however narrow the terminal is."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from speaker.status import MemberStatus, RingStatus, SpeakerStatus
from tests.unit.vipring.test_timeline import line
from vipring import render
from vipring.timeline import Timeline, at, rebuild

NODES = [
    f"worker-{number:03}.rack-{number // 20:02}.hall-1.cluster.example.internal" for number in range(200)
]
VICTIM, LATE, CUT_OFF = NODES[7], NODES[11], NODES[150]

WIDTHS = pytest.mark.parametrize("width", [80, 200])


def printed(width: int) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, width=width), out


@pytest.fixture(scope="module")
def told() -> Timeline:
    """200 members see each other come, and all but two see one of them die within the second."""
    logs = [
        (name, [line("01", name, "memberJoined", other) for other in NODES if other != name])
        for name in NODES
    ]
    for number, (name, lines) in enumerate(logs):
        if name not in (VICTIM, LATE, CUT_OFF):
            lines.append(line(f"10.{number:03}", name, "memberDead", VICTIM))
        elif name == LATE:
            lines.append(line("25.5", name, "memberDead", VICTIM))
    return rebuild(logs)


@WIDTHS
def test_the_timeline_of_200_observers(told: Timeline, width: int) -> None:
    console, out = printed(width)
    render.timeline(console, told)
    header, *rows = out.getvalue().splitlines()
    assert header.split() == ["MEMBER", "STATE", "INCARNATION", "FROM", "UNTIL", "SEEN", "BY", "DISAGREE"]
    rows = [row.rstrip() for row in rows if ".internal" in row and "observers" not in row]
    assert [row.split()[0] for row in rows] == sorted([*NODES, VICTIM])
    dead = next(row for row in rows if " dead " in row)
    assert dead.split()[1:5] == ["dead", "1", "2026-11-22", "10:00:10.000"]
    assert dead[header.index("SEEN BY") :] == (
        f"198: first {NODES[0]} 10:00:10.000, last {NODES[199]} 10:00:10.199, late: {LATE} 10:00:25.500"
        f"  ! 2: {LATE} alive, {CUT_OFF} alive"
    )
    assert header.index("DISAGREE") == dead.index("! 2")
    alive = next(row for row in rows if row.startswith(VICTIM))
    assert alive[header.index("UNTIL") :].startswith("2026-11-22 10:00:10.000  199: first ")
    assert alive.endswith(" -")
    assert "! held another state 3 s after the phase began" in out.getvalue()
    assert f"observers: 200 ({NODES[0]} … {NODES[199]})" in out.getvalue()


@WIDTHS
def test_what_200_observers_held_at_a_moment(told: Timeline, width: int) -> None:
    console, out = printed(width)
    render.held(console, "2026-11-22T12:00:20+02:00", at(told, "2026-11-22T12:00:20+02:00"))
    header, *rows = [row.rstrip() for row in out.getvalue().splitlines()]
    assert header.split() == ["MEMBER", "STATE", "SEEN", "BY"]
    assert {row.split()[0] for row in rows if ".internal" in row} == set(NODES)
    alive, dead = (row for row in rows if row.startswith(VICTIM))
    assert alive.split(maxsplit=2)[1:] == ["alive", f"! 2: {LATE} 10:00:01.000, {CUT_OFF} 10:00:01.000"]
    assert dead.split(maxsplit=2)[1:] == [
        "dead",
        f"197: first {NODES[0]} 10:00:10.000, last {NODES[199]} 10:00:10.199",
    ]
    assert rows[-2:] == ["! observers disagree", "at 2026-11-22 10:00:20.000 UTC"]


def test_as_many_on_one_side_as_on_the_other() -> None:
    lines = [line("01", "n1", "memberJoined", "n3"), line("02", "n2", "memberDead", "n3")]
    console, out = printed(80)
    render.held(console, "2026-11-22T10:00:05Z", at(rebuild([("x", lines)]), "2026-11-22T10:00:05Z"))
    assert out.getvalue().count("! 1: ") == 2


def test_of_many_late_ones_the_latest_are_named() -> None:
    names = [f"n{number}" for number in range(10)]
    lines = [line("00", name, "memberJoined", "x") for name in names]
    lines += [line("10", name, "memberDead", "x") for name in names[:4]]
    lines += [line(f"2{number}", names[number], "memberDead", "x") for number in range(4, 10)]
    console, out = printed(200)
    render.timeline(console, rebuild([("logs", lines)]))
    dead = next(row for row in out.getvalue().splitlines() if " dead " in row)
    assert "10: first n0 10:00:10.000, last n3 10:00:10.000, late: n7 10:00:27.000, n8 " in dead
    assert dead.rstrip().endswith("n9 10:00:29.000 and 3 more  ! 6: n4 alive, n5 alive, n6 alive and 3 more")


def test_a_few_are_all_named() -> None:
    lines = [line("01", "n1", "memberJoined", "n3"), line("01.5", "n2", "memberJoined", "n3")]
    console, out = printed(80)
    render.timeline(console, rebuild([("x", lines)]))
    assert "2: n1 10:00:01.000, n2 10:00:01.500" in out.getvalue()
    assert "!" not in out.getvalue()


@WIDTHS
def test_the_ring_of_200_members(width: int) -> None:
    console, out = printed(width)
    watched = [
        MemberStatus(
            name, "198.18.0.11", 7946, "alive", 1, "0.1.0", "2026-11-22T10:00:00Z", watchers=(*NODES[:3],)
        )
        for name in NODES
    ]
    recorded = Path(__file__).with_name("status.json").read_bytes()
    status = msgspec.json.decode(recorded, type=SpeakerStatus)
    status = msgspec.structs.replace(status, ring=RingStatus(True, tuple(watched)))
    render.members(console, status, datetime(2026, 11, 22, 10, 0, 9, tzinfo=UTC))
    header, *rows = [row.rstrip() for row in out.getvalue().splitlines()]
    assert " ".join(header.split()).endswith("VERSION RTT WATCHERS SINCE LAST EVENT")
    assert [row.split() for row in rows[:200]] == [
        [name, "alive", "1", "198.18.0.11:7946", "0.1.0", "-", *NODES[:3], "9s", "-"] for name in NODES
    ]


@WIDTHS
def test_sentences_are_not_folded_and_keep_their_brackets(width: int) -> None:
    console, out = printed(width)
    render._say(console, "API server at https://[fd00::1]:6443 " + "x" * 300)
    assert out.getvalue() == "API server at https://[fd00::1]:6443 " + "x" * 300 + "\n"


def test_age_of_a_moment_in_the_future() -> None:
    assert render.age("2026-11-22T10:00:01Z", datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC)) == "0s"
