"""Every scenario of the lab, one after the other, and docs/failover.md with what was measured.

`python -m bench.failover [--quick] [SCENARIO ...]`: 30 runs of power-off, kill-speaker, partition and node-returns on five nodes,
5 of the others, about 50 min; `--quick` does two of each on three nodes. Facts go to bench/results/failover/NAME.json; the
figures in docs/failover.md and the picture beside it are made from the files that are there (`--render` does only that).
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from chaos.report import duration
from chaos.results import Figure, Result
from chaos.scenarios import SCENARIOS
from vipring.svg import Panel, picture, shares

ROOT: Final = Path(__file__).parent.parent
RESULTS: Final = ROOT / "bench" / "results" / "failover"
PAGE: Final = ROOT / "docs" / "failover.md"
PICTURE: Final = ROOT / "docs" / "failover.svg"

OFTEN: Final = ("power-off", "kill-speaker", "partition", "node-returns")
ONCE: Final = ("api-down",)
"""A minute long each."""

BEGIN: Final = "<!-- figures: python -m bench.failover -->\n"
END: Final = "<!-- end of the figures -->\n"


def repeats(name: str, *, quick: bool) -> int:
    """Runs of a scenario."""
    if name in ONCE:
        return 1
    if quick:
        return 2
    return 30 if name in OFTEN else 5


def measure(name: str, *, quick: bool, seed: int) -> bool:
    """Run one scenario; False when the command failed."""
    nodes = 3 if quick else 5
    command = ["-m", "chaos", "run", name, "--nodes", str(nodes)]
    command += ["--repeat", str(repeats(name, quick=quick)), "--seed", str(seed)]
    RESULTS.mkdir(parents=True, exist_ok=True)
    print(f"\n== python {' '.join(command)}", flush=True)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, *command, "--json", str(RESULTS / f"{name}.json")], cwd=ROOT, check=False
    )
    print(f"== {name}: {time.monotonic() - began:.0f} s, code {done.returncode}", flush=True)
    return done.returncode == 0


def results() -> list[Result]:
    """What was measured, in the order of the list of scenarios."""
    found = []
    for name in SCENARIOS:
        file = RESULTS / f"{name}.json"
        if file.exists():
            found.append(msgspec.json.decode(file.read_bytes(), type=Result))
    return found


def spread(figure: Figure, *, seconds: bool = True) -> str:
    """Median and highest."""
    if figure.p50 is None or figure.max is None:
        return "-"
    if seconds:
        return f"{duration(figure.p50)} / {duration(figure.max)}"
    return f"{figure.p50:g} / {figure.max:g}"


def table(found: Iterable[Result]) -> list[str]:
    """One row a scenario: median and highest of each figure."""
    lines = [
        "| scenario | nodes | runs | failed | outage | no owner | two owners | echoes lost | detected | announced | commit |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in found:
        failed = sum(run.failure is not None for run in one.runs)
        cells = [spread(one.summary[name]) for name in ("outage_s", "no_owner_s", "two_owners_s")]
        cells.append(spread(one.summary["lost"], seconds=False))
        cells += [spread(one.summary[name]) for name in ("detected_s", "announced_s")]
        commit = one.commit[:7] + ("-dirty" if one.commit.endswith("-dirty") else "")
        lines.append(
            f"| {one.scenario} | {one.nodes} | {len(one.runs)} | {failed} | {' | '.join(cells)} | {commit} |"
        )
    return lines


def drawing(found: Sequence[Result]) -> str:
    """Share of the runs by outage, of those scenarios that have one, and by time with two owners, of all."""

    def lines(name: str, least: float) -> dict[str, list[tuple[float, float]]]:
        curves = {}
        for one in found:
            values = [getattr(run, name) for run in one.runs if run.failure is None]
            known = [value for value in values if value is not None]
            if known and max(known) > least:
                curves[one.scenario] = list(shares(known))
        return curves

    return picture(
        [
            Panel("Runs with an outage of at most", "seconds", lines("outage_s", 0.1)),
            Panel("Runs with two owners for at most", "seconds", lines("two_owners_s", 0.0)),
        ]
    )


def render() -> None:
    """Put table and picture into the documentation."""
    found = results()
    page = PAGE.read_text()
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    PAGE.write_text(head + BEGIN + "\n" + "\n".join(table(found)) + "\n\n" + END + tail)
    PICTURE.write_text(drawing(found))


def main(argv: list[str] | None = None) -> int:
    """Measure the chosen scenarios, write the page; 0 when every command ended well."""
    parser = argparse.ArgumentParser(prog="python -m bench.failover", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="SCENARIO", help=f"{', '.join(SCENARIOS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="two runs of each on three nodes")
    parser.add_argument("--render", action="store_true", help="measure nothing")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    for name in args.names:
        if name not in SCENARIOS:
            parser.error(f"{name}: allowed are {', '.join(SCENARIOS)}")
    failed = []
    if not args.render:
        failed = [
            name for name in args.names or SCENARIOS if not measure(name, quick=args.quick, seed=args.seed)
        ]
    render()
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
