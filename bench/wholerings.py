"""How often whole rings declare a living member dead, with a past: what the windows of `bench.falsedeaths` are checked by.

`python -m bench.wholerings [--scale FACTOR] [--again FILE] [--json FILE | --render]`, about 20 min of two cores with the
defaults. Rings of five in virtual time, nothing left out. Each stands for more than the ten minutes that a member's silences are remembered (`gossip.patience`)
before anything is counted, so that faults come into a ring with the memory that the faults before them left.

Stalls would be too rare for that: here they come to each member every STALL_EVERY_S, just longer than the memory, and each counts
for as much time as passes, on average, until the next one of `bench.falsedeaths`. The deaths around a stall are counted as
in a window. Next to each cell the same is counted by windows, at the same commit.
"""

import argparse
import json
import random
import sys
import time
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench import facts, falsedeaths
from bench.falsedeaths import (
    MEMBERS,
    NAMES,
    STALLS_AN_HOUR,
    YEAR_S,
    Found,
    Job,
    Loss,
    Ring,
    Rules,
    Stall,
    after_s,
    cell,
    deaths_in,
    do,
    facts_of,
    ring,
)

WARM_S: Final = 660.0
"""Time before anything is counted."""
STALL_EVERY_S: Final = 660.0
"""Time between two stalls of one member."""
RINGS: Final = 2
RESULTS: Final = facts.ROOT / "bench" / "results"

LOOP: Final = Stall(1.0, whole=False)
MACHINE: Final = Stall(1.0, whole=True)
SHORT: Final = Stall(0.3, whole=True)
NONE: Final = Loss(0.0, "scattered")
BURSTS: Final = tuple(Loss(share, "bursts") for share in (0.001, 0.01, 0.05))


class Cell(NamedTuple):
    """What is let run, and for how many hours in each of the rings."""

    job: Job
    hours: float


CELLS: Final = (
    *(Cell(Job("wire", loss, None), 3.0) for loss in BURSTS),
    Cell(Job("wire", NONE, SHORT), 0.75),
    Cell(Job("wire", NONE, MACHINE), 0.75),
    Cell(Job("wire", NONE, LOOP), 0.75),
    *(Cell(Job("wire", loss, MACHINE), 0.75) for loss in BURSTS),
    Cell(Job("no wire", NONE, LOOP), 2.0),
    Cell(Job("wire", Loss(0.05, "scattered"), None), 0.5),
    Cell(Job("wire", Loss(0.2, "scattered"), None), 0.25),
    *(Cell(Job("memberlist", loss, None), 7.5) for loss in BURSTS),
    Cell(Job("memberlist", NONE, MACHINE), 7.5),
    Cell(Job("memberlist", Loss(0.05, "scattered"), None), 15.0),
    Cell(Job("memberlist", Loss(0.2, "scattered"), None), 5.0),
)


def run_for(simulation: Ring, seconds: float) -> None:
    """Let a ring run without keeping what happens in it."""
    end = simulation.now + seconds
    while simulation.now < end - 1e-6:
        simulation.run(min(60.0, end - simulation.now))
        simulation.happenings.clear()


def quiet(rules: Rules, loss: Loss, seconds: float, seed: int) -> Found:
    """One ring without stalls; a `window` is a year of one member."""
    simulation = ring(rules, loss, seed)
    run_for(simulation, WARM_S)
    deaths = deaths_in(simulation)
    before = simulation.member_seconds
    run_for(simulation, seconds)
    return Found(1, deaths(), YEAR_S / (simulation.member_seconds - before))


def stalled(job: Job, seconds: float, seed: int) -> Found:
    """One ring whose members stall in turn; each stall is a window."""
    assert job.stall is not None
    simulation, rng = ring(job.rules, job.loss, seed), random.Random(f"stalls {seed}")
    run_for(simulation, WARM_S)
    deaths = deaths_in(simulation)
    counted, stalls, end = 0, 0, simulation.now + seconds
    watched_s = job.stall.seconds + after_s(job.rules)
    for victim in cycle(NAMES):
        if simulation.now >= end:
            break
        before = deaths()
        simulation.stall(victim, job.stall.seconds, whole=job.stall.whole)
        run_for(simulation, watched_s)
        counted += deaths() - before
        stalls += 1
        # A time of its own for the next stall, so that it meets any phase of the watchers.
        run_for(simulation, STALL_EVERY_S / MEMBERS - watched_s + rng.random())
    return Found(stalls, counted, STALLS_AN_HOUR * YEAR_S / 3600.0)


def let_run(job: Job, seconds: float, seed: int) -> Found:
    """One ring of a cell."""
    return quiet(job.rules, job.loss, seconds, seed) if job.stall is None else stalled(job, seconds, seed)


def joined(found: list[Found], job: Job) -> Found:
    """What the rings of a cell found together."""
    deaths = sum(one.deaths for one in found)
    if job.stall is not None:
        return Found(sum(one.windows for one in found), deaths, found[0].windows_a_year)
    return Found(1, deaths, 1 / sum(1 / one.windows_a_year for one in found))


