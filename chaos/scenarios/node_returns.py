"""A node that lost power comes back and takes its addresses again."""

from __future__ import annotations

from chaos.scenarios.model import Scenario
from chaos.stage import Stage


async def _before(stage: Stage, node: str) -> None:
    await stage.lab.power_off(node)
    await stage.ring_is([name for name in stage.nodes if name != node], 60)


async def _fault(stage: Stage, node: str) -> float:
    return await stage.lab.power_on(node)


SCENARIO = Scenario(
    name="node-returns",
    summary="a node that was powered off is powered on again and takes its address back from its stand-in",
    before=_before,
    fault=_fault,
    detected_by=frozenset({"memberJoined", "memberAlive"}),
    comes_back=True,
)
