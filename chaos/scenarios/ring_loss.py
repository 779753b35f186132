"""Packets of the ring are lost at random, at every node; the data path loses none."""

from __future__ import annotations

import time

import anyio

from chaos import frames
from chaos.lab.awkward import run
from chaos.scenarios.model import ALWAYS, Scenario
from chaos.scenarios.pods import renew_speakers
from chaos.scenarios.power_off import power_off, power_on
from chaos.scenarios.ringport import RING_PORT
from chaos.stage import Stage

LOSS_PERCENT = 5


async def lose(stage: Stage) -> None:
    """Every node loses so many of the packets that come to the ring's port, UDP and TCP."""
    rule = f"meta l4proto {{ tcp, udp }} th dport {RING_PORT} numgen random mod 100 < {LOSS_PERCENT} drop"
    table = f"table inet ringloss {{\nchain input {{\ntype filter hook input priority 0;\n{rule}\n}}\n}}"
    for node in stage.nodes:
        await run(stage.lab, node, ["nft", table])


async def lose_nothing(stage: Stage) -> None:
    """Undo `lose`, on the nodes whose rules did not go with their power."""
    for node in stage.nodes:
        if node not in stage.scene.off:
            await run(stage.lab, node, ["nft", "delete table inet ringloss"])


async def _fault(stage: Stage, _node: str) -> float:
    began = time.monotonic()
    await lose(stage)
    await anyio.sleep(stage.scene.lasts_s)
    await lose_nothing(stage)
    owners = {vip: stage.lab.node_mac(owner) for vip, owner in stage.scene.owners.items()}
    stage.scene.facts["moved"] = len(frames.moved(stage.scene.recorder.record(), owners, since=began))
    return began


async def _before(stage: Stage, _node: str) -> None:
    await lose(stage)


async def _after(stage: Stage, node: str) -> None:
    await lose_nothing(stage)
    await power_on(stage, node)
    await stage.ring_is(stage.nodes, 60)
    await renew_speakers(stage, node)


SCENARIOS = (
    Scenario(
        name="ring-loss",
        summary=f"{LOSS_PERCENT} % of the ring's packets are lost at every node for some time: no address may move",
        fault=_fault,
        detected_by=frozenset({"memberDead"}),
        lasts_s=60.0,
        promise={**ALWAYS, "two_owners_s": 0.0, "moved": 0, "lost": 0, "outage_s": 0.2},
    ),
    Scenario(
        name="ring-loss-power-off",
        summary=f"the owner loses power while {LOSS_PERCENT} % of the ring's packets are lost at every node",
        before=_before,
        fault=power_off,
        after=_after,
        detected_by=frozenset({"memberDead", "memberLeft"}),
        down_after=True,
        promise={**ALWAYS, "outage_s": 1.0, "back_s": 1.0},
        typical={"outage_s": 0.65},
    ),
)