CALLED: Final[dict[Rules, str]] = {
    "wire": "fast lane, wire",
    "no wire": "fast lane, no wire",
    "memberlist": "memberlist's rules",
}


def agree(windows: Found, whole: Found) -> str:
    """Whether the 90 % intervals of both rates meet, and which is higher if not; of two zeros nothing can be said."""
    if not windows.deaths and not whole.deaths:
        return "neither saw any"
    if windows.least > whole.bound:
        return "windows are higher"
    return "windows are lower" if whole.least > windows.bound else "yes"


def table(found: dict[Job, tuple[Found, Found]]) -> list[str]:
    """The comparison in Markdown."""
    lines = ["| rules | loss | stalls | by windows | whole rings | agree |", "|---|---|---|---|---|---|"]
    for job, (windows, whole) in found.items():
        loss = f"{job.loss.share * 100:g} % {job.loss.kind}" if job.loss.share else "none"
        stall = (
            f"{job.stall.seconds:g} s, {'machine' if job.stall.whole else 'loop'}" if job.stall else "none"
        )
        lines.append(
            f"| {CALLED[job.rules]} | {loss} | {stall} | {cell([windows])} | {cell([whole])} | {agree(windows, whole)} |"
        )
    return lines


def read(row: dict[str, Any]) -> tuple[Job, Found]:
    """What `facts_of` wrote."""
    job = Job(row["rules"], Loss(**row["loss"]), row["stall"] and Stall(**row["stall"]))
    return job, Found(row["windows"], row["deaths"], row["windows_a_year"])


def grid(windows: dict[Job, Found], whole: dict[Job, tuple[Found, Found]]) -> dict[Job, Found]:
    """The windows, and whole rings instead where a loss by itself leads to fewer deaths in a ring that remembers."""
    frequent = {
        (job.rules, job.loss)
        for job, (_, by_rings) in whole.items()
        if job.stall is None and job in windows and agree(windows[job], by_rings) == "windows are higher"
    }
    return windows | {job: found for job, (_, found) in whole.items() if (job.rules, job.loss) in frequent}


def rendered(results: Path) -> tuple[list[str], list[str]]:
    """Both tables of docs/ring.md: the grid, and windows beside whole rings."""
    windows = dict(read(row) for row in json.loads((results / "falsedeaths.json").read_text())["grid"])
    whole: dict[Job, tuple[Found, Found]] = {}
    for row in json.loads((results / "wholerings.json").read_text())["cells"]:
        job, by_rings = read(row["whole"])
        whole[job] = read(row["windows"])[1], by_rings
    return falsedeaths.table(grid(windows, whole)), table(whole)


def cells(found: dict[Job, tuple[Found, Found]]) -> list[dict[str, object]]:
    """All cells for the JSON."""
    return [
        {"windows": facts_of(job, windows), "whole": facts_of(job, whole)}
        for job, (windows, whole) in found.items()
    ]


def options(argv: list[str] | None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="python -m bench.wholerings", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--scale", type=float, default=1.0, help="factor on the hours of each ring (default 1)"
    )
    parser.add_argument("--windows", type=int, default=200, help="of each kind (default 200)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument(
        "--render", action="store_true", help="print the tables of docs/ring.md from the results"
    )
    parser.add_argument(
        "--again", type=Path, metavar="FILE", help="keep the whole rings of FILE, count windows only"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Let the rings run, print both rates, write the facts."""
    args = options(argv)
    if args.render:
        print("\n\n".join("\n".join(lines) for lines in rendered(RESULTS)))
        return 0
    measured, began = facts.commit(), time.monotonic()
    earlier = json.loads(args.again.read_text()) if args.again else None
    head = {"windows_commit": measured, "scale": args.scale, "seed": args.seed, "rings": RINGS}
    if earlier is not None:
        head = {key: earlier[key] for key in head if key in earlier} | {"windows_commit": measured}
    known = dict(read(cell["whole"]) for cell in earlier["cells"]) if earlier is not None else {}
    found: dict[Job, tuple[Found, Found]] = {}
    pending: list[tuple[Job, Future[Found], list[Future[Found]]]] = []
    with ProcessPoolExecutor(args.jobs) as pool:
        for job, hours in CELLS:
            if earlier is not None and job not in known:
                continue
            seconds = hours * 3600.0 * args.scale
            seeds = [] if job in known else range(args.seed, args.seed + RINGS)
            rings = [pool.submit(let_run, job, seconds, seed) for seed in seeds]
            pending.append((job, pool.submit(do, job, args.windows, args.seed), rings))
        for job, windows, rings in pending:
            whole = known.get(job) or joined([one.result() for one in rings], job)
            found[job] = windows.result(), whole
            print(table({job: found[job]})[-1], file=sys.stderr, flush=True)
            if args.json:
                # After each cell, so that a run that is broken off leaves the cells that it has done.
                commit = measured if earlier is None else earlier["commit"]
                facts.write(args.json, commit, head | {"cells": cells(found)})
    print("\n".join(table(found)))
    print(f"\n{time.monotonic() - began:.0f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
