"""The owner's speaker and responder hardly get any CPU: they stand still for 90 of every 100 ms."""

from __future__ import annotations

from chaos import frames
from chaos.scenarios.model import ALWAYS, Scenario
from chaos.scenarios.pods import renew_speakers
from chaos.stage import Stage

STOP_S, RUN_S = 0.09, 0.01


async def _fault(stage: Stage, node: str) -> float:
    began = await stage.lab.throttle(node, "speaker", stage.scene.lasts_s, stop_s=STOP_S, run_s=RUN_S)
    owners = {vip: stage.lab.node_mac(owner) for vip, owner in stage.scene.owners.items()}
    stage.scene.facts["moved"] = len(frames.moved(stage.scene.recorder.record(), owners, since=began))
    return began


SCENARIO = Scenario(
    name="cpu-starvation",
    summary=f"SIGSTOP for {STOP_S * 1000:g} ms, SIGCONT for {RUN_S * 1000:g} ms, in turn, to the owner's speaker and responder",
    fault=_fault,
    after=renew_speakers,
    detected_by=frozenset({"memberDead"}),
    lasts_s=30.0,
    promise={**ALWAYS, "two_owners_s": 0.0},
)
