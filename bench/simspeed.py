"""How fast `vipring simulate` is: seconds of a ring in virtual time for each second of this machine.

`python -m bench.simspeed [--json FILE]`, about two minutes. Whole rings of production members, with the fast lane and without,
encrypted, at rest; one process, one core.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

from bench.facts import commit
from chaos.results import Figure, figure, to_json
from gossip.config import SwimConfig
from gossip.fastconfig import FastLaneConfig
from gossip.keyring import Keyring
from gossip.simulator.network import Latency, Network
from gossip.simulator.simulation import Simulation

RINGS: Final = (
    (3, True, 300.0),
    (10, True, 100.0),
    (100, True, 10.0),
    (100, False, 200.0),
    (1000, True, 1.0),
)
"""Members, whether they have the fast lane, virtual seconds of a run."""
RUNS: Final = 5
_SETTLE_S: Final = 3.0


class Row(msgspec.Struct, frozen=True):
    """One size of ring."""

    members: int
    fast_lane: bool
    speed: Figure
    """Virtual seconds a second."""
    datagrams_s: Figure
    """Datagrams delivered a second of this machine."""


class Facts(msgspec.Struct, frozen=True):
    """The whole run."""

    commit: str
    seed: int
    rows: tuple[Row, ...]


def run(members: int, fast_lane: bool, seconds: float, seed: int) -> tuple[float, float]:
    """One ring: virtual seconds and datagrams for each second of processor time."""
    simulation = Simulation(
        seed,
        config=SwimConfig(fast_lane=FastLaneConfig() if fast_lane else None),
        network=Network(latency=Latency(least_s=0.0003, spread_s=0.0004)),
        keyring=Keyring([bytes(32)]),
    )
    simulation.form([f"n{number}" for number in range(members)])
    simulation.run(_SETTLE_S)
    datagrams, began = simulation.datagrams, time.process_time()
    simulation.run(seconds)
    took = time.process_time() - began
    return seconds / took, (simulation.datagrams - datagrams) / took


def main() -> int:
    """Measure, print, write the facts."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.simspeed", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the facts to FILE as well")
    args = parser.parse_args()
    print(f"{'members':>8}{'lane':>6}{'n':>4}{'virtual s/s':>14}{'min':>10}{'datagrams/s':>14}")
    measured = commit()
    rows = []
    for members, fast_lane, seconds in RINGS:
        found = [run(members, fast_lane, seconds, args.seed + number) for number in range(RUNS)]
        speed, datagrams = (figure(values) for values in zip(*found, strict=True))
        rows.append(Row(members, fast_lane, speed, datagrams))
        lane = "on" if fast_lane else "off"
        print(
            f"{members:>8}{lane:>6}{RUNS:>4}{speed.p50:>14.1f}{speed.min:>10.1f}{datagrams.p50:>14.0f}",
            flush=True,
        )
    if args.json:
        args.json.write_text(to_json(Facts(measured, args.seed, tuple(rows))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
