"""What a member costs while nothing happens: packets and bytes a second, and processor time, by size and settings.

`python -m bench.rest [--seconds S] [--json FILE]`, about 5 min with the defaults. Rings of 3 and 10 are processes on
127.0.0.1, encrypted; their processor time includes the kernel's for them. Larger ones are simulated (encrypted as well),
where processor time is that of the simulation divided by the members: without system calls, with the event heap. Exit status 1
when a limit is broken.
"""

import argparse
import os
import random
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import anyio
import msgspec

from bench import facts
from bench.limits import Limit, failures
from gossip.config import SwimConfig
from gossip.fastconfig import FastLaneConfig
from gossip.keyring import Keyring
from gossip.meta import Meta
from gossip.shell import Ring
from gossip.simulator.network import Latency, Network
from gossip.simulator.simulation import Simulation

LANES: Final[dict[str, FastLaneConfig | None]] = {
    "off": None,
    "100 ms, 4 misses": FastLaneConfig(),
    "200 ms, 2 misses": FastLaneConfig(pace_s=0.2, misses=2, misses_without_wire=5),
}
CORE_MAX: Final = {"100 ms, 4 misses": 0.02, "200 ms, 2 misses": 0.012}
"""Share of a core that a member may take with the fast lane."""
GROWTH_MAX: Final = 1.1
"""Datagrams a member sends in the largest ring, as a multiple of those in a ring of ten."""
REAL: Final = (3, 10)
SIMULATED: Final = (3, 10, 100)
_HOST: Final = "127.0.0.1"
_SETTLE_S: Final = 5.0
_PATIENCE_S: Final = 60.0
_KEY: Final = bytes(32)


class Cost(msgspec.Struct, frozen=True):
    """Of one member, a second."""

    packets: float
    """Datagrams sent."""
    octets: float
    """Bytes in them, without the headers of UDP and IP."""
    core: float
    """Share of a core."""


class Row(msgspec.Struct, frozen=True):
    """One ring: the median over its members."""

    members: int
    lane: str
    simulated: bool
    cost: Cost


async def member(number: int, base: int, members: int, lane: str, seconds: float) -> None:
    """One process of the ring: waits for the others, then measures itself and prints what it cost."""
    async with Ring(
        name=f"n{number}",
        bind=(_HOST, base + number),
        advertise=None,
        keyring=Keyring([_KEY]),
        config=SwimConfig(fast_lane=LANES[lane]),
        meta=Meta(software="vipring", version="bench", instance=os.urandom(8)).encode(),
    ) as ring:
        with anyio.fail_after(_PATIENCE_S):
            while len(ring.members()) < members:
                await ring.join([(_HOST, base + (number + 1) % members)])
                await anyio.sleep(0.2)
        await anyio.sleep(_SETTLE_S)
        counters, began = ring.counters, time.monotonic()
        packets, octets, core = counters.packets_out, counters.bytes_out, time.process_time()
        await anyio.sleep(seconds)
        took = time.monotonic() - began
        cost = Cost(
            (counters.packets_out - packets) / took,
            (counters.bytes_out - octets) / took,
            (time.process_time() - core) / took,
        )
        print(msgspec.json.encode(cost).decode(), flush=True)
        # Nobody leaves while others still measure.
        await anyio.sleep(_SETTLE_S)


async def real(members: int, lane: str, seconds: float) -> Cost:
    """A ring of processes."""
    base = random.randrange(20_000, 30_000, 20)
    costs: list[Cost] = []

    async def run(number: int) -> None:
        arguments = [str(number), str(base), str(members), lane, str(seconds)]
        done = await anyio.run_process(
            [sys.executable, "-m", "bench.rest", "--member", *arguments], stderr=None
        )
        costs.append(msgspec.json.decode(done.stdout, type=Cost))

    async with anyio.create_task_group() as tasks:
        for number in range(members):
            tasks.start_soon(run, number)
    return middle(costs)


def middle(costs: Sequence[Cost]) -> Cost:
    """The median of each."""
    return Cost(
        median(cost.packets for cost in costs),
        median(cost.octets for cost in costs),
        median(cost.core for cost in costs),
    )


def simulated(members: int, lane: str, seconds: float, seed: int) -> Cost:
    """A ring in virtual time."""
    simulation = Simulation(
        seed,
        config=SwimConfig(fast_lane=LANES[lane]),
        network=Network(latency=Latency(least_s=0.0003, spread_s=0.0004)),
        keyring=Keyring([_KEY]),
    )
    simulation.form([f"n{number}" for number in range(members)])
    simulation.run(_SETTLE_S)
    packets, octets, core = simulation.datagrams, simulation.datagram_bytes, time.process_time()
    simulation.run(seconds)
    each = members * seconds
    return Cost(
        (simulation.datagrams - packets) / each,
        (simulation.datagram_bytes - octets) / each,
        (time.process_time() - core) / each,
    )


def limits(rows: Sequence[Row]) -> list[Limit]:
    """What is asked of a member at rest: little, and no more in a large ring."""
    found = [
        Limit(
            f"{row.members} {'simulated' if row.simulated else 'processes'}, {row.lane}",
            row.cost.core * 100,
            CORE_MAX[row.lane] * 100,
            "% of a core",
        )
        for row in rows
        if row.lane in CORE_MAX
    ]
    packets = {(row.members, row.lane): row.cost.packets for row in rows if row.simulated}
    largest = max(SIMULATED)
    found += [
        Limit(
            f"datagrams of one of {largest} by those of one of 10, {lane}",
            packets[largest, lane] / packets[10, lane],
            GROWTH_MAX,
            "",
        )
        for lane in LANES
    ]
    return found


def main(argv: list[str] | None = None) -> int:
    """Measure, print a table, write the facts."""
    parser = argparse.ArgumentParser(prog="python -m bench.rest", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0, help="measured in each ring (default 30)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--member", nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.member is not None:
        number, base, members, lane, seconds = args.member
        anyio.run(partial(member, int(number), int(base), int(members), lane, float(seconds)))
        return 0
    measured = facts.commit()
    rows: list[Row] = []
    print("| members | fast lane | | packets/s | bytes/s | core |\n|---|---|---|---|---|---|")
    for is_simulated, sizes in ((False, REAL), (True, SIMULATED)):
        for members in sizes:
            for lane in LANES:
                if is_simulated:
                    cost = simulated(members, lane, args.seconds, args.seed)
                else:
                    cost = anyio.run(partial(real, members, lane, args.seconds))
                rows.append(Row(members, lane, is_simulated, cost))
                print(
                    f"| {members} | {lane} | {'simulated' if is_simulated else 'processes'} |"
                    f" {cost.packets:.1f} | {cost.octets:.0f} | {cost.core * 100:.2f} % |",
                    flush=True,
                )
    if args.json:
        found = {"seconds": args.seconds, "seed": args.seed, "rows": msgspec.to_builtins(rows)}
        facts.write(args.json, measured, found)
    return failures(limits(rows))


if __name__ == "__main__":
    sys.exit(main())
