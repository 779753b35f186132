"""Every scenario of the lab, one after the other, and docs/failover.md with what was measured.

`python -m bench.failover [--quick] [--budget MINUTES] [CASE ...]`: 30 runs of power-off, kill-speaker, partition and
node-returns on five nodes and 5 on three ("power-off:3"), 5 of each other scenario, in less than an hour; `--quick` does one
of each on three nodes. Those that take minutes, nearly all of them waiting, do so in labs of their own (LABS_BESIDE) beside
the others. Facts go to bench/results/failover/CASE.json; the figures in docs/failover.md and the picture beside it are made
from the files that are there (`--render` does only that).
"""

import argparse
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from bench.facts import between
from chaos.report import cell, label
from chaos.results import Result
from chaos.scenarios import SCENARIOS
from chaos.scenarios.model import ALWAYS
from vipring.svg import Panel, picture, shares

ROOT: Final = Path(__file__).parent.parent
RESULTS: Final = ROOT / "bench" / "results" / "failover"
PAGE: Final = ROOT / "docs" / "failover.md"
PICTURE: Final = ROOT / "docs" / "failover.svg"
README: Final = ROOT / "README.md"
FOREMOST: Final = (
    "power-off",
    "power-off-200",
    "kill-speaker",
    "restart-speaker",
    "node-returns",
    "partition",
    "dead-data-path",
    "ring-cut",
)
"""Scenarios of which README speaks."""

NODES: Final = 5
QUICK_NODES: Final = 3
BUDGET_MIN: Final = 60.0
"""No scenario is begun that its measured runs would carry beyond it."""
LAB_S: Final = 5.0
"""What starting and ending a lab takes."""
LABS_BESIDE: Final = 2
"""Labs in which scenarios that mostly wait are played while another is measured: each is busy for a tenth of two cores."""


class Plan(NamedTuple):
    """How a scenario is measured: runs, the seconds that one takes, and how long the fault lasts where not as usual.

    `beside`: it does nearly nothing for most of its time, so others are measured meanwhile.
    """

    repeat: int = 5
    run_s: float = 12.5
    lasts_s: int | None = None
    beside: bool = False

    @property
    def needs_s(self) -> float:
        """Seconds from the start of the lab to its end."""
        return LAB_S + self.repeat * self.run_s


PLAN: Final[Mapping[str, Plan]] = {
    "power-off": Plan(30, 11.1),
    "kill-speaker": Plan(30, 11.1),
    "node-returns": Plan(30, 11.1),
    "partition": Plan(30, 15.5),
    "power-off-200": Plan(run_s=32),
    "power-off-200-paced": Plan(run_s=45, beside=True),
    "power-off-backend": Plan(run_s=60, beside=True),
    "rolling-restart": Plan(run_s=14.5),
    "rolling-restart-cold": Plan(run_s=14.5),
    "node-returns-15": Plan(run_s=26, beside=True),
    "node-returns-60": Plan(run_s=72, beside=True),
    "hang-responder": Plan(run_s=14, beside=True),
    "hang-both": Plan(run_s=14, beside=True),
    "hang-random": Plan(run_s=33, beside=True),
    "partition-90": Plan(run_s=105, beside=True),
    "link-down": Plan(run_s=22.5),
    "link-down-data": Plan(run_s=24),
    "ring-cut": Plan(run_s=17),
    "ring-cut-90": Plan(run_s=110, beside=True),
    "ring-cut-all": Plan(run_s=110, beside=True),
    "dead-data-path": Plan(run_s=23, lasts_s=6, beside=True),
    "suppressing-switch": Plan(run_s=15),
    "vip-on-lo": Plan(run_s=15),
    "answers-everything": Plan(run_s=15),
    "ring-loss": Plan(run_s=29, lasts_s=15),
    "ring-loss-power-off": Plan(run_s=15),
    "cpu-starvation": Plan(run_s=51, beside=True),
    "api-down": Plan(run_s=54, lasts_s=30, beside=True),
    "api-down-long": Plan(run_s=645, beside=True),
}
"""What differs from Plan()."""
CASES: Final = (*SCENARIOS, "power-off:3", "kill-speaker:3", "node-returns:3", "partition:3")
"""What is measured: scenarios on NODES nodes, or on as many as stand behind the colon."""

_LEEWAY: Final = 1.1
"""Those that wait begin when the others need so many times their time: they may turn out quicker than planned."""

BEGIN: Final = "<!-- figures: python -m bench.failover -->\n"
END: Final = "<!-- end of the figures -->\n"
LIST_BEGIN: Final = "<!-- scenarios: python -m bench.failover -->\n"
LIST_END: Final = "<!-- end of the scenarios -->\n"

COLUMNS: Final = ("outage_s", "no_owner_s", "two_owners_s", "lost", "detected_s", "announced_s")
"""Figures with a column of their own; other promised ones share one."""


def plan_of(name: str, *, quick: bool) -> Plan:
    """How a scenario is measured."""
    scenario, _, fewer = name.partition(":")
    plan = PLAN.get(scenario, Plan())
    if fewer:
        return plan._replace(repeat=Plan().repeat)
    if quick and plan.run_s > 75:
        return Plan(1, 75, lasts_s=60)
    return plan._replace(repeat=1, beside=False) if quick else plan


