"""`python -m tests.fuzz`: every decoder and a living member, for a time."""

import argparse
import os
import random
import sys
from pathlib import Path

from bench import facts
from tests.fuzz.runner import fuzz, tried
from tests.fuzz.targets import TARGETS


def main() -> int:
    """Exit status 1 when something broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=600.0, help="all targets together (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=int(os.environ.get("VIPRING_SEED", random.randrange(1 << 32)))
    )
    parser.add_argument("--target", choices=TARGETS, action="append", help="only this one; may be repeated")
    parser.add_argument("--input", help="run one input, its steps in hexadecimal, separated by commas")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was tried to FILE as well")
    options = parser.parse_args()
    names = options.target or list(TARGETS)
    if options.input is not None:
        script = tuple(bytes.fromhex(step) for step in options.input.split(","))
        outcome, finding = tried(TARGETS[names[0]](), script)
        print(finding.trace or finding.failure if finding is not None else outcome)
        return int(finding is not None)
    print(f"seed {options.seed}", flush=True)
    measured = facts.commit()
    tried_of: dict[str, dict[str, int]] = {}
    broken = 0
    for name in names:
        # Each target has its own generator, so that one of them can be run again alone.
        rng = random.Random(f"{options.seed} {name}")
        report = fuzz(TARGETS[name](), rng, seconds=options.seconds / len(names))
        tried_of[name] = {"inputs": report.runs, "outcomes": len(report.outcomes)}
        print(f"{name:22} {report.runs:9} inputs  {len(report.outcomes):6} different outcomes", flush=True)
        if report.finding is not None:
            broken += 1
            steps = ",".join(step.hex() for step in report.finding.script)
            print(f"{report.finding.trace}{report.finding.failure}")
            print(f"again: python -m tests.fuzz --target {name!r} --input {steps}", flush=True)
    if options.json is not None:
        found = {
            "seed": options.seed,
            "seconds": options.seconds,
            "inputs": sum(one["inputs"] for one in tried_of.values()),
            "findings": broken,
            "targets": tried_of,
        }
        facts.write(options.json, measured, found)
    return int(broken > 0)


sys.exit(main())
