"""A node that was cut off from the segment, ring and data together, is connected again."""

from __future__ import annotations

import anyio

from chaos.scenarios.model import ALWAYS, Scenario
from chaos.stage import Stage


async def _before(stage: Stage, node: str) -> None:
    await stage.lab.disconnect(node)
    await stage.ring_is([name for name in stage.nodes if name != node], 60)
    await anyio.sleep(stage.scene.lasts_s)


async def _fault(stage: Stage, node: str) -> float:
    return await stage.lab.connect(node)


def _scenario(name: str, length: str, lasts_s: float, *, in_tests: bool = False) -> Scenario:
    return Scenario(
        name=name,
        summary=f"a node was cut off {length} and both sides had an owner; the cut heals, and one of the two has to give way",
        before=_before,
        fault=_fault,
        detected_by=frozenset({"memberJoined", "memberAlive"}),
        comes_back=True,
        lasts_s=lasts_s,
        promise={**ALWAYS, "lost": 0, "neighbour_s": 1.0, "settled_s": 8.0},
        in_tests=in_tests,
    )


SCENARIOS = (
    _scenario("partition", "until the others had noticed", 0.0, in_tests=True),
    _scenario("partition-90", "for 90 s", 90.0),
)
