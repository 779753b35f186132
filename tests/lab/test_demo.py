"""The demo as a user runs it: the whole story holds, twice in a row and without root; nothing is left behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from chaos.demo import DemoFacts
from tests.lab.leftovers import nothing_is_left_of


def demo(facts: Path, *, nodes: int, prefix: tuple[str, ...]) -> tuple[DemoFacts, str]:
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "vipring", "demo", "--nodes", str(nodes), "--json", str(facts)],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return msgspec.json.decode(facts.read_bytes(), type=DemoFacts), done.stdout


def check(facts: DemoFacts, nodes: int) -> None:
    everybody = tuple(f"n{number}" for number in range(1, nodes + 1))
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
@pytest.mark.parametrize(
    ("nodes", "prefix"),
    [(3, ()), (2, ("unshare", "-Urn"))],
    ids=["as this user", "in a user namespace"],
)
def test_demo(nodes: int, prefix: tuple[str, ...], tmp_path: Path) -> None:
    facts, said = demo(tmp_path / "facts.json", nodes=nodes, prefix=prefix)
    check(facts, nodes)
    if nodes == 2:
        assert f"off {facts.owner_before} (cordon" in said, "with two nodes a backend is always in the way"
    for step in (
        "kubectl apply -f manifests/vipring.yaml",
        "EXTERNAL-IP",
        "HTTP 200",
        "powering off",
        "outage",
        "tearing everything down",
    ):
        assert step in said


@pytest.mark.timeout(90)
@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name
)
def test_a_demo_that_is_stopped_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "vipring", "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        # Who runs the tests in the background of a shell has SIGINT ignored, and so would the demo.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
    ) as process:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if "powering off" in line:
                break
        process.send_signal(number)
        _, complaint = process.communicate(timeout=30)
    assert "powering off" in said, complaint
    if number == signal.SIGINT:
        assert (process.returncode, complaint) == (130, "demo interrupted\n")
    else:
        assert process.returncode == -number
    nothing_is_left_of(tmp_path)


@pytest.mark.timeout(120)
def test_a_demo_that_fails_says_why_in_one_line(tmp_path: Path) -> None:
    # An openssl that fails stands for every step that does not hold.
    broken = tmp_path / "openssl"
    broken.write_text("#!/bin/sh\necho 'no randomness today' >&2\nexit 1\n")
    broken.chmod(0o755)
    facts = tmp_path / "facts.json"
    done = subprocess.run(
        [sys.executable, "-m", "vipring", "demo", "--json", str(facts)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    assert done.returncode == 1
    assert done.stderr == "demo failed: openssl rand: no randomness today\n"
    assert not facts.exists()
