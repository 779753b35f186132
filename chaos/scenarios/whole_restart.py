"""Every node loses power at once and gets it back."""

from __future__ import annotations

import time

import anyio

from chaos.scenarios.model import ALWAYS, Scenario
from chaos.scenarios.power_off import power_off
from chaos.stage import Stage

OFF_S = 5.0


async def _fault(stage: Stage, node: str) -> float:
    fault = await power_off(stage, node)
    await anyio.sleep(OFF_S)
    on: float = time.monotonic()
    async with anyio.create_task_group() as tasks:
        for name in stage.scene.victims:
            tasks.start_soon(stage.lab.power_on, name)
    stage.scene.facts["off_s"] = on - fault
    return fault


def _all(nodes: int) -> int:
    return nodes


SCENARIO = Scenario(
    name="whole-restart",
    summary=f"all nodes lose power at once and get it back after {OFF_S:g} s, with their pods, backends and speakers",
    fault=_fault,
    detected_by=frozenset({"memberJoined"}),
    victims=_all,
    keeps_backends=True,
    promise={**ALWAYS, "settled_s": 30.0},
)
