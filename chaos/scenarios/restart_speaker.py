"""The owner's speaker is asked to end (SIGTERM), as in a rolling update, and started again."""

from __future__ import annotations

import signal

from chaos.scenarios.model import Scenario
from chaos.scenarios.pods import renew_speaker
from chaos.stage import Stage


async def _fault(stage: Stage, node: str) -> float:
    return await stage.lab.kill(node, "speaker", signal.SIGTERM)


SCENARIO = Scenario(
    name="restart-speaker",
    summary="SIGTERM to the owner's speaker, which leaves the ring and is started again; the client has to ask anew",
    fault=_fault,
    after=renew_speaker,
    detected_by=frozenset({"memberLeft", "memberDead"}),
    forget_neighbour=True,
)
