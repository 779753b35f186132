"""A node that was cut off from the segment, ring and data together, is connected again."""

from __future__ import annotations

from chaos.scenarios.model import Scenario
from chaos.stage import Stage


async def _before(stage: Stage, node: str) -> None:
    await stage.lab.disconnect(node)
    await stage.ring_is([name for name in stage.nodes if name != node], 60)


async def _fault(stage: Stage, node: str) -> float:
    return await stage.lab.connect(node)


SCENARIO = Scenario(
    name="partition",
    summary="a node was cut off and both sides had an owner; the cut heals, and one of the two has to give way",
    before=_before,
    fault=_fault,
    detected_by=frozenset({"memberJoined", "memberAlive"}),
    comes_back=True,
)
