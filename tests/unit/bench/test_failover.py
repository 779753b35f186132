"""The page of figures: a table and a picture made from the results that are there."""

from pathlib import Path

import msgspec
import pytest

from bench import failover
from chaos.results import Phases, Result, Run, conclude, summarise
from chaos.scenarios import SCENARIOS

RUNS = tuple(
    Run(
        vip="198.18.1.0",
        victim="n1",
        outage_s=outage_s,
        sent=1000,
        lost=140,
        owner_before="n1",
        owner_after="n2",
        two_owners_s=0.05,
        no_owner_s=0.55,
        phases=Phases(detected_s=0.5, announced_s=0.56),
        failure=failure,
    )
    for outage_s, failure in ((0.55, None), (0.6, None), (9.0, "not at rest"))
)


def test_figures_take_the_place_of_those_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "failover.md"
    page.write_text(
        f"before\n{failover.LIST_BEGIN}STALE\n{failover.LIST_END}between\n{failover.BEGIN}STALE\n{failover.END}after\n"
    )
    readme = tmp_path / "README.md"
    readme.write_text(f"first\n{failover.BEGIN}STALE\n{failover.END}last\n")
    for name, path in (
        ("PAGE", page),
        ("README", readme),
        ("PICTURE", tmp_path / "p.svg"),
        ("RESULTS", tmp_path),
    ):
        monkeypatch.setattr(failover, name, path)
    result = Result(
        "power-off",
        5,
        1,
        "0123456789ab",
        RUNS,
        summarise(RUNS),
        promise={"outage_s": 1.0, "two_owners_s": 0.5, "strays": 0},
        typical={"outage_s": 0.65},
    )
    (tmp_path / "power-off.json").write_bytes(msgspec.json.encode(conclude(result)))
    failover.render()
    text = page.read_text()
    assert "STALE" not in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert all(f"| {name} | {scenario.summary} | " in text for name, scenario in SCENARIOS.items())
    assert (
        " | median outage ≤ 650 ms; outage ≤ 1.00 s; all announced after ≤ 1.00 s | 30 runs, 5 on three nodes |"
        in text
    )
    assert "between\n" in text
    assert (
        "| power-off | 5 | 3 | 1 | 550 ms (≤ 650 ms) / 600 ms (≤ 1.00 s) | 550 ms / 550 ms | 50 ms / 50 ms (≤ 500 ms) | 140 / 140 |"
        " 500 ms / 500 ms | 560 ms / 560 ms | stray frames - | **no** | 0123456 |"
    ) in text
    assert "* power-off, run 3: not at rest" in text
    assert "STALE" not in readme.read_text()
    row = "| `power-off --nodes 5 --repeat 30 --seed 1` | 3 | 550 ms / 600 ms | 50 ms / 50 ms | 140 / 140 | **no** | 0123456 |"
    assert row in readme.read_text()
    assert (tmp_path / "p.svg").read_text().count("power-off") == 2


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the scenarios in the order in which they were begun; none is played, and hang fails."""
    names: list[str] = []

    def measure(name: str, _plan: failover.Plan, **_: object) -> bool:
        names.append(name)
        return name != "hang"

    monkeypatch.setattr(failover, "measure", measure)
    return names


def test_a_scenario_is_left_out_when_there_is_no_time(begun: list[str]) -> None:
    names = ["hang", "partition-90", "power-off", "restart-speaker"]
    failed, left = failover.measure_all(names, quick=False, seed=1, budget_s=100.0)
    assert (begun, failed, sorted(left)) == (
        ["hang", "restart-speaker"],
        ["hang"],
        ["partition-90", "power-off"],
    )


def test_what_waits_does_so_beside_the_last_of_the_others(begun: list[str]) -> None:
    names = ["power-off-backend", "power-off", "kill-speaker", "node-returns"]
    assert failover.measure_all(names, quick=False, seed=1, budget_s=3600.0) == ([], [])
    assert begun[:2] == ["power-off", "kill-speaker"]
    assert sorted(begun[2:]) == ["node-returns", "power-off-backend"]


def test_all_cases_are_measured_once(begun: list[str]) -> None:
    assert failover.measure_all(failover.CASES, quick=False, seed=1, budget_s=3600.0) == (["hang"], [])
    assert sorted(begun) == sorted(failover.CASES)


def test_every_plan_is_of_a_scenario_and_all_of_them_fit() -> None:
    assert failover.PLAN.keys() <= SCENARIOS.keys()
    plans = [failover.plan_of(name, quick=False) for name in failover.CASES]
    assert sum(plan.needs_s for plan in plans if not plan.beside) <= 60 * failover.BUDGET_MIN
    assert failover.beside_s(plan for plan in plans if plan.beside) <= 60 * failover.BUDGET_MIN
    assert {plan.repeat for plan in plans} == {5, 30}
    assert failover.plan_of("api-down-long", quick=False).run_s > SCENARIOS["api-down-long"].lasts_s == 600


def test_the_command_says_how_long_where_the_plan_does() -> None:
    short = failover.plan_of("api-down-long", quick=True)
    assert failover.command("api-down-long", short, quick=True, seed=1)[-2:] == ["--lasts", "60"]
    three = failover.plan_of("power-off:3", quick=False)
    words = "-m chaos run power-off --nodes 3 --repeat 5 --seed 1"
    assert failover.command("power-off:3", three, quick=False, seed=1) == words.split()
    quick = failover.plan_of("power-off", quick=True)
    words = "-m chaos run power-off --nodes 3 --repeat 1 --seed 4"
    assert failover.command("power-off", quick, quick=True, seed=4) == words.split()


def test_the_page_has_its_place_for_the_figures() -> None:
    text = failover.PAGE.read_text()
    marks = [failover.LIST_BEGIN, failover.LIST_END, failover.BEGIN, failover.END]
    assert sorted(text.index(mark) for mark in marks) == [text.index(mark) for mark in marks]


def test_the_page_lists_the_scenarios_that_there_are() -> None:
    assert "\n".join(failover.scenarios()) in failover.PAGE.read_text(), "python -m bench.failover --render"
