"""Processes of a container: who its main process started, and that they can be kept from running."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from chaos.lab.container import children, starve

DEADLINE_S = 20.0


def state(process: subprocess.Popen[bytes]) -> str:
    """The letter of a process's state (proc(5)); T: stopped by a signal."""
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


async def seen(process: subprocess.Popen[bytes], wanted: Counter[str]) -> None:
    """Look until each state was found so often."""
    found: Counter[str] = Counter()
    with anyio.fail_after(DEADLINE_S):
        while not found >= wanted:
            found["stopped" if state(process) == "T" else "running"] += 1
            await anyio.sleep(0.001)


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as found:
        try:
            yield found
        finally:
            found.kill()


@pytest.mark.parametrize("cancelled", [False, True])
async def test_starved_processes_stop_and_run_in_turn_and_run_at_the_end(
    process: subprocess.Popen[bytes], cancelled: bool
) -> None:
    async with anyio.create_task_group() as tasks:

        async def throttled() -> None:
            seconds = DEADLINE_S if cancelled else 0.3
            await starve([process.pid], seconds, stop_s=0.03, run_s=0.03, ended=lambda: False)

        tasks.start_soon(throttled)
        await seen(process, Counter(stopped=2, running=2))
        if cancelled:
            tasks.cancel_scope.cancel()
    await seen(process, Counter(running=20))
    assert state(process) != "T"


async def test_nobody_is_signalled_once_they_have_ended(process: subprocess.Popen[bytes]) -> None:
    began = time.monotonic()
    assert await starve([process.pid], 5.0, stop_s=0.01, run_s=0.01, ended=lambda: True) >= began
    assert state(process) != "T"


def test_children_are_found_by_their_parent() -> None:
    before = set(children(os.getpid()))
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert set(children(os.getpid())) - before == {child.pid}
        assert children(child.pid) == []
        child.communicate(b"\n")
    assert child.pid not in children(os.getpid())
