"""`python -m bench`: every number that README and docs promise, one after the other.

Each measurement is a command of its own that anybody can run alone; this prints it before it runs it. The facts
go to bench/results/NAME.json.

    python -m bench                 all of them (hours)
    python -m bench --list          what there is
    python -m bench demo arp        only these

Two write pages and have commands of their own: APART.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
ALONE = (
    "arp",
    "speaker_rest",
    "new_service",
    "decide",
    "rest",
    "detection",
    "kills",
    "fastlane",
    "falsedeaths",
    "wholerings",
    "simspeed",
    "interop",
)
"""Modules of this package that are commands."""

APART = {
    "failover": "every scenario on five nodes, and docs/failover.md (an hour; make bench-failover)",
    "cost": "the tables of docs/cost.md from the results that are there",
}
"""Modules that write pages, and do not run with all others."""


def commands() -> dict[str, list[str]]:
    """The command of each measurement, without the option that names its file."""
    elsewhere = {"demo": ["-m", "chaos.demo"], "fuzz": ["-m", "tests.fuzz"]}
    return elsewhere | {name: ["-m", f"bench.{name}"] for name in ALONE}


def main(argv: list[str] | None = None) -> int:
    """Run the chosen measurements; 0 when all of them ended well."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure what the README promises.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(commands())} (default: all)")
    parser.add_argument("--list", action="store_true", help="print the command of each, and run none")
    args = parser.parse_args(argv)
    known = commands()
    for name in args.names:
        if name not in known:
            parser.error(f"{name}: allowed are {', '.join(known)}")
    if args.list:
        for name, command in known.items():
            print(f"{name:16} python {' '.join(command)}")
        for name, what in APART.items():
            print(f"{'':16} python -m bench.{name}: {what}")
        return 0
    RESULTS.mkdir(exist_ok=True)
    failed = []
    for name in args.names or known:
        command = [*known[name], "--json", str(RESULTS / f"{name}.json")]
        print(f"\n== {name}: python {' '.join(known[name])}", flush=True)
        began = time.monotonic()
        code = subprocess.run([sys.executable, *command], cwd=RESULTS.parent.parent, check=False).returncode
        print(f"== {name}: {time.monotonic() - began:.0f} s, code {code}", flush=True)
        if code:
            failed.append(name)
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
