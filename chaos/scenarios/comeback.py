"""A node that was away for a time, without power or cut off from the segment, comes back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import anyio

from chaos.scenarios.model import ALWAYS, Scenario
from chaos.stage import Stage

_Step = Callable[[Stage, str], Awaitable[float]]
"""What is done to a node; when (monotonic seconds)."""


class _Absence(NamedTuple):
    """How a node is away and comes back; `summary` has a place for how long it was."""

    name: str
    summary: str
    leave: _Step
    come_back: _Step


_POWERED_OFF = _Absence(
    "node-returns",
    "a node that was powered off {} is powered on again and takes its address back from its stand-in",
    lambda stage, node: stage.lab.power_off(node),
    lambda stage, node: stage.lab.power_on(node),
)
_CUT_OFF = _Absence(
    "partition",
    "a node was cut off {} and both sides had an owner; the cut heals, and one of the two has to give way",
    lambda stage, node: stage.lab.disconnect(node),
    lambda stage, node: stage.lab.connect(node),
)


def _scenario(absence: _Absence, lasts_s: float | None = None) -> Scenario:
    """A node that is away for so long once the others have noticed; by default no longer than that."""

    async def before(stage: Stage, node: str) -> None:
        await absence.leave(stage, node)
        await stage.ring_is([name for name in stage.nodes if name != node], 60)
        await anyio.sleep(stage.scene.lasts_s)

    briefly = lasts_s is None
    return Scenario(
        name=absence.name if briefly else f"{absence.name}-{lasts_s:g}",
        summary=absence.summary.format("until the others had noticed" if briefly else f"for {lasts_s:g} s"),
        before=before,
        fault=absence.come_back,
        detected_by=frozenset({"memberJoined", "memberAlive"}),
        comes_back=True,
        lasts_s=lasts_s or 0.0,
        promise={**ALWAYS, "lost": 0, "neighbour_s": 1.0, "settled_s": 8.0},
        in_tests=briefly,
    )


NODE_RETURNS = (_scenario(_POWERED_OFF), _scenario(_POWERED_OFF, 15.0), _scenario(_POWERED_OFF, 60.0))
PARTITION = (_scenario(_CUT_OFF), _scenario(_CUT_OFF, 90.0))
