"""The API server is away: what is announced stays announced, nothing restarts for it, and a dead node is still noticed."""

from __future__ import annotations

import time

import anyio
import msgspec

from chaos import install
from chaos.errors import ChaosError
from chaos.lab.apiserver.faults import Faults
from chaos.lab.objects import Pod
from chaos.scenarios.model import ALWAYS, Scenario
from chaos.scenarios.power_off import power_off, power_on
from chaos.stage import Stage, until

_BACK_OFF_S = 35.0
"""Who finds the API server away waits up to 30 s before he tries again."""
_ADDED = "echo-after-the-outage"


async def _fault(stage: Stage, _node: str) -> float:
    before = await _restarts(stage)
    started = await _take_away(stage)
    await _until_back(stage, started)
    await stage.ring_is(stage.nodes, 30)
    if (after := await _restarts(stage)) != before:
        raise ChaosError(
            f"containers restarted while the API server was away: {before} before, {after} after"
        )
    await stage.lab.apply([install.echo_service(_ADDED)])
    # The controller waits at most 30 s between its attempts to list.
    await stage.external_ips([_ADDED], 40)
    await stage.lab.api.delete(f"/api/v1/namespaces/default/services/{_ADDED}")
    return started


async def _power_off_inside(stage: Stage, node: str) -> float:
    started = await _take_away(stage)
    await anyio.sleep(stage.scene.lasts_s / 2)
    fault = await power_off(stage, node)
    await _until_back(stage, started)
    return fault


async def _take_away(stage: Stage) -> float:
    """Let the API server refuse connections; since when."""
    started = time.monotonic()
    await stage.lab.api.replace("/lab/faults", Faults(down_s=stage.scene.lasts_s), msgspec.Raw)
    return started


async def _until_back(stage: Stage, started: float) -> None:
    lasts_s = stage.scene.lasts_s
    await anyio.sleep(max(0.0, started + lasts_s - time.monotonic()))

    async def back() -> bool:
        await stage.lab.api.raw("GET", "/lab/faults")
        return time.monotonic() > started + lasts_s

    await until("the API server is not back", back, 30)


async def _restarts(stage: Stage) -> dict[str, int]:
    """How often the containers of each Pod of vipring were restarted."""
    pods, _ = await stage.lab.api.list(f"/api/v1/namespaces/{install.NAMESPACE}/pods", Pod)
    return {
        pod.metadata.name: sum(one.restart_count for one in pod.status.container_statuses) for pod in pods
    }


SCENARIOS = (
    Scenario(
        name="api-down",
        summary="the API server is away for some time; nothing moves, nothing restarts, a new Service works afterwards",
        fault=_fault,
        detected_by=frozenset({"memberDead"}),
        lasts_s=60.0,
        promise={**ALWAYS, "lost": 0, "moves": 0, "no_owner_s": 0.1},
        in_tests=True,
    ),
    Scenario(
        name="api-down-long",
        summary="the API server is away for 600 s, and in the middle of that the owner loses power",
        fault=_power_off_inside,
        after=power_on,
        detected_by=frozenset({"memberDead"}),
        down_after=True,
        lasts_s=600.0,
        back_off_s=_BACK_OFF_S,
        promise={**ALWAYS, "outage_s": 1.0, "back_s": 1.0},
        typical={"outage_s": 0.65},
    ),
)
