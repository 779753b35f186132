"""The owner's data link goes down and its carrier with it, for some seconds: with the ring on it, or the ring elsewhere."""

from __future__ import annotations

import time

import anyio

from chaos.lab.awkward import run
from chaos.lab.settings import LabSettings
from chaos.lab.switch import SWITCH
from chaos.scenarios.model import ALWAYS, Scenario
from chaos.scenarios.pods import renew_speakers
from chaos.stage import Stage

DOWN_S = 5.0
_LINK = "eth0"


async def _fault(stage: Stage, node: str) -> float:
    started = await _down_and_up(stage, node, _LINK)
    # The kernel forgets routes of a link that is down.
    await stage.lab.run(node, ["ip", "route", "replace", "default", "via", "198.18.0.1"])
    return started


async def _pull(stage: Stage, node: str) -> float:
    """Down at the switch: the node's own end stays up without a carrier, and keeps its addresses and routes."""
    return await _down_and_up(stage, SWITCH, stage.lab.plan.node(node).data_port)


async def _down_and_up(stage: Stage, host: str, link: str) -> float:
    """Take a link of a host down for DOWN_S; since when."""
    started = time.monotonic()
    await run(stage.lab, host, ["ip", "link", "set", link, "down"])
    await anyio.sleep(DOWN_S)
    await run(stage.lab, host, ["ip", "link", "set", link, "up"])
    return started


_PROMISE = {**ALWAYS, "outage_s": 0.7, "back_s": 0.7}

SCENARIOS = (
    Scenario(
        name="link-down",
        summary=f"the owner's data link goes down with its carrier, and comes up after {DOWN_S:g} s",
        fault=_fault,
        after=renew_speakers,
        detected_by=frozenset({"memberDead"}),
        promise=_PROMISE,
        in_tests=True,
    ),
    Scenario(
        name="link-down-data",
        summary=f"the owner's data link loses its carrier for {DOWN_S:g} s, while the ring runs on the management network",
        fault=_pull,
        after=renew_speakers,
        detected_by=frozenset(),
        settings=LabSettings(internal_network="mgmt"),
        promise=_PROMISE,
    ),
)
