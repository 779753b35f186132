"""Speakers are asked to end (SIGTERM) and started again: one of them, or all, one after the other."""

from __future__ import annotations

import signal
import time
from typing import Final

import msgspec

from chaos.install import NAMESPACE
from chaos.scenarios.model import ALWAYS, Fault, Scenario, nothing
from chaos.scenarios.pods import renew_speaker
from chaos.stage import Stage, until

_SPEAKERS: Final = f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/speaker"
_ROLLED_WITHIN_S: Final = 240.0


class _Metadata(msgspec.Struct, frozen=True):
    generation: int


class _Status(msgspec.Struct, frozen=True, rename="camel"):
    observed_generation: int = 0
    updated_number_scheduled: int = 0
    number_ready: int = 0


class _Rolling(msgspec.Struct, frozen=True):
    metadata: _Metadata
    status: _Status = _Status()


async def _restart(stage: Stage, node: str) -> float:
    return await stage.lab.kill(node, "speaker", signal.SIGTERM)


async def _roll(stage: Stage, _node: str) -> float:
    """What `kubectl rollout restart daemonset/speaker` does; returns once all Pods are of the new template and ready."""
    started = time.monotonic()
    annotations = {"kubectl.kubernetes.io/restartedAt": f"{time.time():.6f}"}
    changed = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
    generation = (await stage.lab.api.patch(_SPEAKERS, changed, _Rolling)).metadata.generation

    async def rolled() -> bool:
        status = (await stage.lab.api.get(_SPEAKERS, _Rolling)).status
        everywhere = status.updated_number_scheduled == status.number_ready == len(stage.nodes)
        return everywhere and status.observed_generation >= generation

    await until("the speakers are not renewed", rolled, _ROLLED_WITHIN_S)
    stage.scene.facts["rolled_s"] = time.monotonic() - started
    return started


def _scenario(name: str, summary: str, fault: Fault, *, cold: bool = False) -> Scenario:
    once = fault is _restart
    return Scenario(
        name=name,
        summary=summary,
        fault=fault,
        after=renew_speaker if once else nothing,
        detected_by=frozenset({"memberLeft", "memberDead"}),
        forget_neighbour=once and not cold,
        cold=cold,
        rate=1000.0,
        promise={**ALWAYS, "lost": 0, **({"waited_s": 0.2} if cold else {})},
        in_tests=once and not cold,
    )


_COLD = "; the client forgets its neighbour entry every 100 ms"
_ONE = "SIGTERM to the owner's speaker, which leaves the ring and is started again"
_ALL = "the DaemonSet's template is changed: all speakers are renewed, one after the other"

SCENARIOS = (
    _scenario("restart-speaker", f"{_ONE}; the client has to ask anew", _restart),
    _scenario("restart-speaker-cold", _ONE + _COLD, _restart, cold=True),
    _scenario("rolling-restart", _ALL, _roll),
    _scenario("rolling-restart-cold", _ALL + _COLD, _roll, cold=True),
)
