"""`vipring simulate`: figures, pictures, counterexamples and wrong input."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gossip.simulator import checks
from vipring.cli import app

runner = CliRunner(env={"COLUMNS": "200"})

SPREAD_KEYS = {"n", "mean", "p50", "p90", "p99", "max"}


def simulate(*args: str) -> tuple[int, str]:
    result = runner.invoke(app, ["simulate", *args])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result.exit_code, result.output


def test_figures_and_picture(tmp_path: Path) -> None:
    facts, picture = tmp_path / "facts.json", tmp_path / "picture.svg"
    code, output = simulate(
        "--members", "5", "--runs", "3", "--seed", "7", "--json", str(facts), "--plot", str(picture)
    )
    assert code == 0, output
    assert "5 members, 3 runs, seed 7: one member loses power" in output
    document = json.loads(facts.read_text())
    assert (document["members"], document["runs"], document["seed"]) == (5, 3, 7)
    assert document["fast_lane"] is True
    for key in ("first_dead_s", "all_know_s"):
        assert set(document[key]) == SPREAD_KEYS
        assert document[key]["n"] == 3
        assert (
            0.0 < document[key]["p50"] <= document[key]["p90"] <= document[key]["p99"] <= document[key]["max"]
        )
    assert document["first_dead_s"]["max"] <= document["all_know_s"]["max"]
    assert document["false_deaths"] == 0
    assert document["member_years"] > 0
    assert document["packets_per_member_s"] > 10
    assert document["bytes_per_member_s"] > 10 * document["packets_per_member_s"]
    assert document["sim_seconds_per_s"] > 0
    assert document["counterexample"] is None
    texts = {element.text for element in ET.parse(picture).iter() if element.tag.endswith("text")}
    assert {"first dead", "all know", "suspect", "dead", "seconds from the crash"} <= texts
    paths = [element for element in ET.parse(picture).iter() if element.tag.endswith("path")]
    assert len(paths) == 4


def test_the_same_seed_gives_the_same_figures(tmp_path: Path) -> None:
    documents = []
    for name in ("one", "other"):
        facts = tmp_path / name
        code, output = simulate(
            "--members", "4", "--runs", "2", "--seed", "11", "--fast-lane", "off", "--json", str(facts)
        )
        assert code == 0, output
        document = json.loads(facts.read_text())
        del document["sim_seconds_per_s"]
        documents.append(document)
    assert documents[0] == documents[1]
    assert documents[0]["fast_lane"] is False
    assert documents[0]["first_dead_s"]["p50"] > 4.0, "memberlist's own timers"


def test_a_plan_from_a_file(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        "about: two die, one after the other\n"
        "network: {loss: 0.01, latency: {shape: exponential}}\n"
        "faults:\n"
        "- {kind: crash, members: [n2]}\n"
        "- {kind: crash, members: [n4], at_s: 2}\n"
    )
    facts = tmp_path / "facts.json"
    code, output = simulate(
        "--members", "6", "--runs", "2", "--seed", "3", "--faults", str(plan), "--json", str(facts)
    )
    assert code == 0, output
    assert "two die, one after the other" in output
    assert json.loads(facts.read_text())["all_know_s"]["n"] == 4


def test_quiet_time_is_counted(tmp_path: Path) -> None:
    facts = tmp_path / "facts.json"
    code, output = simulate(
        *("--members", "3", "--runs", "1", "--faults", "quiet", "--fast-lane", "off", "--seconds", "90"),
        *("--json", str(facts)),
    )
    assert code == 0, output
    document = json.loads(facts.read_text())
    assert document["member_years"] == pytest.approx(3 * 90 / (365.25 * 86400), rel=0.01)
    assert document["first_dead_s"] == {key: 0 if key == "n" else None for key in SPREAD_KEYS}


def test_a_counterexample_is_a_plan_that_repeats_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a rule that no ring can keep: nobody may ever be suspected, not even for a moment."""
    true_hear = checks.Checks._hear

    def strict(self: checks.Checks, happening: object) -> None:
        true_hear(self, happening)  # type: ignore[arg-type]
        if type(happening.what).__name__ == "MemberSuspect":  # type: ignore[attr-defined]
            self._violate("no suspicion", "somebody is suspected")

    monkeypatch.setattr(checks.Checks, "_hear", strict)
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        "faults:\n"
        "- {kind: starve, factor: 2}\n"
        "- {kind: stall, at_s: 1, for_s: 3, members: [n2, n3]}\n"
        "- {kind: drift, at_s: 5}\n"
        "- {kind: leave, at_s: 6}\n"
    )
    facts = tmp_path / "facts.json"
    options = ("--members", "4", "--runs", "1", "--fast-lane", "off", "--json", str(facts))
    code, output = simulate(*options, "--seed", "5", "--faults", str(plan))
    assert code == 1, output
    found = json.loads(facts.read_text())["counterexample"]
    assert found["rule"] == "no suspicion"
    assert [fault["kind"] for fault in found["plan"]["faults"]] == ["stall"]
    assert len(found["plan"]["faults"][0]["members"]) == 1
    shortest = tmp_path / "shortest.yaml"
    shortest.write_text(output[output.index("faults:\n") :])
    code, output = simulate(*options, "--seed", str(found["seed"]), "--faults", str(shortest))
    assert code == 1, output
    assert json.loads(facts.read_text())["counterexample"] == found


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "faults: [{kind: crash, membrs: 2}]",
            "plan.yaml: faults[0]: Object contains unknown field `membrs`",
        ),
        ("faults: [{kind: crash, members: [n9]}]", "faults.members: 'n9' is no member; n1 to n4 are allowed"),
        ("network: {loss: 1.5}", "network.loss: Expected `float` <= 1.0"),
        ("faults: [", "plan.yaml: line 2: is not YAML"),
        ("faults: []\nfaults: []", "plan.yaml: "),
        ("faults: 3", "faults: Expected `array`, got `int`"),
    ],
)
def test_a_wrong_file_gets_one_line(tmp_path: Path, text: str, complaint: str) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(text)
    code, output = simulate("--members", "4", "--faults", str(plan))
    assert code == 2
    assert complaint in output
    assert output.count("\n") == 1


def test_plain_members_are_found_by_memberlists_timers(tmp_path: Path) -> None:
    facts = tmp_path / "facts.json"
    plan = tmp_path / "plan.yaml"
    plan.write_text("faults: [{kind: crash, members: [n1]}, {kind: crash, members: [n6], at_s: 2}]")
    code, output = simulate(
        *("--members", "6", "--plain", "3", "--runs", "1", "--faults", str(plan), "--json", str(facts))
    )
    assert code == 0, output
    document = json.loads(facts.read_text())
    assert document["plain"] == 3
    assert document["first_dead_s"]["p50"] < 2.0 < 4.0 < document["first_dead_s"]["max"]


def test_wrong_options_get_one_line() -> None:
    code, output = simulate("--members", "4", "--plain", "5")
    assert (code, output) == (2, "vipring: --plain 5: 0 to 4 are allowed\n")
    code, output = simulate("--faults", "earthquake")
    assert code == 2
    assert "neither a file nor one of quiet, crash" in output
    code, output = simulate("--members", "1")
    assert code == 2
    assert "greater than or equal to 2" in output
    code, output = simulate("--runs", "1", "--members", "2", "--json", "/nowhere/facts.json")
    assert code == 2
    assert "/nowhere/facts.json: No such file or directory" in output


def test_plans_are_listed() -> None:
    code, output = simulate("--faults", "list")
    assert code == 0
    assert "storm" in output
    assert "half of the members lose power at once" in output
