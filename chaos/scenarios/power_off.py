"""The owner loses power: no frame leaves it any more, its links stay up, nothing says goodbye."""

from __future__ import annotations

from chaos.scenarios.model import Scenario
from chaos.stage import Stage


async def _fault(stage: Stage, node: str) -> float:
    return await stage.lab.power_off(node)


async def _after(stage: Stage, node: str) -> None:
    await stage.lab.power_on(node)


SCENARIO = Scenario(
    name="power-off",
    summary="the owner's data and management ports go dead in one step, carrier stays up, then all its processes die",
    fault=_fault,
    after=_after,
    detected_by=frozenset({"memberDead", "memberLeft"}),
    down_after=True,
)
