"""Mixed rings that lose packets and stall: nobody ever takes a member for dead which answers."""

import json
import os
import random
import time
from pathlib import Path

import anyio
import pytest

from tests.interop.peers import BUILD, Ours, Peer, build
from tests.interop.test_rings import Kind, Scenario, scenario
from tests.seed import chosen_seed

LOSS_S = float(os.environ.get("VIPRING_INTEROP_LOSS_S", "120"))
"""How long it goes on; `python -m bench.interop` lets it be ten minutes."""
LOSS_PERCENT = 5
STALL_S = (0.1, 0.9)
STALL_EVERY_S = (2.0, 10.0)
RINGS = (Kind("0.1.7"), Kind("0.7.0"), Kind(None))

pytestmark = [pytest.mark.interop, pytest.mark.timeout(LOSS_S + 120)]


async def suffer(ring: Scenario, rng: random.Random) -> dict[str, int]:
    """Loss for the whole ring, a stall now and then for each member; what was counted."""
    await ring.assemble()
    for peer in ring.peers:
        peer.deaths = 0
    stalls = 0

    async def stall(peer: Peer) -> None:
        nonlocal stalls
        while True:
            await anyio.sleep(rng.uniform(*STALL_EVERY_S))
            await peer.stall(rng.uniform(*STALL_S))
            stalls += 1

    ring.net.lose(LOSS_PERCENT)
    with anyio.move_on_after(LOSS_S):
        async with anyio.create_task_group() as tasks:
            for peer in ring.peers:
                tasks.start_soon(stall, peer)
    ring.net.heal()
    await ring.all_alive(time.time(), 30.0)
    return {
        "seconds": round(LOSS_S),
        "stalls": stalls,
        "false deaths seen by theirs": sum(peer.deaths for peer in ring.theirs),
        "false deaths seen by ours": sum(peer.deaths for peer in ring.ours),
        "suspicions seen by ours": sum(
            '"suspect"' in line for peer in ring.ours if isinstance(peer, Ours) for line in peer.complaints
        ),
    }


async def run_all(logs: Path, rng: random.Random) -> dict[str, dict[str, int]]:
    """All rings at the same time."""
    counted: dict[str, dict[str, int]] = {}

    async def one(kind: Kind) -> None:
        ring_logs = logs / str(kind).replace(" ", "-")
        ring_logs.mkdir()
        async with scenario(kind, ring_logs) as ring:
            counted[str(kind)] = await suffer(ring, rng)

    async with anyio.create_task_group() as tasks:
        for kind in RINGS:
            tasks.start_soon(one, kind)
    return counted


def test_loss_and_stalls_kill_nobody(tmp_path: Path) -> None:
    seed = chosen_seed()
    for kind in RINGS:
        if kind.version:
            build(kind.version)
    counted = anyio.run(run_all, tmp_path, random.Random(seed))
    (BUILD / "losses.json").write_text(json.dumps(counted, indent=1) + "\n")
    assert all(ring["stalls"] >= LOSS_S / 10 for ring in counted.values()), counted
    for whose in ("theirs", "ours"):
        assert not any(ring[f"false deaths seen by {whose}"] for ring in counted.values()), counted
