"""A node that was away for a time, without power or cut off from the segment, comes back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from chaos.scenarios.model import ALWAYS, Scenario
from chaos.stage import Stage

_Step = Callable[[Stage, str], Awaitable[float]]
"""What is done to a node; when (monotonic seconds)."""


def _scenario(
    name: str, summary: str, leave: _Step, come_back: _Step, *, lasts_s: float = 0.0, in_tests: bool = False
) -> Scenario:
    async def before(stage: Stage, node: str) -> None:
        await leave(stage, node)
        await stage.ring_is([name for name in stage.nodes if name != node], 60)
        await anyio.sleep(stage.scene.lasts_s)

    return Scenario(
        name=name,
        summary=summary,
        before=before,
        fault=come_back,
        detected_by=frozenset({"memberJoined", "memberAlive"}),
        comes_back=True,
        lasts_s=lasts_s,
        promise={**ALWAYS, "lost": 0, "neighbour_s": 1.0, "settled_s": 8.0},
        in_tests=in_tests,
    )


def _returns(name: str, absence: str, *, lasts_s: float = 0.0, in_tests: bool = False) -> Scenario:
    summary = f"a node that was powered off {absence} is powered on again and takes its address back from its stand-in"
    return _scenario(
        name,
        summary,
        lambda stage, node: stage.lab.power_off(node),
        lambda stage, node: stage.lab.power_on(node),
        lasts_s=lasts_s,
        in_tests=in_tests,
    )


def _parted(name: str, length: str, *, lasts_s: float = 0.0, in_tests: bool = False) -> Scenario:
    summary = f"a node was cut off {length} and both sides had an owner; the cut heals, and one of the two has to give way"
    return _scenario(
        name,
        summary,
        lambda stage, node: stage.lab.disconnect(node),
        lambda stage, node: stage.lab.connect(node),
        lasts_s=lasts_s,
        in_tests=in_tests,
    )


NODE_RETURNS = (
    _returns("node-returns", "until the others had noticed", in_tests=True),
    _returns("node-returns-15", "for 15 s", lasts_s=15.0),
    _returns("node-returns-60", "for 60 s", lasts_s=60.0),
)
PARTITION = (
    _parted("partition", "until the others had noticed", in_tests=True),
    _parted("partition-90", "for 90 s", lasts_s=90.0),
)