def command(name: str, plan: Plan, *, quick: bool, seed: int) -> list[str]:
    """The arguments of Python that measure a scenario, without the option that names its file."""
    scenario, _, fewer = name.partition(":")
    nodes = fewer or str(QUICK_NODES if quick else NODES)
    words = ["-m", "chaos", "run", scenario, "--nodes", nodes, "--repeat", str(plan.repeat)]
    lasts = ["--lasts", str(plan.lasts_s)] if plan.lasts_s is not None else []
    return [*words, "--seed", str(seed), *lasts]


def file_of(name: str) -> Path:
    """Where the facts of a case are kept."""
    return RESULTS / f"{name.replace(':', '-on-')}.json"


def measure(name: str, plan: Plan, *, quick: bool, seed: int) -> bool:
    """Run one scenario; False when the command failed."""
    words = command(name, plan, quick=quick, seed=seed)
    RESULTS.mkdir(parents=True, exist_ok=True)
    print(f"== python {' '.join(words)}", flush=True)
    done = subprocess.run([sys.executable, *words, "--json", str(file_of(name))], cwd=ROOT, check=False)
    return done.returncode == 0


def beside_s(plans: Iterable[Plan]) -> float:
    """Seconds that scenarios take in the labs beside: the longest first, each in the lab that is free first."""
    free = [0.0] * LABS_BESIDE
    for needs_s in sorted((plan.needs_s for plan in plans), reverse=True):
        free.sort()
        free[0] += needs_s
    return max(free)


def measure_all(
    names: Sequence[str], *, quick: bool, seed: int, budget_s: float
) -> tuple[list[str], list[str]]:
    """Run the scenarios as long as there is time, those of many runs first; which failed and which were left out."""
    plans = {name: plan_of(name, quick=quick) for name in names}
    began = time.monotonic()
    failed: list[str] = []
    left: list[str] = []

    def measured(name: str, plan: Plan) -> None:
        spent = time.monotonic() - began
        if spent + plan.needs_s > budget_s:
            print(f"\n== {name}: left out, no time for it", flush=True)
            left.append(name)
            return
        if not measure(name, plan, quick=quick, seed=seed):
            failed.append(name)
        took = time.monotonic() - began - spent
        print(f"== {name}: {took:.0f} s{', FAILED' if name in failed else ''}", flush=True)

    following = deque(
        sorted((one for one in plans.items() if not one[1].beside), key=lambda one: -one[1].repeat)
    )
    waiting = sorted((one for one in plans.items() if one[1].beside), key=lambda one: -one[1].needs_s)
    with ThreadPoolExecutor(max_workers=LABS_BESIDE) as beside:
        jobs: list[Future[None]] = []
        while following or waiting:
            rest_s = sum(plan.needs_s for _, plan in following)
            if rest_s <= _LEEWAY * beside_s(plan for _, plan in waiting):
                jobs += [beside.submit(measured, *one) for one in waiting]
                waiting = []
            if following:
                name, plan = following.popleft()
                print(
                    f"\n== {name}, {plan.repeat} runs, about {plan.needs_s:.0f} s; {len(following)} after it; "
                    f"{(time.monotonic() - began) / 60:.1f} min gone",
                    flush=True,
                )
                measured(name, plan)
        for job in jobs:
            job.result()
    print(f"\n== {(time.monotonic() - began) / 60:.1f} min in all", flush=True)
    return failed, left


def results() -> list[Result]:
    """What was measured, in the order of the list of scenarios."""
    found = []
    for name in CASES:
        file = file_of(name)
        if file.exists():
            found.append(msgspec.json.decode(file.read_bytes(), type=Result))
    return found


def spread(result: Result, name: str) -> str:
    """Median and highest, each with what was promised of it."""
    figure = result.summary.get(name)
    if figure is None or figure.p50 is None or figure.max is None:
        return "-"
    middle, highest = cell(name, figure.p50), cell(name, figure.max)
    if name in result.typical:
        middle += f" (≤ {cell(name, result.typical[name])})"
    if name in result.promise:
        highest += f" (≤ {cell(name, result.promise[name])})"
    return f"{middle} / {highest}"


def table(found: Iterable[Result]) -> list[str]:
    """One row a scenario: median and highest of each figure, and whether its promises were kept."""
    lines = [
        f"| scenario | nodes | runs | failed | {' | '.join(label(name) for name in COLUMNS)} | further promises | kept | commit |",
        f"|{'---|' * (len(COLUMNS) + 7)}",
    ]
    for one in found:
        failed = sum(run.failure is not None for run in one.runs)
        cells = [spread(one, name) for name in COLUMNS]
        cells.append(
            "; ".join(f"{label(name)} {spread(one, name)}" for name in one.promise if name not in COLUMNS)
            or "-"
        )
        cells.append("-" if one.kept is None else "yes" if one.kept else "**no**")
        commit = one.commit[:7] + ("-dirty" if one.commit.endswith("-dirty") else "")
        lines.append(
            f"| {one.scenario} | {one.nodes} | {len(one.runs)} | {failed} | {' | '.join(cells)} | {commit} |"
        )
    return lines


