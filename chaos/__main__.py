"""`python -m chaos`: list the scenarios, run one."""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import anyio

from chaos import report, results
from chaos.errors import ChaosError
from chaos.lab.errors import LabError
from chaos.run import Options, nodes_of, run_scenario
from chaos.scenarios import SCENARIOS
from cluster.errors import ClusterError

EXAMPLES = """\
examples:
  python -m chaos list
  python -m chaos run power-off
  python -m chaos run power-off --nodes 5 --repeat 20 --json power-off.json
  python -m chaos run node-returns --repeat 3 --seed 7
  python -m chaos run api-down-long --lasts 60 --check
"""

EXIT_CODES = """
exit codes: 0 every run counted; 1 a run failed, or the lab did; 2 wrong usage; 3 with --check, a promise was not kept
"""


def _count(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"allowed are {low} to {high}, not {text!r}")
        return int(text)

    return parse


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m chaos",
        description="Break a real cluster in a box on purpose and measure what a client notices.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the scenarios, one a line")
    run = commands.add_parser(
        "run",
        help="run a scenario and report what it cost",
        epilog=EXAMPLES + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument(
        "scenario", choices=sorted(SCENARIOS), metavar="SCENARIO", help=", ".join(sorted(SCENARIOS))
    )
    run.add_argument(
        "--nodes", type=_count(2, 60), help="nodes of the lab (default 3, or as many as the scenario needs)"
    )
    run.add_argument("--repeat", type=_count(1, 1000), default=5, help="runs, all in one lab (default 5)")
    run.add_argument(
        "--services",
        type=_count(1, 250),
        help="services, each with an address (default: the scenario's, mostly 4)",
    )
    run.add_argument(
        "--rate", type=_count(50, 1000), help="echoes a second (default: the scenario's, mostly 250)"
    )
    run.add_argument(
        "--lasts",
        type=_count(1, 3600),
        metavar="SECONDS",
        help="how long the fault, or the absence before it, lasts where the scenario has such a time",
    )
    run.add_argument(
        "--check", action="store_true", help="end with code 3 when a promise of the scenario was not kept"
    )
    run.add_argument(
        "--seed", type=_count(0, 2**63), help="makes the same choices again (default: a random one)"
    )
    run.add_argument("--json", metavar="FILE", help="write the facts of every run and their summary")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line; 0 when every run counted, 1 when one failed, 2 for wrong usage, 3 as --check says."""
    args = _parser().parse_args(argv)
    if args.command == "list":
        for name, scenario in SCENARIOS.items():
            print(f"{name:22} {scenario.summary}")
        return 0
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:7.1f}  {line}", flush=True)

    seed = random.SystemRandom().randrange(2**31) if args.seed is None else args.seed
    options = Options(
        nodes=args.nodes,
        repeat=args.repeat,
        seed=seed,
        services=args.services,
        rate=args.rate,
        lasts_s=args.lasts,
    )
    scenario = SCENARIOS[args.scenario]
    say(f"{args.scenario}: {scenario.summary}")
    say(f"{nodes_of(scenario, options)} nodes, {options.repeat} runs, seed {seed}")
    try:
        result = anyio.run(run_scenario, scenario, options, say)
    except (ChaosError, LabError, ClusterError) as error:
        print(f"chaos: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("chaos: interrupted", file=sys.stderr)
        return 130
    print("", *report.text(result), sep="\n")
    if args.json:
        Path(args.json).write_text(results.to_json(result), encoding="utf-8")
    if any(run.failure for run in result.runs):
        return 1
    return 3 if args.check and not result.kept else 0


if __name__ == "__main__":
    sys.exit(main())
