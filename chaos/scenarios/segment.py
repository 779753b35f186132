"""Something that answers ARP for addresses that are not its own, and what the speakers say of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterable
from typing import Final

from chaos import phases
from chaos.errors import ChaosError
from chaos.lab import awkward
from chaos.scenarios.pods import renew_speakers
from chaos.scenarios.power_off import power_off, power_on
from chaos.stage import Stage, until

ALARM_WITHIN_S: Final = 3.0
"""How long after the fault the alarm may take to be in the log; the log is read through the API."""

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
    since = time.time() - (time.monotonic() - fault)
    lost = {vip for vip, owner in stage.scene.owners.items() if owner == node}
    up = [name for name in stage.nodes if name != node]
    without = lost

    async def told() -> bool:
        nonlocal without
        without = lost - alarmed(await stage.logs(up), macs, since=since)
        return not without

    with contextlib.suppress(ChaosError):
        await until("no alarm", told, ALARM_WITHIN_S)
    stage.scene.facts["without_alarm"] = len(without)
    return fault


def alarmed(log: Iterable[phases.Entry], macs: Collection[str], *, since: float) -> set[str]:
    """The addresses for which a speaker named one of `macs` at or after `since`, seconds of the wall clock."""
    return {
        entry.line.ip
        for entry in log
        if entry.at >= since and entry.line.event == "foreignAnswer" and entry.line.mac in macs
    }


async def power_on_and_renew(stage: Stage, node: str) -> None:
    """What comes after `power_off_and_alarm`: a speaker repeats no alarm within a minute, but the next run needs its own."""
    await power_on(stage, node)
    await stage.ring_is(stage.nodes, 60)
    await renew_speakers(stage, node)
