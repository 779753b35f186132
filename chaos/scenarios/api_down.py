"""The API server is away for a minute: what is announced stays announced, and nothing restarts for it."""

from __future__ import annotations

import time

import msgspec

from chaos import install
from chaos.errors import ChaosError
from chaos.lab.apiserver.faults import Faults
from chaos.lab.objects import Pod
from chaos.scenarios.model import Scenario
from chaos.stage import Stage, until

DOWN_S = 60.0
_ADDED = "echo-after-the-outage"


async def _fault(stage: Stage, _node: str) -> float:
    before = await _restarts(stage)
    started = time.monotonic()
    await stage.lab.api.replace("/lab/faults", Faults(down_s=DOWN_S), msgspec.Raw)

    async def back() -> bool:
        await stage.lab.api.raw("GET", "/lab/faults")
        return time.monotonic() > started + DOWN_S

    await until("the API server is not back", back, DOWN_S + 30)
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


async def _restarts(stage: Stage) -> dict[str, int]:
    """How often the containers of each Pod of vipring were restarted."""
    pods, _ = await stage.lab.api.list(f"/api/v1/namespaces/{install.NAMESPACE}/pods", Pod)
    return {
        pod.metadata.name: sum(one.restart_count for one in pod.status.container_statuses) for pod in pods
    }


SCENARIO = Scenario(
    name="api-down",
    summary=f"the API server is away for {DOWN_S:g} s; nothing moves, nothing restarts, a new Service works afterwards",
    fault=_fault,
    detected_by=frozenset({"memberDead"}),
)
