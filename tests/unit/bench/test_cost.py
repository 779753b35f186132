"""Limits that are kept and broken, and the page of costs made from the results that are there."""

import os
import time
from pathlib import Path

import msgspec
import pytest

from bench import arp, cost, speaker_rest
from bench.limits import Limit, failures
from bench.speaker_rest import Reading, Usage, usage


def test_one_broken_limit_is_told_and_ends_with_one(capsys: pytest.CaptureFixture[str]) -> None:
    kept = Limit("p50", 150.0, 150.0, "us")
    broken = Limit("not answered", 1.0, 0.0, "")
    assert failures([kept]) == 0
    assert failures([kept, broken]) == 1
    lines = capsys.readouterr().out.splitlines()[1:]
    assert lines == ["kept    p50: 150 us, at most 150", "BROKEN  not answered: 1, at most 0"]


def test_memory_counts_for_the_worst_and_time_for_the_middle() -> None:
    speakers = [
        Usage(rss, 30.0, 20.0, core, 70.0) for rss, core in ((59.0, 0.01), (61.0, 0.03), (58.0, 0.015))
    ]
    responders = [Usage(13.0, 9.0, 8.0, 0.002, 12.0)] * 3
    found = {limit.what: limit.kept for limit in speaker_rest.limits(10, speakers, responders)}
    assert list(found.values()) == [False, True, True]


def test_a_reading_of_this_process_moves_with_it() -> None:
    before = Reading.of(os.getpid())
    deadline = time.monotonic() + 10
    # The kernel brings the count of a running process up to date at its ticks.
    while (after := Reading.of(os.getpid())).cpu_s == before.cpu_s:
        assert time.monotonic() < deadline
    assert usage(os.getpid(), before, after).rss_mb > 1


def test_latencies_become_microseconds() -> None:
    row = arp.Row.of("speaker, 10 addresses", 101, [1000 * number for number in range(1, 101)])
    assert (row.sent, row.answered, row.p50, row.most) == (101, 100, 50.5, 100.0)


def test_tables_take_the_place_of_those_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "cost.md"
    page.write_text(
        f"before\n{cost.begin('arp')}old\n{cost.END}between\n{cost.begin('decide')}kept\n{cost.END}after\n"
    )
    monkeypatch.setattr(cost, "PAGE", page)
    monkeypatch.setattr(cost, "RESULTS", tmp_path)
    rows = (arp.Row("speaker, 10 addresses", 2000, 2000, 200.0, 300.0, 400.0, 500.0),)
    facts = arp.Facts("0123456789ab", rows, ())
    (tmp_path / "arp.json").write_bytes(msgspec.json.encode(facts))
    cost.render()
    text = page.read_text()
    assert "| speaker, 10 addresses | 2000 | 2000 | 200 | 300 | 400 | 500 | 368-469 |" in text
    assert "old" not in text
    assert text.startswith("before\n")
    assert f"between\n{cost.begin('decide')}kept\n{cost.END}after\n" in text


def test_the_page_has_a_place_for_every_table() -> None:
    page = cost.PAGE.read_text()
    assert [name for name in cost.TABLES if page.count(cost.begin(name)) != 1] == []
