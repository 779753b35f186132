"""One short run of each scenario on a real lab: the figures are there and make sense."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from chaos.results import Result, Run
from chaos.scenarios import SCENARIOS

SLOW = "api-down"
"""Mostly waiting, so it is begun first and runs beside the others."""


def start(scenario: str, facts: Path) -> subprocess.Popen[str]:
    options = ["--repeat", "1", "--seed", "7", "--services", "2", "--json", str(facts)]
    return subprocess.Popen(
        [sys.executable, "-m", "chaos", "run", scenario, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], scenario: str, facts: Path) -> Run:
    with process:
        try:
            said, complaint = process.communicate(timeout=170)
        finally:
            process.terminate()
    assert process.returncode == 0, f"{said}\n{complaint}"
    assert "seed 7" in said
    found = msgspec.json.decode(facts.read_bytes(), type=Result)
    assert (found.scenario, found.nodes, found.seed) == (scenario, 3, 7)
    assert found.summary["outage_s"].n == 1
    (only,) = found.runs
    assert only.failure is None
    assert only.sent > 500
    assert only.outage_s is not None
    assert only.owner_before in {"n1", "n2", "n3"}
    assert only.calm_writes == 0, "the API is written to while nothing changes"
    return only


@pytest.fixture(scope="module", autouse=True)
def beside(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[subprocess.Popen[str], Path] | None]:
    """The slow scenario, on its way since the first test of this module; None when it was not asked for."""
    if not any(item.name == test_the_api_server_away_for_a_minute.__name__ for item in request.session.items):
        yield None
        return
    facts = tmp_path_factory.mktemp("beside") / "facts.json"
    process = start(SLOW, facts)
    try:
        yield process, facts
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "scenario", sorted(name for name, one in SCENARIOS.items() if one.in_tests and name != SLOW)
)
def test_scenario(scenario: str, tmp_path: Path) -> None:
    facts = tmp_path / "facts.json"
    only = finish(start(scenario, facts), scenario, facts)
    phases = only.phases
    if scenario == "power-off":
        assert only.owner_before == only.victim != only.owner_after
        assert only.lost > 0
        # Each step leads to the next; the record of the wire and the log are on clocks read together.
        detected, elected, announced, answered = msgspec.structs.astuple(phases)
        assert None not in (detected, elected, announced, answered)
        assert 0 < detected <= elected < answered
        assert detected < announced
        assert only.outage_s == pytest.approx(answered, abs=0.5)
        assert only.no_owner_s == pytest.approx(only.outage_s, abs=0.5)
    if scenario == "node-returns":
        assert only.owner_after == only.victim != only.owner_before
        assert phases.announced_s is not None
        assert phases.announced_s > 0
    if scenario in {"restart-speaker", "node-returns", "partition", "ring-cut", "hang"}:
        # The claim is handed over, settled or kept; a hung owner's kernel goes on forwarding to its neighbours.
        assert only.lost == 0
    if scenario == "hang":
        assert only.moves, "nobody took over from a node that stood still"
        assert only.strays == 0
    if scenario == "ring-cut":
        assert only.moves == 0
        assert only.owner_before == only.owner_after == only.victim
    if scenario == "link-down":
        assert only.no_owner_s is not None
        assert phases.elected_s is not None, "nobody took the address over while the link was down"


@pytest.mark.timeout(180)
def test_the_api_server_away_for_a_minute(beside: tuple[subprocess.Popen[str], Path]) -> None:
    # Restarts and an unallocated Service end the run with an error.
    only = finish(beside[0], SLOW, beside[1])
    assert (only.lost, only.two_owners_s, only.no_owner_s) == (0, 0, 0)
    assert only.owner_before == only.owner_after == only.victim
    assert only.sent > 60 * 200
