"""The owner's speaker stands still for some seconds and goes on as if nothing had been."""

from __future__ import annotations

import signal

import anyio

from chaos.scenarios.model import Scenario
from chaos.stage import Stage

HANG_S = 5.0


async def _fault(stage: Stage, node: str) -> float:
    started = await stage.lab.kill(node, "speaker", signal.SIGSTOP)
    await anyio.sleep(HANG_S)
    await stage.lab.kill(node, "speaker", signal.SIGCONT)
    return started


SCENARIO = Scenario(
    name="hang",
    summary=f"SIGSTOP to the owner's speaker, SIGCONT after {HANG_S:g} s; its responder lives and runs out of its lease",
    fault=_fault,
    detected_by=frozenset({"memberDead"}),
)
