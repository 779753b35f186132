"""The owner loses power, and the client is deaf to gratuitous ARP: it learns of the heir by a request that is sent to it alone."""

from __future__ import annotations

import re

import anyio

from chaos.install import POOL
from chaos.lab.awkward import run
from chaos.lab.plan import CLIENT
from chaos.scenarios.model import ALWAYS, DETECTED_BY, Scenario
from chaos.scenarios.power_off import power_off, power_on
from chaos.stage import Stage

_HEARD_WITHIN_S = 2.0
_COUNTER = re.compile(r"counter packets (\d+)")


async def _deafen(stage: Stage, _node: str) -> None:
    """Drop what members broadcast with a VIP as sender before the client's kernel sees it, and let the client ask anew: who
    has asked by broadcast is remembered."""
    frame = f"ether type arp ether daddr ff:ff:ff:ff:ff:ff arp saddr ip {POOL} counter drop"
    chain = f"chain heard {{\ntype filter hook ingress device eth0 priority 0;\n{frame}\n}}"
    await run(stage.lab, CLIENT.name, ["nft", f"table netdev deaf {{\n{chain}\n}}"])
    await stage.lab.run(CLIENT.name, ["ip", "neigh", "del", stage.scene.vip, "dev", "eth0"])


async def _power_off(stage: Stage, node: str) -> float:
    fault = await power_off(stage, node)
    await anyio.sleep(_HEARD_WITHIN_S)
    _, listed = await stage.lab.run(CLIENT.name, ["nft", "list table netdev deaf"])
    stage.scene.require(dropped(listed) > 0, "no gratuitous frame was kept from the client")
    return fault


def dropped(listed: str) -> int:
    """How many frames a rule has dropped, from what nft lists of its table."""
    found = _COUNTER.search(listed)
    return int(found[1]) if found else 0


async def _hear(stage: Stage, node: str) -> None:
    await run(stage.lab, CLIENT.name, ["nft", "delete table netdev deaf"])
    await power_on(stage, node)


SCENARIO = Scenario(
    name="power-off-deaf-host",
    summary="the owner loses power, and no gratuitous frame reaches the client: a request sent to it alone tells it",
    before=_deafen,
    fault=_power_off,
    after=_hear,
    detected_by=DETECTED_BY,
    down_after=True,
    promise={**ALWAYS, "outage_s": 1.0, "back_s": 1.0, "neighbour_s": 1.0},
    typical={"outage_s": 0.65},
)
