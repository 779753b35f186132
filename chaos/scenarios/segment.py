"""Something that answers ARP for addresses that are not its own, and what the speakers say of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection
from typing import Final

from chaos.errors import ChaosError
from chaos.lab import awkward
from chaos.scenarios.power_off import power_off
from chaos.stage import Stage, until

ALARM_WITHIN_S: Final = 3.0
"""How long after the fault the alarm may take to be in the log; the log is read through the API."""

ALARM_AGAIN_S: Final = 60.0
"""Alarms for the same address and MAC address come so long after each other at least."""

_SUPPRESSION: Final = "suppression"
_STRANGER: Final = "stranger"


async def suppress(stage: Stage) -> None:
    """From now on the switch answers broadcast ARP requests from its cache where it can."""
    stage.scene.programs[_SUPPRESSION] = await awkward.suppress(stage.lab)


async def flood(stage: Stage) -> None:
    """Undo `suppress`."""
    await awkward.flood(stage.lab, stage.scene.programs.pop(_SUPPRESSION))


async def meddle(stage: Stage) -> None:
    """From now on a host that is no node answers every broadcast ARP request."""
    stage.scene.programs[_STRANGER] = await awkward.meddle(stage.lab)


async def be_silent(stage: Stage) -> None:
    """Undo `meddle`."""
    await awkward.end(stage.scene.programs.pop(_STRANGER))


async def power_off_and_alarm(stage: Stage, node: str, macs: Collection[str]) -> float:
    """Cut the power of the victim; `without_alarm` of its addresses no speaker then named one of `macs` for."""
    fault = await power_off(stage, node)
    since = time.time() - (time.monotonic() - fault) - ALARM_AGAIN_S
    lost = {vip for vip, owner in stage.scene.owners.items() if owner == node}
    up = [name for name in stage.nodes if name != node]

    async def told() -> bool:
        for entry in await stage.logs(up):
            line = entry.line
            if line.event == "foreignAnswer" and line.mac in macs and entry.at >= since:
                lost.discard(line.ip)
        return not lost

    with contextlib.suppress(ChaosError):
        await until("no alarm", told, ALARM_WITHIN_S)
    stage.scene.facts["without_alarm"] = len(lost)
    return fault
