"""How long memberlist's own rules take to find a dead member: our rings in virtual time beside a model of memberlist.

`python -m bench.detection [--runs N] [--members N ...] [--json FILE]`, about 10 min of one core with the defaults. One
member of a ring at rest loses power; 0.5 ms latency, no loss, no cost of computing, fast lane off. EXPECTED is from a
discrete-event model of hashicorp/memberlist's rules (LAN settings; 2000 runs a row, 250 at 200 members), seconds.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import NamedTuple

from bench import facts
from gossip.simulator.campaign import Spread
from gossip.simulator.faults import Crash, Plan
from gossip.simulator.network import Latency, Network
from gossip.simulator.trial import Setting, run


class Figure(NamedTuple):
    """Mean, median and 99th percentile in seconds."""

    mean: float
    p50: float
    p99: float


class Row(NamedTuple):
    """Seconds from the crash to the first verdict, and until all members know."""

    first_dead: Figure
    all_know: Figure


EXPECTED = {
    2: Row(Figure(5.8, 5.7, 7.0), Figure(5.8, 5.7, 7.0)),
    3: Row(Figure(5.7, 5.6, 7.4), Figure(5.7, 5.6, 7.4)),
    4: Row(Figure(5.8, 5.6, 7.8), Figure(5.8, 5.7, 7.8)),
    5: Row(Figure(5.9, 5.7, 8.0), Figure(5.9, 5.8, 8.1)),
    8: Row(Figure(5.9, 5.7, 8.6), Figure(6.1, 5.8, 9.1)),
    10: Row(Figure(6.0, 5.7, 8.8), Figure(6.1, 5.9, 8.9)),
    16: Row(Figure(6.8, 6.5, 9.7), Figure(6.9, 6.7, 9.9)),
    20: Row(Figure(7.2, 6.9, 10.4), Figure(7.4, 7.1, 10.6)),
    32: Row(Figure(8.0, 7.7, 11.5), Figure(8.3, 8.0, 11.7)),
    50: Row(Figure(8.8, 8.5, 12.8), Figure(9.1, 8.8, 13.1)),
    100: Row(Figure(10.0, 9.7, 13.4), Figure(10.3, 10.0, 13.7)),
    200: Row(Figure(11.2, 11.0, 15.8), Figure(11.6, 11.4, 16.3)),
}
TOLERANCE = Figure(mean=0.05, p50=0.05, p99=0.20)
PLAN = Plan(network=Network(latency=Latency(least_s=0.0005, spread_s=0.0)), faults=(Crash(),))


def setting(members: int) -> Setting:
    """A ring as the model has it: no processor time, no application that looks for missing members."""
    return Setting(members=members, plan=PLAN, cpu_s=0.0, rejoin_s=0.0)


def measure(members: int, runs: int, seed: int) -> tuple[Spread, Spread]:
    """First dead and all know over this many crashes, each in a ring of its own."""
    first: list[float] = []
    every: list[float] = []
    for number in range(runs):
        outcome = run(setting(members), seed + number)
        first += outcome.first_dead_s
        every += outcome.all_know_s
    return Spread.of(first), Spread.of(every)


def deviations(measured: Spread, expected: Figure) -> Figure:
    """By which share each figure differs from the expected one."""
    pairs = ((measured.mean, expected.mean), (measured.p50, expected.p50), (measured.p99, expected.p99))
    return Figure(*(round((value or 0.0) / wanted - 1.0, 3) for value, wanted in pairs))


def within(deviation: Figure) -> bool:
    """Whether all three figures are close enough."""
    return all(abs(value) <= allowed for value, allowed in zip(deviation, TOLERANCE, strict=True))


def main(argv: list[str] | None = None) -> int:
    """Measure the rows; 0 when each is close enough."""
    parser = argparse.ArgumentParser(prog="python -m bench.detection", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--runs", type=int, default=1000, help="crashes for each row (a quarter from 100 members)"
    )
    parser.add_argument("--members", type=int, nargs="*", choices=list(EXPECTED), default=list(EXPECTED))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(argv)
    measured = facts.commit()
    rows = []
    print(
        "members    n  first dead: mean   p50   p99 (deviation, %)    all know: mean   p50   p99 (deviation, %)"
    )
    for members in args.members:
        began = time.process_time()
        runs = args.runs if members < 100 else max(1, args.runs // 4)
        first, every = measure(members, runs, args.seed)
        off_first = deviations(first, EXPECTED[members].first_dead)
        off_every = deviations(every, EXPECTED[members].all_know)
        good = within(off_first) and within(off_every)
        cells = [f"{members:7} {first.n:4}"]
        for spread, off in ((first, off_first), (every, off_every)):
            percents = "/".join(f"{100 * value:+.1f}" for value in off)
            cells.append(f"{spread.mean:17.2f} {spread.p50:5.2f} {spread.p99:5.2f} ({percents:>16})")
        print("  ".join(cells), "" if good else "TOO FAR", flush=True)
        rows.append(
            {
                "members": members,
                "first_dead_s": spread_of(first),
                "all_know_s": spread_of(every),
                "first_dead_deviation": off_first._asdict(),
                "all_know_deviation": off_every._asdict(),
                "within_tolerance": good,
                "cpu_s": round(time.process_time() - began, 1),
            }
        )
    if args.json:
        document = {"seed": args.seed, "tolerance": TOLERANCE._asdict(), "rows": rows}
        facts.write(args.json, measured, document)
    return 0 if all(row["within_tolerance"] for row in rows) else 1


def spread_of(spread: Spread) -> dict[str, float | None]:
    """A spread for JSON."""
    return {field: getattr(spread, field) for field in spread.__struct_fields__}


if __name__ == "__main__":
    sys.exit(main())
