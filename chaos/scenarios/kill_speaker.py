"""The owner's speaker is killed; the node, its kernel and its pods live on."""

from __future__ import annotations

import signal

from chaos.scenarios.model import ALWAYS, DETECTED_BY, Scenario
from chaos.scenarios.pods import renew_speaker
from chaos.stage import Stage


async def _fault(stage: Stage, node: str) -> float:
    return await stage.lab.kill(node, "speaker", signal.SIGKILL)


SCENARIOS = (
    Scenario(
        name="kill-speaker",
        summary="SIGKILL of the owner's speaker, which the node agent starts again; the client has to ask for the VIP anew",
        fault=_fault,
        # A fresh Pod: the next run must not wait for the restart back-off that this one earned.
        after=renew_speaker,
        detected_by=DETECTED_BY,
        forget_neighbour=True,
        promise={**ALWAYS, "outage_s": 1.0, "back_s": 1.0},
        typical={"outage_s": 0.65},
        in_tests=True,
    ),
    Scenario(
        name="kill-speaker-warm",
        summary="SIGKILL of the owner's speaker; the client has the owner in its neighbour table",
        fault=_fault,
        after=renew_speaker,
        detected_by=DETECTED_BY,
        promise={**ALWAYS, "back_s": 1.0, "lost": 0},
    ),
)
