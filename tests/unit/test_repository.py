"""What the repository as a whole promises: manifests, lock files, entry points."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench import failover, wholerings
from bench.__main__ import APART, commands
from chaos.demo import DemoFacts

ROOT = Path(__file__).resolve().parents[2]


def documents(name: str) -> list[dict[str, object]]:
    return list(yaml.safe_load_all((ROOT / "manifests" / name).read_text()))


def workload(kind: str) -> dict[str, object]:
    (found,) = [document for document in documents("vipring.yaml") if document["kind"] == kind]
    spec = found["spec"]
    assert isinstance(spec, dict)
    template = spec["template"]["spec"]
    assert isinstance(template, dict)
    return template


@pytest.mark.parametrize("kind", ["DaemonSet", "Deployment"])
def test_containers_are_confined_and_not_throttled(kind: str) -> None:
    pod = workload(kind)
    containers = pod["containers"]
    assert isinstance(containers, list)
    for container in containers:
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"]["drop"] == ["ALL"]
        assert security["capabilities"].get("add", []) == (["NET_RAW"] if kind == "DaemonSet" else [])
        assert "cpu" not in container["resources"]["limits"]
        assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_speaker_declares_the_ring_and_may_leave_in_time() -> None:
    pod = workload("DaemonSet")
    assert pod["terminationGracePeriodSeconds"] == 10
    assert pod["hostNetwork"] is True
    containers = pod["containers"]
    assert isinstance(containers, list)
    ports = {(port["containerPort"], port.get("protocol", "TCP")) for port in containers[0]["ports"]}
    assert {(7946, "TCP"), (7946, "UDP")} <= ports


def test_controller_is_not_root() -> None:
    security = workload("Deployment")["securityContext"]
    assert isinstance(security, dict)
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] == 65534


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-image.lock"])
def test_lock_files_have_hashes_and_no_addresses(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text
    for block in re.split(r"\n(?=[a-z])", text.strip()):
        assert "--hash=sha256:" in block, block.splitlines()[0]


def test_every_make_target_has_a_line_of_help() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("setup", "demo", "lab", "test", "bench", "lint"):
        assert re.search(rf"^{target}\s+\S", shown, re.MULTILINE), target


RESULTS = sorted((ROOT / "bench" / "results").glob("*.json"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("file", RESULTS, ids=lambda file: file.stem)
def test_every_result_has_its_commit_and_its_command(file: Path) -> None:
    measured = json.loads(file.read_text())["commit"]
    if measured is None:
        said = f"`bench/results/{file.name}`, which does not name its commit"
        assert any(said in page.read_text() for page in PAGES)
    else:
        assert re.fullmatch(r"[0-9a-f]{7,12}(-dirty)?", measured), measured
    assert file.stem in commands()


def test_every_bench_that_a_page_quotes_is_one_and_listed() -> None:
    quoted = {name for page in PAGES for name in re.findall(r"python\s+-m\s+bench\.(\w+)", page.read_text())}
    assert {"rest", "kills", "falsedeaths", "failover"} <= quoted
    assert quoted <= commands().keys() | APART.keys()
    for name in commands().keys() | APART.keys():
        assert name in ("demo", "fuzz") or (ROOT / "bench" / f"{name}.py").exists()


def test_the_readme_says_what_the_demo_printed() -> None:
    facts = json.loads((ROOT / "bench" / "results" / "demo.json").read_text())
    assert facts.keys() == set(DemoFacts.__struct_fields__)
    (said,) = re.findall(
        r"commit ([0-9a-f]{7}): `make demo JSON=bench/results/demo.json` printed an outage of (\d+\.\d\d) s, and took\s+(\d+) s",
        (ROOT / "README.md").read_text(),
    )
    assert said == (facts["commit"][:7], f"{facts['outage_s']:.2f}", f"{facts['seconds_total']:.0f}")


def test_the_readme_says_what_the_scenarios_measured() -> None:
    found = failover.results()
    assert {one.scenario for one in found} >= set(failover.FOREMOST)
    rows = "\n".join(failover.foremost(found))
    assert rows in failover.README.read_text(), "python -m bench.failover --render"


def ring_section(heading: str) -> str:
    """What is below a heading of docs/ring.md."""
    _, _, below = (ROOT / "docs" / "ring.md").read_text().partition(f"\n## {heading}\n")
    return below[: below.index("\n## ")]


def ring_tables(heading: str) -> list[list[str]]:
    """The lines of each table below a heading of docs/ring.md."""
    found = re.findall(r"(?:^\|.*\n)+", ring_section(heading), re.MULTILINE)
    return [lines.splitlines() for lines in found]


def ring_table(heading: str) -> list[list[str]]:
    """The rows of the one table below a heading of docs/ring.md."""
    (lines,) = ring_tables(heading)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def results(name: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((ROOT / "bench" / "results" / f"{name}.json").read_text())
    return facts


@pytest.mark.parametrize(
    ("heading", "benches"),
    [
        ("How soon everybody knows", ["fastlane", "kills"]),
        ("What it costs at rest", ["rest"]),
        ("How often the living are declared dead", ["falsedeaths", "wholerings"]),
    ],
)
def test_the_page_of_the_ring_says_which_commit_was_measured(heading: str, benches: list[str]) -> None:
    said = set(re.findall(r"\bcommit\s+([0-9a-f]{7})\b", ring_section(heading)))
    measured = {results(name).get(key, "")[:7] for name in benches for key in ("commit", "windows_commit")}
    assert measured - {""} == said


def middle_and_worst(row: dict[str, object]) -> str:
    spread = row["all_know_s"]
    assert isinstance(spread, dict)
    return f"{spread['p50']:.2f} / {spread['p99']:.2f}"


def test_the_page_of_the_ring_says_how_soon_everybody_knew() -> None:
    told = {
        (members, who, column): cell
        for members, who, four, three, none in ring_table("How soon everybody knows")
        for column, cell in zip((4, 3, 0), (four, three, none), strict=True)
        if "/" in cell
    }
    who = {"1": "one", "2": "two", "50%": "half"}
    measured = {
        (
            str(row["members"]),
            who.get(str(row["dead"]), "one with two of its watchers"),
            row["misses"] if row["wire"] else 0,
        ): middle_and_worst(row)
        for row in results("fastlane")["rows"]
        if row["pace_s"] == 0.1
    }
    measured |= {
        (f"{row['members']} processes", "one", 4 if row["wire"] else 0): middle_and_worst(row)
        for row in results("kills")["rows"]
    }
    assert told == measured


def test_the_page_of_the_ring_says_what_it_costs() -> None:
    lanes = {"off": "off", "every 100 ms, four misses": "100 ms, 4 misses"}
    lanes["every 200 ms, two misses"] = "200 ms, 2 misses"
    rows = {(row["members"], row["lane"], row["simulated"]): row["cost"] for row in results("rest")["rows"]}
    for members, lane, datagrams, octets, core in ring_table("What it costs at rest"):
        number, kind = members.split()
        cost = rows[int(number), lanes[lane], kind == "simulated"]
        assert isinstance(cost, dict)
        assert (datagrams, octets) == (f"{cost['packets']:.1f}", f"{cost['octets']:,.0f}")
        share = f"({100 * cost['core']:.2g} %)" if kind == "simulated" else f"{100 * cost['core']:.2f} %"
        assert core == share


def test_the_page_of_the_ring_says_what_a_slower_pace_would_be() -> None:
    rows = {
        (row["members"], row["pace_s"], row["misses"]): row
        for row in results("fastlane")["rows"]
        if row["wire"] and row["dead"] == 1
    }
    said = re.search(
        r"later\s\((\S+ / \S+) s\sinstead\sof\s(\S+ / \S+) s\swith\sten\smembers, (\S+ / \S+) s\sinstead\sof\s(\S+ / \S+) s\swith\sthree\)",
        ring_section("What it costs at rest"),
    )
    assert said is not None
    cases = [(members, *lane) for members in (10, 3) for lane in ((0.2, 2), (0.1, 4))]
    assert list(said.groups()) == [middle_and_worst(rows[case]) for case in cases]


def test_the_page_of_the_ring_says_how_often_the_living_are_declared_dead() -> None:
    rows = results("falsedeaths")["grid"]
    rows += [cell[by] for cell in results("wholerings")["cells"] for by in ("windows", "whole")]
    for row in rows:
        _, found = wholerings.read(row)
        assert (row["rate"], row["bound"]) == pytest.approx((found.rate, found.bound))
    told = tuple(ring_tables("How often the living are declared dead"))
    assert told == wholerings.rendered(ROOT / "bench" / "results"), "python -m bench.wholerings --render"
