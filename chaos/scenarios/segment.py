"""Hosts and switches that answer ARP for addresses that are not theirs, and what the speakers say of them."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Collection, Sequence
from typing import Final

from chaos.errors import ChaosError
from chaos.lab import proxy_arp
from chaos.lab.plan import STRANGER
from chaos.lab.switch import (
    ARP_INTERFACE,
    NO_SUPPRESSION,
    NO_SUPPRESSION_PORT,
    SUPPRESSION_PORT,
    SWITCH,
    suppression,
)
from chaos.scenarios.power_off import power_off
from chaos.stage import Stage, until

ALARM_WITHIN_S: Final = 3.0
"""How long after the fault the alarm may take to be in the log; the log is read through the API."""

ALARM_AGAIN_S: Final = 60.0
"""Alarms for the same address and MAC address come so long after each other at least."""

_PROGRAM: Final = (sys.executable, "-I", "-S", proxy_arp.__file__)
_SUPPRESSION: Final = "suppression"
_STRANGER: Final = "stranger"


async def run(stage: Stage, host: str, arguments: Sequence[str]) -> None:
    """Run a program in a host's network namespace. Raises ChaosError with its words when it fails."""
    code, output = await stage.lab.run(host, arguments)
    if code != 0:
        raise ChaosError(f"{' '.join(arguments)} on {host or 'the switch'}: {output.strip()}")


async def suppress(stage: Stage) -> None:
    """From now on the switch answers broadcast ARP requests from its cache where it can."""
    for command in SUPPRESSION_PORT:
        await run(stage, SWITCH, ["ip", *command.split()])
    stage.scene.programs[_SUPPRESSION] = await stage.lab.start(
        SWITCH, [*_PROGRAM, "cache", ARP_INTERFACE, "--ports", "d-"]
    )
    await run(stage, SWITCH, ["nft", suppression(stage.lab.plan)])


async def flood(stage: Stage) -> None:
    """Undo `suppress`."""
    await run(stage, SWITCH, ["nft", NO_SUPPRESSION])
    await _end(stage, _SUPPRESSION)
    for command in NO_SUPPRESSION_PORT:
        await run(stage, SWITCH, ["ip", *command.split()])


async def meddle(stage: Stage) -> None:
    """From now on a host that is no node answers every broadcast ARP request."""
    stage.scene.programs[_STRANGER] = await stage.lab.start(STRANGER.name, [*_PROGRAM, "all", "eth0"])


async def be_silent(stage: Stage) -> None:
    """Undo `meddle`."""
    await _end(stage, _STRANGER)


async def _end(stage: Stage, name: str) -> None:
    program = stage.scene.programs.pop(name)
    if program.returncode is not None:
        raise ChaosError(f"the program of the {name} had ended by itself with {program.returncode}")
    program.terminate()
    await program.wait()


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
