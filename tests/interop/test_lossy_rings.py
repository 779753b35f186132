"""Mixed rings that lose packets and stall: nobody ever takes a member for dead which answers, but for what ours say among
each other of a machine that stands still, which never gets to the others."""

import json
import os
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest

from tests.interop.peers import BUILD, Ours, Peer, build
from tests.interop.test_rings import REJOIN_S, Kind, Scenario, scenario
from tests.seed import chosen_seed

LOSS_S = float(os.environ.get("VIPRING_INTEROP_LOSS_S", "100"))
"""How long it goes on; `python -m bench.interop` lets it be ten minutes."""
LOSS_PERCENT = 5
STALL_S = (0.1, 0.9)
STALL_EVERY_S = (2.0, 10.0)
VERDICT_STALL_S = (0.6, 0.9)
"""Of a machine, long enough for four misses and a wire that is silent, shorter than memberlist's first suspicion."""
JUST_AFTER_S = 0.5
"""After a machine's stall a verdict of ours on it may still come."""
CALM_AGAIN_S = 1.5
RINGS = (Kind("0.1.7"), Kind("0.5.1"), Kind("0.7.0"), Kind(None))
VERDICTS = "verdicts of ours on machines that stood still"

pytestmark = [pytest.mark.interop, pytest.mark.timeout(LOSS_S + 180)]


@dataclass
class Stalls:
    """What stood still: how often, and which machines when (epoch seconds)."""

    rng: random.Random
    count: int = 0
    machines: list[tuple[str, float, float]] = field(default_factory=list)

    async def stall(self, peer: Peer, seconds: float, *, machine: bool) -> None:
        """Let a member stand still, with its machine or by itself."""
        begin = time.time()
        await peer.stall(seconds, machine=machine)
        self.count += 1
        if machine:
            self.machines.append((peer.name, begin, time.time() + JUST_AFTER_S))

    def explain(self, name: str, at: float) -> bool:
        """Whether a member's machine stood still at that time."""
        return any(name == stalled and begin <= at <= end for stalled, begin, end in self.machines)


def count(ring: Scenario, stalls: Stalls) -> Counter[str]:
    """Who was taken for dead by whom since the deaths were last cleared."""
    of_ours = [death for peer in ring.ours for death in peer.deaths]
    verdicts = [death for death in of_ours if stalls.explain(*death)]
    suspicions = [
        line
        for peer in ring.ours
        if isinstance(peer, Ours)
        for line in peer.complaints
        if '"suspect"' in line
    ]
    return Counter(
        {
            "stalls": stalls.count,
            VERDICTS: len(verdicts),
            "false deaths seen by theirs": sum(len(peer.deaths) for peer in ring.theirs),
            "false deaths seen by ours": len(of_ours) - len(verdicts),
            "suspicions seen by ours": len(suspicions),
        }
    )


async def suffer(ring: Scenario, rng: random.Random) -> Counter[str]:
    """Loss for the whole ring, a stall now and then for each member, of ours also with the machine; what was counted."""
    await ring.assemble()
    stalls = Stalls(rng)
    for peer in ring.peers:
        peer.deaths.clear()

    async def stall(peer: Peer) -> None:
        while True:
            await anyio.sleep(rng.uniform(*STALL_EVERY_S))
            machine = isinstance(peer, Ours) and rng.random() < 0.5
            await stalls.stall(peer, rng.uniform(*STALL_S), machine=machine)

    ring.net.lose(LOSS_PERCENT)
    with anyio.move_on_after(LOSS_S):
        async with anyio.create_task_group() as tasks:
            for peer in ring.peers:
                tasks.start_soon(stall, peer)
    ring.net.heal()
    await ring.all_alive(time.time(), 30.0)
    return count(ring, stalls)


async def be_judged(ring: Scenario, rng: random.Random) -> Counter[str]:
    """The machine of each of ours stands still once, in a ring that has not learnt yet to be patient with it."""
    await ring.assemble()
    stalls = Stalls(rng)
    for peer in ring.peers:
        peer.deaths.clear()
    ring.net.lose(LOSS_PERCENT)
    for victim in ring.ours:
        await stalls.stall(victim, rng.uniform(*VERDICT_STALL_S), machine=True)
        await ring.all_alive(time.time(), REJOIN_S)
        # Who was late itself accuses nobody for a second.
        await anyio.sleep(CALM_AGAIN_S)
    return count(ring, stalls)


async def run_all(logs: Path, rng: random.Random) -> dict[str, dict[str, int]]:
    """All rings at the same time: one of each kind for all of it, and beside it such as live for a few seconds."""
    counted: dict[str, dict[str, int]] = {}

    async def lasting(kind: Kind) -> None:
        ring_logs = logs / str(kind).replace(" ", "-")
        ring_logs.mkdir()
        async with scenario(kind, ring_logs, wire=True) as ring:
            counted[str(kind)] = {"seconds": round(LOSS_S), **await suffer(ring, rng)}

    async def short(kind: Kind) -> None:
        total: Counter[str] = Counter()
        rings, end = 0, time.monotonic() + LOSS_S
        while time.monotonic() < end:
            ring_logs = logs / f"{kind}-{rings}".replace(" ", "-")
            ring_logs.mkdir()
            async with scenario(kind, ring_logs, wire=True) as ring:
                total.update(await be_judged(ring, rng))
            rings += 1
        counted[f"{kind}, short rings"] = {"seconds": round(LOSS_S), "rings": rings, **total}

    async with anyio.create_task_group() as tasks:
        for kind in RINGS:
            tasks.start_soon(lasting, kind)
            tasks.start_soon(short, kind)
    return counted


def test_loss_and_stalls_kill_nobody(tmp_path: Path) -> None:
    seed = chosen_seed()
    for kind in RINGS:
        if kind.version:
            build(kind.version)
    counted = anyio.run(run_all, tmp_path, random.Random(seed))
    (BUILD / "losses.json").write_text(json.dumps(counted, indent=1) + "\n")
    assert all(ring["stalls"] >= LOSS_S / 20 for ring in counted.values()), counted
    for whose in ("theirs", "ours"):
        assert not any(ring[f"false deaths seen by {whose}"] for ring in counted.values()), counted
    # What must not get to theirs did happen, in every kind of ring.
    for kind in RINGS:
        short = counted[f"{kind}, short rings"]
        assert short[VERDICTS] >= short["rings"] / 2, counted
