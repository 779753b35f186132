"""What the repository as a whole promises: manifests, lock files, entry points."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

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


def test_the_readme_says_what_the_demo_printed() -> None:
    facts = json.loads((ROOT / "bench" / "results" / "demo.json").read_text())
    said = re.search(r"printed an outage of (\d+\.\d\d) s", (ROOT / "README.md").read_text())
    assert said is not None
    assert float(said.group(1)) == round(facts["outage_s"], 2)


@pytest.mark.parametrize("scenario", ["power-off", "kill-speaker", "restart-speaker", "node-returns"])
def test_the_readme_says_what_the_scenarios_measured(scenario: str) -> None:
    outage = json.loads((ROOT / "bench" / "results" / f"{scenario}.json").read_text())["summary"]["outage_s"]
    (row,) = [
        line
        for line in (ROOT / "README.md").read_text().splitlines()
        if f"chaos run {scenario} --repeat" in line and line.startswith("|")
    ]
    cells = [cell.strip() for cell in row.split("|")]
    assert cells[2] == str(outage["n"])
    assert cells[3] == f"{outage['p50']:.2f} / {outage['max']:.2f}"
