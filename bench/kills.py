"""How long real processes on real sockets take to tell each other of one that was killed.

`python -m bench.kills [--members N ...] [--kills N] [--wire silent] [--json FILE]`: rings of our members on 127.0.0.1,
encrypted, with the fast lane; again and again one is killed with SIGKILL and started anew. Where the wire is `silent` each
member's application says so, as it is for a dead node; where there is `none` the ring has only itself. Both are measured
unless `--wire` names one. About 3 s a kill, 10 min with the defaults.
"""

import argparse
import json
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import msgspec
from anyio.abc import Process, TaskGroup
from anyio.streams.text import TextReceiveStream

from bench import facts
from bench.detection import spread_of
from gossip.config import SwimConfig
from gossip.fastconfig import FastLaneConfig
from gossip.keyring import Keyring
from gossip.meta import Meta
from gossip.outputs import MemberDead, MemberDoubtful, MemberJoined
from gossip.shell import Ring
from gossip.simulator.campaign import Spread
from gossip.watch import WireAnswer

WIRES: Final = ("silent", "none")
_HOST: Final = "127.0.0.1"
_PATIENCE_S: Final = 30.0
_RETRY_S: Final = 0.1


async def member(number: int, base: int, *, wire: bool) -> None:
    """One process of the ring: prints who joins and who dies, with the time, until it is killed."""
    meta = Meta(software="vipring", version="bench", instance=os.urandom(8)).encode()
    async with Ring(
        name=f"n{number}",
        bind=(_HOST, base + number),
        advertise=None,
        keyring=Keyring([bytes(32)]),
        config=SwimConfig(fast_lane=FastLaneConfig()),
        meta=meta,
    ) as ring:
        seeds = [(_HOST, base + other) for other in (0, 1) if other != number]
        while True:
            if (await ring.join(seeds)).contacted:
                break
            await anyio.sleep(_RETRY_S)
        async for event in ring.events:
            if isinstance(event, MemberJoined | MemberDead):
                kind = type(event).__name__
                print(json.dumps([time.monotonic(), kind, event.view.name]), flush=True)
            elif isinstance(event, MemberDoubtful) and wire:
                await ring.wire_evidence(event.view.name, WireAnswer.SILENT, own_link_proven=True)


class Processes:
    """The members of one ring, as the parent sees them."""

    def __init__(self, members: int, tasks: TaskGroup, *, wire: bool) -> None:
        self.names = [f"n{number}" for number in range(members)]
        self._base = random.randrange(20_000, 30_000, 20)
        self._tasks = tasks
        self._wire = wire
        self._running: dict[str, Process] = {}
        self._news = anyio.Event()
        self.views: dict[str, set[str]] = {}
        self.deaths: list[tuple[float, str, str]] = []
        """When, who told, about whom."""

    async def start(self, name: str) -> None:
        """Start a member and read what it prints."""
        wire = WIRES[0] if self._wire else WIRES[1]
        arguments = ["--member", name[1:], "--base", str(self._base), "--wire", wire]
        process = await anyio.open_process([sys.executable, "-m", "bench.kills", *arguments], stderr=None)
        self._running[name] = process
        self.views[name] = {name}
        self._tasks.start_soon(self._read, name, process)

    def kill(self, name: str) -> None:
        """End a member as a power cut does, as far as its peers can tell."""
        self._running.pop(name).send_signal(signal.SIGKILL)
        del self.views[name]

    async def agree(self, names: set[str]) -> None:
        """Wait until each of these knows just these."""
        with anyio.fail_after(_PATIENCE_S):
            while any(self.views.get(name) != names for name in names):
                self._news = anyio.Event()
                await self._news.wait()

    async def _read(self, name: str, process: Process) -> None:
        assert process.stdout is not None
        rest = ""
        async with process:
            async for text in TextReceiveStream(process.stdout):
                *lines, rest = (rest + text).split("\n")
                if self._running.get(name) is process:
                    for line in lines:
                        self._told(name, msgspec.json.decode(line, type=tuple[float, str, str]))

    def _told(self, name: str, told: tuple[float, str, str]) -> None:
        at, kind, about = told
        if kind == "MemberJoined":
            self.views[name].add(about)
        else:
            self.views[name].discard(about)
            self.deaths.append((at, name, about))
        self._news.set()


@asynccontextmanager
async def ring(members: int, *, wire: bool) -> AsyncIterator[Processes]:
    """A ring of processes that know each other; none is left behind."""
    async with anyio.create_task_group() as tasks:
        processes = Processes(members, tasks, wire=wire)
        try:
            for name in processes.names:
                await processes.start(name)
                await anyio.sleep(0.05)
            await processes.agree(set(processes.names))
            yield processes
        finally:
            for name in list(processes.views):
                processes.kill(name)


async def measure(members: int, kills: int, *, wire: bool) -> dict[str, object]:
    """Kill one after the other; seconds until the first and until all others know, and how many died in error."""
    first: list[float] = []
    all_know: list[float] = []
    false_deaths = 0
    async with ring(members, wire=wire) as processes:
        everybody = set(processes.names)
        for _ in range(kills):
            # Any moment of the pace, and of the probe interval, is as good as another.
            await anyio.sleep(random.uniform(0.5, 1.5))
            victim = random.choice(processes.names)
            processes.deaths.clear()
            began = time.monotonic()
            processes.kill(victim)
            await processes.agree(everybody - {victim})
            told = [at - began for at, _, about in processes.deaths if about == victim]
            first.append(min(told))
            all_know.append(max(told))
            await processes.start(victim)
            await processes.agree(everybody)
            false_deaths += sum(about != victim for _, _, about in processes.deaths)
    return {
        "members": members,
        "wire": wire,
        "kills": kills,
        "first_dead_s": spread_of(Spread.of(first)),
        "all_know_s": spread_of(Spread.of(all_know)),
        "false_deaths": false_deaths,
    }


def main() -> int:
    """Measure, print a table, write the facts; 1 when a member was declared dead in error."""
    parser = argparse.ArgumentParser(prog="python -m bench.kills", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--members", type=int, nargs="+", default=[3, 10], help="sizes of the rings (default 3 10)"
    )
    parser.add_argument("--kills", type=int, default=50, help="in each ring (default 50)")
    parser.add_argument(
        "--wire",
        choices=WIRES,
        nargs="+",
        default=list(WIRES),
        help="what it says of who was killed (default both)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the facts")
    parser.add_argument("--member", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--base", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.member is not None:
        anyio.run(lambda: member(args.member, args.base, wire=WIRES[0] in args.wire))
        return 0
    measured = facts.commit()
    rows = []
    for wire in args.wire:
        for members in args.members:
            rows.append(anyio.run(partial(measure, members, args.kills, wire=wire == WIRES[0])))
            print(rows[-1], flush=True)
    if args.json is not None:
        facts.write(args.json, measured, {"rows": rows})
    return 1 if any(row["false_deaths"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
