"""The demo as a user runs it: the whole story holds, twice in a row and without root; nothing is left behind."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from chaos.demo import DemoFacts


def demo(facts: Path, *, prefix: tuple[str, ...] = ()) -> tuple[DemoFacts, str]:
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "vipring", "demo", "--json", str(facts)],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return msgspec.json.decode(facts.read_bytes(), type=DemoFacts), done.stdout


def check(facts: DemoFacts) -> None:
    everybody = ("n1", "n2", "n3")
    assert facts.external_ip.startswith("198.18.1.")
    assert facts.http_status == 200
    assert facts.owner_before in everybody
    assert facts.owner_after in everybody
    assert facts.owner_after != facts.owner_before
    assert 0 < facts.outage_s < 30
    assert facts.members_before == everybody
    assert facts.members_during == tuple(name for name in everybody if name != facts.owner_before)
    assert facts.members_after == everybody
    assert facts.seconds_total < 180


@pytest.mark.timeout(200)
@pytest.mark.parametrize("prefix", [(), ("unshare", "-Urn")], ids=["as this user", "in a user namespace"])
def test_demo(prefix: tuple[str, ...], tmp_path: Path) -> None:
    facts, said = demo(tmp_path / "facts.json", prefix=prefix)
    check(facts)
    for step in (
        "kubectl apply -f manifests/vipring.yaml",
        "EXTERNAL-IP",
        "HTTP 200",
        "powering off",
        "outage",
        "tearing everything down",
    ):
        assert step in said
