"""Segments as nobody wants them: a switch that suppresses ARP, a host that answers everything (chaos/lab/proxy_arp.py)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from anyio.abc import Process

from chaos.lab import proxy_arp
from chaos.lab.errors import LabError
from chaos.lab.lab import Lab
from chaos.lab.plan import STRANGER
from chaos.lab.switch import (
    ARP_INTERFACE,
    NO_SUPPRESSION,
    NO_SUPPRESSION_PORT,
    SUPPRESSION_PORT,
    SWITCH,
    suppression,
)

_PROGRAM: Final = (sys.executable, "-I", "-S", proxy_arp.__file__)


async def suppress(lab: Lab) -> Process:
    """From now on the switch answers broadcast ARP requests from its cache where it can. Raises LabError."""
    for command in SUPPRESSION_PORT:
        await run(lab, SWITCH, ["ip", *command.split()])
    program = await lab.start(SWITCH, [*_PROGRAM, "cache", ARP_INTERFACE, "--ports", "d-"])
    await run(lab, SWITCH, ["nft", suppression(lab.plan)])
    return program


async def flood(lab: Lab, program: Process) -> None:
    """Undo `suppress`. Raises LabError, also when its program had ended by itself."""
    await run(lab, SWITCH, ["nft", NO_SUPPRESSION])
    await end(program)
    for command in NO_SUPPRESSION_PORT:
        await run(lab, SWITCH, ["ip", *command.split()])


async def meddle(lab: Lab) -> Process:
    """From now on a host that is no node answers every broadcast ARP request; `end` makes it silent. Raises LabError."""
    return await lab.start(STRANGER.name, [*_PROGRAM, "all", "eth0"])


async def end(program: Process) -> None:
    """End a program. Raises LabError when it had ended by itself."""
    if program.returncode is not None:
        raise LabError(f"proxy_arp had ended by itself with code {program.returncode}")
    program.terminate()
    await program.wait()


async def run(lab: Lab, host: str, arguments: Sequence[str]) -> None:
    """Run a program in a host's network namespace. Raises LabError with its words when it fails."""
    code, output = await lab.run(host, arguments)
    if code != 0:
        raise LabError(f"{' '.join(arguments)} on {host or 'the switch'}: {output.strip()}")
