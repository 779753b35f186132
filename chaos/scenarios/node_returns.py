"""A node that lost power comes back and takes its addresses again."""

from __future__ import annotations

import anyio

from chaos.scenarios.model import ALWAYS, Scenario
from chaos.stage import Stage


async def _before(stage: Stage, node: str) -> None:
    await stage.lab.power_off(node)
    await stage.ring_is([name for name in stage.nodes if name != node], 60)
    await anyio.sleep(stage.scene.lasts_s)


async def _fault(stage: Stage, node: str) -> float:
    return await stage.lab.power_on(node)


def _scenario(name: str, absence: str, lasts_s: float, *, in_tests: bool = False) -> Scenario:
    return Scenario(
        name=name,
        summary=f"a node that was powered off {absence} is powered on again and takes its address back from its stand-in",
        before=_before,
        fault=_fault,
        detected_by=frozenset({"memberJoined", "memberAlive"}),
        comes_back=True,
        lasts_s=lasts_s,
        promise={**ALWAYS, "lost": 0, "neighbour_s": 1.0, "settled_s": 8.0},
        in_tests=in_tests,
    )


SCENARIOS = (
    _scenario("node-returns", "until the others had noticed", 0.0, in_tests=True),
    _scenario("node-returns-15", "for 15 s", 15.0),
    _scenario("node-returns-60", "for 60 s", 60.0),
)
