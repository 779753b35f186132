"""The owner's speaker, its responder, or both stand still for some time and go on as if nothing had been."""

from __future__ import annotations

import signal
from collections.abc import Collection
from contextlib import suppress
from typing import Final, Literal

import anyio

from chaos.lab.errors import LabError
from chaos.scenarios.model import ALWAYS, DETECTED_BY, Fault, Scenario
from chaos.scenarios.pods import renew_speakers
from chaos.stage import Stage

Part = Literal["speaker", "responder"]

STALLS_S: Final = (5.0, 0.3, 0.6, 1.0, 1.4)
"""How long, run by run; around the responder's lease of 1.5 s and the 0.25 s that it takes for a stall of its own."""

RANDOM_FOR_S: Final = 20.0
_SPEAKER: Final[tuple[Part, ...]] = ("speaker",)
_RESPONDER: Final[tuple[Part, ...]] = ("responder",)
_BOTH: Final[tuple[Part, ...]] = ("speaker", "responder")


async def _signal(stage: Stage, node: str, part: Part, number: signal.Signals) -> float:
    """Send a signal; the responder is the only process that a speaker starts."""
    return await stage.lab.kill(node, "speaker", number, children=part == "responder")


async def stall(stage: Stage, node: str, parts: Collection[Part], seconds: float) -> float:
    """Let parts of a node's speaker stand still; when that began. It may end of it, and be started again.

    None of them stands still afterwards, also where another of them could not be stopped (LabError).
    """
    try:
        times = [await _signal(stage, node, part, signal.SIGSTOP) for part in parts]
        stage.scene.stalls.append(times[0])
        await anyio.sleep(seconds)
    finally:
        with anyio.CancelScope(shield=True):
            for part in parts:
                with suppress(LabError):
                    await _signal(stage, node, part, signal.SIGCONT)
    return times[0]


def _fault(parts: Collection[Part]) -> Fault:
    async def fault(stage: Stage, node: str) -> float:
        scene = stage.scene
        seconds = scene.lasts_s or STALLS_S[(scene.number - 1) % len(STALLS_S)]
        scene.variant = f"{seconds:g} s"
        return await stall(stage, node, parts, seconds)

    return fault


async def _random(stage: Stage, node: str) -> float:
    """Stalls of 0.2 to 1.5 s of any form, 0.3 to 2 s apart."""
    rng, first, left = stage.scene.rng, None, RANDOM_FOR_S
    while left > 0:
        seconds, pause = rng.uniform(0.2, 1.5), rng.uniform(0.3, 2.0)
        parts = rng.choice((_SPEAKER, _RESPONDER, _BOTH))
        # A speaker that ended of the stall before is not there to be stalled until it is started again.
        with suppress(LabError):
            began = await stall(stage, node, parts, seconds)
            first = began if first is None else first
        await anyio.sleep(pause)
        left -= seconds + pause
    return first if first is not None else 0.0


_PROMISE = {**ALWAYS, "silent_s": 2.5, "strays": 0}
_HOW_LONG = f"for {', '.join(f'{seconds:g}' for seconds in STALLS_S)} s, run by run"

SCENARIOS = (
    Scenario(
        name="hang",
        summary=f"SIGSTOP to the owner's speaker {_HOW_LONG}; its responder lives and runs out of its lease",
        fault=_fault(_SPEAKER),
        after=renew_speakers,
        detected_by=DETECTED_BY,
        promise=_PROMISE,
        in_tests=True,
    ),
    Scenario(
        name="hang-responder",
        summary=f"SIGSTOP to the owner's responder {_HOW_LONG}; its speaker lives and goes on in the ring",
        fault=_fault(_RESPONDER),
        after=renew_speakers,
        detected_by=DETECTED_BY,
        promise=_PROMISE,
    ),
    Scenario(
        name="hang-both",
        summary=f"SIGSTOP to the owner's speaker and responder {_HOW_LONG}",
        fault=_fault(_BOTH),
        after=renew_speakers,
        detected_by=DETECTED_BY,
        promise=_PROMISE,
    ),
    Scenario(
        name="hang-random",
        summary=f"speaker, responder or both of the owner stand still again and again for {RANDOM_FOR_S:g} s (by the seed)",
        fault=_random,
        after=renew_speakers,
        detected_by=DETECTED_BY,
        promise=_PROMISE,
    ),
)
