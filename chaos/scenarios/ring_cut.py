"""The ring of one node is cut while its data path lives: no address may move."""

from __future__ import annotations

import time

import anyio

from chaos.errors import ChaosError
from chaos.scenarios.model import Scenario
from chaos.stage import Stage

CUT_S = 10.0
_RING_PORT = "7946"


async def _fault(stage: Stage, node: str) -> float:
    started = time.monotonic()
    await _nft(stage, node, "add table inet ringcut")
    for hook in ("input", "output"):
        chain = f"inet ringcut {hook}"
        await _nft(stage, node, f"add chain {chain} {{ type filter hook {hook} priority 0; }}")
        await _nft(stage, node, f"add rule {chain} meta l4proto {{ tcp, udp }} th dport {_RING_PORT} drop")
    await anyio.sleep(CUT_S)
    await _nft(stage, node, "delete table inet ringcut")
    return started


async def _nft(stage: Stage, node: str, command: str) -> None:
    code, output = await stage.lab.run(node, ["nft", command])
    if code != 0:
        raise ChaosError(f"nft {command} on {node}: {output.strip()}")


SCENARIO = Scenario(
    name="ring-cut",
    summary=f"port {_RING_PORT} of the owner is blocked for {CUT_S:g} s; its data path lives, so its addresses must stay",
    fault=_fault,
    detected_by=frozenset({"memberDead"}),
)
