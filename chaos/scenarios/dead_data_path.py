"""The owner's data port loses every frame, its carrier stays, and the ring lives on: it runs on the management network."""

from __future__ import annotations

import anyio

from chaos.lab.settings import LabSettings
from chaos.scenarios.model import ALWAYS, Scenario
from chaos.scenarios.pods import renew_speakers
from chaos.stage import Stage


async def _fault(stage: Stage, node: str) -> float:
    began = await stage.lab.disconnect(node)
    await anyio.sleep(stage.scene.lasts_s)
    await stage.lab.connect(node)
    return began


SCENARIO = Scenario(
    name="dead-data-path",
    summary="the owner's data port loses every frame for some time, while the ring runs on the management network",
    fault=_fault,
    after=renew_speakers,
    detected_by=frozenset(),
    settings=LabSettings(internal_network="mgmt"),
    lasts_s=12.0,
    promise={**ALWAYS, "no_owner_s": 4.0, "outage_s": 4.0},
)