def foremost(found: Iterable[Result]) -> list[str]:
    """README's table: median and highest of what a client and the segment see, and which command measured it."""
    lines = [
        "| `python -m chaos run` | runs | outage | two owners | echoes lost | promises kept | commit |",
        f"|{'---|' * 7}",
    ]
    for one in found:
        if one.scenario not in FOREMOST or one.nodes < NODES:
            continue
        words = command(one.scenario, plan_of(one.scenario, quick=False), quick=False, seed=one.seed)
        cells = []
        for name in ("outage_s", "two_owners_s", "lost"):
            figure = one.summary[name]
            known = figure.p50 is not None and figure.max is not None
            cells.append(f"{cell(name, figure.p50)} / {cell(name, figure.max)}" if known else "-")
        cells.append("-" if one.kept is None else "yes" if one.kept else "**no**")
        lines.append(
            f"| `{' '.join(words[3:])}` | {len(one.runs)} | {' | '.join(cells)} | {one.commit[:7]} |"
        )
    return lines


def scenarios() -> list[str]:
    """One row a scenario: what is done, what is promised, and how it is measured where that is not as usual."""
    lines = ["| scenario | what is done | promised | measured |", "|---|---|---|---|"]
    for name, scenario in SCENARIOS.items():
        bounds = [f"median {label(one)} ≤ {cell(one, bound)}" for one, bound in scenario.typical.items()]
        bounds += [
            f"{label(one)} ≤ {cell(one, bound)}" if bound else f"{label(one)}: none"
            for one, bound in scenario.promise.items()
            if bound != ALWAYS.get(one)
        ]
        plan = plan_of(name, quick=False)
        lasts = f", {plan.lasts_s} s long" if plan.lasts_s is not None else ""
        nodes = f", {scenario.nodes} nodes" if scenario.nodes > NODES else ""
        three = ", 5 on three nodes" if f"{name}:{QUICK_NODES}" in CASES else ""
        words = f"{plan.repeat} run{'s' if plan.repeat > 1 else ''}{nodes}{three}{lasts}"
        lines.append(f"| {name} | {scenario.summary} | {'; '.join(bounds) or '-'} | {words} |")
    return lines


def complaints(found: Iterable[Result]) -> list[str]:
    """What was not kept, a line each."""
    broken = [f"* {one.scenario}, {what}" for one in found for what in one.broken]
    return ["", "Not kept:", "", *broken] if broken else []


def drawing(found: Sequence[Result]) -> str:
    """Share of the runs by outage, by time with two owners, and by time until all was right, where there are enough."""

    def lines(name: str, least: float) -> dict[str, list[tuple[float, float]]]:
        """Of the scenarios that promise something of it: others would stretch the axis."""
        curves = {}
        for one in found:
            values = [run.value(name) for run in one.runs if run.failure is None]
            known = [value for value in values if value is not None]
            if name in one.promise and len(known) > 1 and max(known) > least:
                nodes = "" if one.nodes >= NODES else f", {one.nodes} nodes"
                curves[one.scenario + nodes] = list(shares(known))
        return curves

    return picture(
        [
            Panel("Runs with an outage of at most", "seconds", lines("outage_s", 0.1)),
            Panel("Runs with two owners for at most", "seconds", lines("two_owners_s", 0.0)),
            Panel(
                "Runs in which every address had its right owner after", "seconds", lines("settled_s", 0.0)
            ),
        ]
    )


def render() -> None:
    """Put table and picture into the documentation."""
    found = results()
    figures = "\n".join([*table(found), *complaints(found)])
    page = between(PAGE.read_text(), LIST_BEGIN, LIST_END, "\n".join(scenarios()))
    PAGE.write_text(between(page, BEGIN, END, figures))
    PICTURE.write_text(drawing(found))
    README.write_text(between(README.read_text(), BEGIN, END, "\n".join(foremost(found))))


def main(argv: list[str] | None = None) -> int:
    """Measure the chosen cases, write the page; 0 when every command ended well."""
    parser = argparse.ArgumentParser(prog="python -m bench.failover", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="CASE", help=f"{', '.join(CASES)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="one run of each on three nodes")
    parser.add_argument(
        "--budget",
        type=float,
        default=BUDGET_MIN,
        metavar="MINUTES",
        help=f"begin nothing that would take longer in all (default {BUDGET_MIN:g})",
    )
    parser.add_argument("--render", action="store_true", help="measure nothing")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    for name in args.names:
        if name not in CASES:
            parser.error(f"{name}: allowed are {', '.join(CASES)}")
    failed: list[str] = []
    left: list[str] = []
    if not args.render:
        names = args.names or list(SCENARIOS if args.quick else CASES)
        failed, left = measure_all(names, quick=args.quick, seed=args.seed, budget_s=60 * args.budget)
    render()
    for what, which in (("failed", failed), ("left out", left)):
        if which:
            print(f"{what}: {', '.join(which)}", file=sys.stderr)
    return 1 if failed or left else 0


if __name__ == "__main__":
    sys.exit(main())
