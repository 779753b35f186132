"""The owner's data link goes down and its carrier with it, for some seconds."""

from __future__ import annotations

import time

import anyio

from chaos.errors import ChaosError
from chaos.scenarios.model import ALWAYS, Scenario
from chaos.scenarios.pods import renew_speakers
from chaos.stage import Stage

DOWN_S = 5.0
_LINK = "eth0"


async def _fault(stage: Stage, node: str) -> float:
    started = time.monotonic()
    await _set(stage, node, "down")
    await anyio.sleep(DOWN_S)
    await _set(stage, node, "up")
    # The kernel forgets routes of a link that is down.
    await stage.lab.run(node, ["ip", "route", "replace", "default", "via", "198.18.0.1"])
    return started


async def _set(stage: Stage, node: str, state: str) -> None:
    code, output = await stage.lab.run(node, ["ip", "link", "set", _LINK, state])
    if code != 0:
        raise ChaosError(f"{_LINK} {state} on {node}: {output.strip()}")


SCENARIO = Scenario(
    name="link-down",
    summary=f"the owner's data link goes down with its carrier, and comes up after {DOWN_S:g} s",
    fault=_fault,
    after=renew_speakers,
    detected_by=frozenset({"memberDead"}),
    promise={**ALWAYS, "outage_s": 0.7},
    in_tests=True,
)
