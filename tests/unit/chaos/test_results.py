"""Summaries, tables and words from given runs."""

import json

import pytest

from chaos import report, results
from chaos.results import Phases, Result, Run


def run(outage_s: float | None, **changes: object) -> Run:
    fields: dict[str, object] = {
        "vip": "198.18.1.0",
        "victim": "n2",
        "sent": 2000,
        "lost": 12,
        "owner_before": "n2",
        "owner_after": "n1",
        "two_owners_s": 0.0,
        "no_owner_s": 0.4,
        "phases": Phases(5.0, 5.001, 5.003, outage_s),
        "suspected_s": 1.2,
    }
    return Run(outage_s=outage_s, **{**fields, **changes})  # type: ignore[arg-type]


def result(*runs: Run) -> Result:
    return Result("power-off", 3, 7, "abc", runs, results.summarise(runs))


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([1.0], 50, 1.0),
        ([1.0, 2.0], 50, 1.0),
        ([1.0, 2.0, 3.0], 50, 2.0),
        ([float(i) for i in range(1, 11)], 90, 9.0),
        ([float(i) for i in range(1, 11)], 99, 10.0),
        ([float(i) for i in range(1, 101)], 99, 99.0),
    ],
)
def test_percentile_is_nearest_rank(values: list[float], percent: float, expected: float) -> None:
    assert results.percentile(values, percent) == expected


def test_summary_leaves_out_failed_runs_and_absent_figures() -> None:
    found = results.summarise(
        [run(0.5), run(0.7, phases=Phases()), run(0.1, failure="the address did not come back"), run(0.6)]
    )
    assert list(found) == list(results.FIGURES)
    outage = found["outage_s"]
    assert (outage.n, outage.min, outage.p50, outage.max) == (3, 0.5, 0.6, 0.7)
    assert found["detected_s"].n == 2
    assert results.summarise([])["outage_s"] == results.Figure(0, None, None, None, None, None)


def test_json_has_the_promised_keys() -> None:
    written = json.loads(results.to_json(result(run(0.123456), run(0.5))))
    assert list(written)[:6] == ["scenario", "nodes", "seed", "commit", "runs", "summary"]
    assert written["kept"] is None, "nothing was checked"
    first = written["runs"][0]
    assert first["outage_s"] == 0.1235
    assert set(first) >= {
        "outage_s",
        "sent",
        "lost",
        "owner_before",
        "owner_after",
        "two_owners_s",
        "no_owner_s",
    }
    assert set(first["phases"]) == {"detected_s", "elected_s", "announced_s", "answered_s"}
    assert list(written["summary"]["outage_s"]) == ["n", "min", "p50", "p90", "p99", "max"]


def test_table() -> None:
    lines = report.table(result(run(5.1, lost=3), run(5.5, lost=5)))
    assert lines[0].split() == ["n", "min", "p50", "p90", "max"]
    assert lines[1].split() == ["outage", "2", "5.10", "s", "5.10", "s", "5.50", "s", "5.50", "s"]
    assert lines[2].split() == ["echoes", "lost", "2", "3", "3", "5", "5"]
    assert any(line.split()[:3] == ["detected", "after", "2"] for line in lines)


def test_story_names_each_step_and_its_time() -> None:
    told = report.story(run(5.006))
    assert [line.split()[2].rstrip(":") for line in told[1:]] == [
        "detected",
        "elected",
        "announced",
        "answered",
    ]
    assert told[0].strip().startswith("1.20 s")
    assert told[2].endswith("(+1 ms)")
    assert told[4].startswith("  5.01 s  answered")


def test_a_run_without_outage_says_so() -> None:
    told = report.story(run(0.006, phases=Phases(0.1, 0.1, None, None), suspected_s=None))
    assert told[-1] == "no outage: the longest gap between two answers was 6 ms"
    assert "not announced" in report.run_line(1, run(0.006, phases=Phases()))


def test_the_return_of_a_node_is_told_from_its_stand_in() -> None:
    back = run(
        0.01, owner_before="n1", owner_after="n2", phases=Phases(1.3, 1.2, 1.21, None), suspected_s=None
    )
    told = report.story(back)
    assert [line.split()[2].rstrip(":") for line in told[:3]] == ["elected", "announced", "detected"]
    assert "detected: n1 learned that n2 is back" in told[2]


def test_overlaps_and_missed_deaths_are_told() -> None:
    told = report.story(run(0.7, owner_after="n2", phases=Phases(None, 0.7, 0.7, 0.7), two_owners_s=0.1))
    assert "n2 is the owner again, or still" in told
    assert "two owners answered ARP for 100 ms" in told


def test_failed_runs_are_said() -> None:
    failed = run(None, failure="the address did not come back within 60 s")
    text = "\n".join(report.text(result(run(5.0), failed)))
    assert "1 of 2 runs failed" in text
    assert (
        report.run_line(2, failed) == "run 2: 198.18.1.0: FAILED: the address did not come back within 60 s"
    )
    assert "FAILED" not in text.splitlines()[0]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.0, "0 ms"),
        (0.0041, "4 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.00 s"),
        (12.346, "12.35 s"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert report.duration(seconds) == text


def test_a_promise_is_a_bound_on_a_figure() -> None:
    good = results.judge(run(0.5), {"outage_s": 0.5, "announced_s": 6.0, "lost": 12})
    assert (good.kept, good.broken) == (True, ())
    bad = results.judge(
        run(0.5, facts={"covered_s": 2.5}), {"outage_s": 0.4, "covered_s": 2.0, "back_s": 1.0}
    )
    assert not bad.kept
    assert bad.broken == (
        "outage_s 0.5, promised 0.4",
        "covered_s 2.5, promised 2",
        "back_s not reached, promised 1",
    )
    assert results.judge(run(0.5), {}, ["nobody was told"]).broken == ("nobody was told",)
    assert results.judge(run(0.5, failure="not at rest"), {}).kept is False


def promised(*runs: Run) -> Result:
    judged = tuple(results.judge(one, {"outage_s": 1.0}) for one in runs)
    return results.conclude(
        Result(
            "power-off", 3, 7, "abc", judged, results.summarise(judged), {"outage_s": 1.0}, {"outage_s": 0.65}
        )
    )


def test_the_table_says_what_was_promised_and_the_text_what_was_broken() -> None:
    kept = report.text(promised(run(0.5), run(0.6)))
    assert "All promises were kept." in kept
    assert any(line.startswith("outage ") and line.endswith("p50 650 ms, 1.00 s") for line in kept)
    broken = promised(run(0.7), run(1.1, variant="1.4 s"))
    assert broken.kept is False
    assert broken.broken == ("run 2: outage_s 1.1, promised 1", "median outage_s 0.7, promised 0.65")
    assert "  run 2: outage_s 1.1, promised 1" in report.text(broken)
    assert "run 2 (1.4 s): " in report.run_line(2, broken.runs[1])
    assert report.run_line(2, broken.runs[1]).endswith("; BROKEN: outage_s 1.1, promised 1")


def test_what_was_written_to_the_api_is_added_up() -> None:
    text = report.text(result(run(0.5, writes={"a": 2}), run(0.6, writes={"a": 1, "b": 4})))
    assert "Written to the API from the faults on, all runs together: 4 x b, 3 x a." in text
    assert not any("Written" in line for line in report.text(result(run(0.5))))


def test_facts_of_a_scenario_are_summarised_beside_the_figures() -> None:
    found = results.summarise([run(0.5, facts={"covered_s": 1.0}), run(0.5, facts={"covered_s": 2.0})])
    assert (found["covered_s"].n, found["covered_s"].max) == (2, 2.0)
