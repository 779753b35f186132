"""The owner's speaker is killed; the node, its kernel and its pods live on."""

from __future__ import annotations

import signal

from chaos.scenarios.model import Scenario
from chaos.scenarios.pods import renew_speaker
from chaos.stage import Stage


async def _fault(stage: Stage, node: str) -> float:
    return await stage.lab.kill(node, "speaker", signal.SIGKILL)


SCENARIO = Scenario(
    name="kill-speaker",
    summary="SIGKILL of the owner's speaker, which the node agent starts again; the client has to ask for the VIP anew",
    fault=_fault,
    # A fresh Pod: the next run must not wait for the restart back-off that this one earned.
    after=renew_speaker,
    detected_by=frozenset({"memberDead", "memberLeft"}),
    forget_neighbour=True,
)
