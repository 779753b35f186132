"""A run of the tests leaves no process, file or namespace: when it passes, when it fails, and after Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.lab.leftovers import nothing_is_left_of

REPOSITORY = Path(__file__).parent.parent.parent

SCRIPT = """
import anyio
from chaos.lab.lab import Lab

def test_it(tmp_path):
    (tmp_path / "file").write_text("of a test")
    async def story():
        async with Lab(nodes=1):
            assert %s, "on purpose"
    anyio.run(story)
"""


def start(scratch: Path, *what: str) -> subprocess.Popen[str]:
    """`pytest` on some tests, with a temporary directory of its own, in a process group of its own like a shell's job."""
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *what],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": str(scratch)},
        process_group=0,
        # Who runs the tests in the background of a shell has SIGINT ignored, and so would these.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
    )


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    directory = tmp_path / "scratch"
    directory.mkdir()
    return directory


@pytest.mark.timeout(90)
@pytest.mark.parametrize("passes", [True, False])
def test_of_a_run_to_its_end(passes: bool, scratch: Path, tmp_path: Path) -> None:
    (tmp_path / "test_script.py").write_text(SCRIPT % passes)
    options = ("-c", "pyproject.toml", "--rootdir", str(REPOSITORY), "-p", "tests.conftest")
    with start(scratch, *options, str(tmp_path / "test_script.py")) as run:
        said, _ = run.communicate(timeout=60)
    assert run.returncode == (0 if passes else 1), said
    assert ("1 passed" if passes else "on purpose") in said
    nothing_is_left_of(scratch)


@pytest.mark.timeout(90)
@pytest.mark.parametrize("what", ["test_lab_containers.py", "test_responder.py"])
def test_after_ctrl_c(scratch: Path, what: str) -> None:
    with start(scratch, f"tests/lab/{what}") as run:
        assert run.stdout is not None
        deadline = time.monotonic() + 60
        said = run.stdout.read(1)
        while said[-1:] != ".":
            assert time.monotonic() < deadline, said
            assert run.poll() is None, said + run.stdout.read()
            said += run.stdout.read(1)
        os.killpg(run.pid, signal.SIGINT)
        try:
            rest, _ = run.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            # Python drops an interrupt that falls into a finaliser; one presses the keys again.
            os.killpg(run.pid, signal.SIGINT)
            rest, _ = run.communicate(timeout=20)
    assert run.returncode == 2, said + rest
    assert "KeyboardInterrupt" in rest
    nothing_is_left_of(scratch)
