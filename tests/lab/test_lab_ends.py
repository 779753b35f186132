"""The cluster in a box: nothing is left of it however it ends, and it needs no root."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from chaos.lab.errors import LabError
from chaos.lab.lab import Lab
from tests.lab.box import SOON_S, command

pytestmark = pytest.mark.timeout(120)
FILES = [str(Path(__file__).with_name(f"test_lab_{what}.py")) for what in ("containers", "services", "nodes")]


def start(prefix: Sequence[str], directory: Path) -> tuple[subprocess.Popen[str], str]:
    """`python -m chaos.lab` in a process of its own; what it printed until it was up."""
    process = subprocess.Popen(
        [*prefix, sys.executable, "-m", "chaos.lab", "--nodes", "1", "--no-install"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": str(directory)},
    )
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if line.startswith("stop with"):
            return process, said
    process.wait()
    raise AssertionError(f"the lab did not start:\n{said}")


def left(directory: Path) -> dict[int, str]:
    """Processes that have to do with labs of this directory."""
    pids = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return {pid: command(pid) for pid in pids if str(directory) in command(pid)}


def namespaces(pids: Sequence[int]) -> set[str]:
    return {os.readlink(f"/proc/{pid}/ns/net") for pid in pids}


def in_use() -> set[str]:
    found = set()
    for path in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            found.add(os.readlink(path))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("prefix", [(), ("unshare", "-Urn")], ids=["as this user", "in a user namespace"])
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_a_lab(ending: signal.Signals, prefix: Sequence[str], tmp_path: Path) -> None:
    process, said = start(prefix, tmp_path)
    assert "export KUBECONFIG=" in said
    lives = left(tmp_path)
    assert len(lives) >= 3, "launcher, engine and agent"
    made = namespaces(list(lives)) - namespaces([os.getpid(), process.pid])
    assert made
    process.send_signal(ending)
    assert process.wait(timeout=20) == (-signal.SIGKILL if ending == signal.SIGKILL else 0)
    assert process.stdout is not None
    process.stdout.close()
    deadline = time.monotonic() + SOON_S
    while time.monotonic() < deadline and (left(tmp_path) or list(tmp_path.iterdir())):
        time.sleep(0.05)
    assert left(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []
    assert not made & in_use()


async def test_a_lab_cleans_up_after_an_error_in_its_body() -> None:
    directory: Path | None = None

    async def fails() -> None:
        nonlocal directory
        async with Lab(1) as running:
            directory = running.run_dir
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fails()
    assert directory is not None
    assert directory.name not in os.listdir(directory.parent)
    assert left(directory) == {}


async def test_a_cancelled_lab_cleans_up() -> None:
    directory: Path | None = None
    with anyio.move_on_after(10) as scope:
        async with Lab(1) as running:
            directory = running.run_dir
            scope.cancel()
            await anyio.sleep_forever()
    assert directory is not None
    assert directory.name not in os.listdir(directory.parent)
    assert left(directory) == {}


def test_who_may_not_make_namespaces_gets_one_line() -> None:
    script = (
        "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all --inh-caps=-all "
    )
    script += f"{sys.executable} -m chaos.lab --no-install --nodes 1"
    done = subprocess.run(
        ["unshare", "-Ur", "sh", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("lab: the lab did not start: this process may make neither namespaces nor")


async def test_a_wrong_number_of_nodes_is_refused() -> None:
    with pytest.raises(LabError, match=r"^nodes: must be between 1 and 60, is 61$"):
        Lab(61)


@pytest.mark.timeout(200)
def test_the_same_in_a_user_namespace() -> None:
    """As root in other files, and once more where this process's only uid is its own."""
    done = subprocess.run(
        [
            "unshare",
            "-Urn",
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            *FILES,
            "-k",
            "identity or user_it or nginx or power",
        ],
        capture_output=True,
        text=True,
        timeout=190,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout
