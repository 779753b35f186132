"""Block the ring's port on a node, and open it again."""

from __future__ import annotations

from chaos.errors import ChaosError
from chaos.stage import Stage

RING_PORT = 7946


async def block(stage: Stage, node: str) -> None:
    """Drop everything to and from the ring's port, UDP and TCP; the data path is untouched."""
    await _nft(stage, node, "add table inet ringcut")
    for hook in ("input", "output"):
        chain = f"inet ringcut {hook}"
        await _nft(stage, node, f"add chain {chain} {{ type filter hook {hook} priority 0; }}")
        await _nft(stage, node, f"add rule {chain} meta l4proto {{ tcp, udp }} th dport {RING_PORT} drop")


async def unblock(stage: Stage, node: str) -> None:
    """Undo `block`."""
    await _nft(stage, node, "delete table inet ringcut")


async def _nft(stage: Stage, node: str, command: str) -> None:
    code, output = await stage.lab.run(node, ["nft", command])
    if code != 0:
        raise ChaosError(f"nft {command} on {node}: {output.strip()}")
