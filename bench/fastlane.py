"""How long the fast lane takes to tell everybody of a dead member, by the size of the ring, in virtual time.

`python -m bench.fastlane [--runs N] [--members N ...] [--pace S ...] [--json FILE [--merge]]`, about 25 min of one core with
the defaults (rings of 1000 take most of it). 0.1 % loss, 1 ms latency, 150 us of processor for each datagram. The wire is
silent for a dead member, or there is none to ask. Limits are what vipring promises, in seconds until all members know.
With `--merge` the file keeps its rows of cases that are not measured now; a row of another commit than the file's names it.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench import facts
from bench.detection import spread_of
from gossip.circle import Circle
from gossip.config import SwimConfig
from gossip.fastconfig import FastLaneConfig
from gossip.simulator.campaign import Spread
from gossip.simulator.faults import Choice, Crash, Plan
from gossip.simulator.network import Latency, Network
from gossip.simulator.trial import Setting, run


class Limit(NamedTuple):
    """Median and 99th percentile, seconds."""

    p50: float
    p99: float


class Case(NamedTuple):
    """A ring, who dies at once, and what is promised."""

    members: int
    dead: Choice
    wire: bool
    misses: int
    limit: Limit
    pace_s: float = 0.1


def watched_with_watchers(members: int, watchers: int) -> tuple[str, ...]:
    """A member and some of those that watch it, by the names that members of a trial have."""
    circle = Circle()
    names = [f"n{number}" for number in range(1, members + 1)]
    for name in names:
        circle.add(name)
    return (names[0], *islice(circle.after(names[0]), watchers))


NETWORK = Network(latency=Latency(least_s=0.0008, spread_s=0.0004), loss=0.001)
CASES = (
    *(Case(members, 1, True, 4, Limit(0.6, 0.9)) for members in (2, 3, 5, 10, 100, 1000)),
    *(Case(members, 1, True, 3, Limit(0.5, 0.8)) for members in (2, 3, 5, 10, 100, 1000)),
    # In a ring of two with no wire nothing proves the survivor's own link, so memberlist's timers decide.
    *(Case(members, 1, False, 4, Limit(1.2, 1.6)) for members in (3, 5, 10, 100, 1000)),
    Case(5, 2, True, 4, Limit(1.0, 1.0)),
    Case(10, "50%", True, 4, Limit(1.0, 1.0)),
    Case(10, watched_with_watchers(10, 2), True, 4, Limit(1.0, 1.0)),
    # Half the questions and two misses of them: what the default is chosen over.
    *(Case(members, 1, True, 2, Limit(0.6, 0.9), pace_s=0.2) for members in (3, 10)),
)


def measure(case: Case, runs: int, seed: int) -> tuple[Spread, int, int]:
    """Seconds until all know, false deaths, broken rules."""
    setting = Setting(
        members=case.members,
        plan=Plan(network=NETWORK, faults=(Crash(members=case.dead),)),
        wire=case.wire,
        config=SwimConfig(fast_lane=FastLaneConfig(pace_s=case.pace_s, misses=case.misses)),
    )
    outcomes = [run(setting, seed + number) for number in range(runs)]
    return (
        Spread.of([value for outcome in outcomes for value in outcome.all_know_s]),
        sum(outcome.false_deaths for outcome in outcomes),
        sum(len(outcome.violations) for outcome in outcomes),
    )


def told(dead: object) -> str:
    """Who dies, for the table; as the case has it, or as its JSON has."""
    return "+".join(dead) if isinstance(dead, tuple | list) else str(dead)


def identity(row: Mapping[str, object]) -> tuple[object, ...]:
    """Which case a row is of."""
    return row["members"], told(row["dead"]), row["wire"], row["misses"], row["pace_s"]


def merged(
    before: Mapping[str, object], rows: Iterable[dict[str, object]], measured: str
) -> list[dict[str, object]]:
    """The rows of a file and those measured now, which take the place of their like, in the order of the cases."""
    found = {identity(row): row for row in msgspec.convert(before["rows"], list[dict[str, object]])}
    own = {"commit": measured} if measured != before["commit"] else {}
    found |= {identity(row): {**own, **row} for row in rows}
    order = [identity(case._asdict()) for case in CASES]
    return sorted(found.values(), key=lambda row: order.index(identity(row)))


def main(argv: list[str] | None = None) -> int:
    """Measure the cases; 0 when each keeps its limits."""
    parser = argparse.ArgumentParser(prog="python -m bench.fastlane", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--runs", type=int, default=500, help="of each case (a tenth at 100 members, a fiftieth at 1000)"
    )
    parser.add_argument("--members", type=int, nargs="*", help="only rings of these sizes")
    parser.add_argument(
        "--pace", type=float, nargs="*", metavar="S", help="only lanes of these paces, seconds"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument(
        "--merge", action="store_true", help="keep the rows of FILE that are not measured now"
    )
    args = parser.parse_args(argv)
    before = json.loads(args.json.read_text()) if args.merge and args.json else None
    if before is not None and before["seed"] != args.seed:
        parser.error(f"--seed: the file to merge with has {before['seed']}")
    measured = facts.commit()
    rows: list[dict[str, object]] = []
    print("members dead          wire  pace misses    n   p50   p90   p99   max   limits     false deaths")
    for case in CASES:
        if (args.members and case.members not in args.members) or (
            args.pace and case.pace_s not in args.pace
        ):
            continue
        began = time.process_time()
        runs = max(1, args.runs // {100: 10, 1000: 50}.get(case.members, 1))
        spread, false_deaths, broken = measure(case, runs, args.seed)
        kept = (
            spread.p50 is not None
            and spread.p99 is not None
            and spread.p50 <= case.limit.p50
            and spread.p99 <= case.limit.p99
            and not broken
        )
        print(
            f"{case.members:7} {told(case.dead):<12} {'yes' if case.wire else 'no':>5} {case.pace_s:5.1f} {case.misses:6} {spread.n:4} "
            f"{spread.p50:5.2f} {spread.p90:5.2f} {spread.p99:5.2f} {spread.max:5.2f}   "
            f"{case.limit.p50:.1f} / {case.limit.p99:.1f}  {false_deaths}",
            "" if kept else "BROKEN" if broken else "TOO SLOW",
            flush=True,
        )
        rows.append(
            {
                **case._asdict(),
                "limit": case.limit._asdict(),
                "all_know_s": spread_of(spread),
                "false_deaths": false_deaths,
                "kept": kept,
                "cpu_s": round(time.process_time() - began, 1),
            }
        )
    if args.json and before is not None:
        facts.write(args.json, before["commit"], {"seed": args.seed, "rows": merged(before, rows, measured)})
    elif args.json:
        facts.write(args.json, measured, {"seed": args.seed, "rows": rows})
    return 0 if all(row["kept"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
