"""The owner, or several nodes at once, lose power: no frame leaves them any more, their links stay up, nothing says goodbye."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import anyio

from chaos import frames
from chaos.measure import Evidence
from chaos.scenarios.model import ALWAYS, DETECTED_BY, Scenario
from chaos.stage import Stage, until

_REMOVED_WITHIN_S = 90.0
_PACE = 200
_TOLD = 54
"""What a node announces to the members after a takeover on silence, frames a second at most, beside its pace (docs/claims.md)."""


async def power_off(stage: Stage, _node: str) -> float:
    """Cut the power of all victims at once; when the first of them lost it."""
    began: list[float] = []

    async def one(node: str) -> None:
        began.append(await stage.lab.power_off(node))

    async with anyio.create_task_group() as tasks:
        for node in stage.scene.victims:
            tasks.start_soon(one, node)
    return min(began)


async def power_on(stage: Stage, _node: str) -> None:
    """Give all that are off their power back."""
    for node in sorted(stage.scene.off):
        await stage.lab.power_on(node)


async def _until_removed(stage: Stage, node: str) -> float:
    """The cluster notices a dead node by its Lease, which is 40 s old then, and takes its endpoints away."""
    fault = await power_off(stage, node)

    async def removed() -> bool:
        return not set(stage.scene.victims) & set(await stage.ready_nodes())

    await until(f"the endpoints on {node} are still there", removed, _REMOVED_WITHIN_S)
    return fault


def turns(evidence: Evidence) -> Mapping[str, float]:
    """Whether the heirs announced every address once before any of them twice, and how many frames one of them sent in a
    second at most, from the packet record."""
    if evidence.frames is None:
        return {}
    lost = {vip for vip, owner in evidence.owned.items() if owner in evidence.victims}
    since, until = evidence.fault, evidence.end
    return {
        "out_of_turn": frames.out_of_turn(evidence.frames, lost, since=since, until=until),
        "frames_in_a_second": frames.most_in_a_second(evidence.frames, lost, since=since),
    }


def _half(nodes: int) -> int:
    return nodes // 2


def _two(_nodes: int) -> int:
    return 2


_SEVERAL = {**ALWAYS, "outage_s": 1.5, "back_s": 1.5}

_OFF = Scenario(
    name="",
    summary="",
    fault=power_off,
    after=power_on,
    detected_by=DETECTED_BY,
    down_after=True,
)
"""What all of them have in common."""

SCENARIOS = (
    replace(
        _OFF,
        name="power-off",
        summary="the owner's data and management ports go dead in one step, carrier stays up, then all its processes die",
        promise={**ALWAYS, "outage_s": 1.0, "back_s": 1.0},
        typical={"outage_s": 0.65},
        in_tests=True,
    ),
    replace(
        _OFF,
        name="power-off-three",
        summary="the same with --fast-lane-misses=3 on all speakers",
        speaker_flags=("--fast-lane-misses=3",),
        promise={**ALWAYS, "outage_s": 1.0, "back_s": 1.0},
        typical={"outage_s": 0.55},
    ),
    replace(
        _OFF,
        name="power-off-200",
        summary="the owner of 200 addresses loses power",
        services=200,
        one_owner=True,
        look=turns,
        promise={**_SEVERAL, "out_of_turn": 0},
    ),
    replace(
        _OFF,
        name="power-off-200-paced",
        summary=f"the same with --gratuitous-rate={_PACE} on all speakers: each heir has more to say in a second than that",
        speaker_flags=(f"--gratuitous-rate={_PACE}",),
        services=200,
        one_owner=True,
        look=turns,
        # A frame that the tap read late is a little nearer to the next ones.
        promise={**_SEVERAL, "frames_in_a_second": 1.05 * _PACE + _TOLD},
    ),
    replace(
        _OFF,
        name="power-off-two",
        summary="two of five nodes lose power at once",
        victims=_two,
        nodes=5,
        services=8,
        promise=_SEVERAL,
    ),
    replace(
        _OFF,
        name="power-off-half",
        summary="half of six nodes lose power at once",
        victims=_half,
        nodes=6,
        services=8,
        promise=_SEVERAL,
    ),
    replace(
        _OFF,
        name="power-off-backend",
        summary="the owner loses power with a backend on it, whose endpoint is removed once its Lease is 40 s old",
        fault=_until_removed,
        keeps_backends=True,
        flows=50,
        # Kubernetes gives a node up when its Lease is 40 s old, and looks every few seconds.
        promise={**ALWAYS, "back_s": 1.0, "whole_s": 45.0},
    ),
)
