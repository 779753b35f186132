"""Our members in rings with real ones, as `make test-interop` has them, and the figures of it kept as a result.

`python -m bench.interop [--repeat N] [--loss SECONDS] [--json FILE]`: rings with memberlist and serf that are calm, die,
leave, return and are parted, four times over (8 min each), then rings that lose packets and stall for ten minutes. Needs Go
1.25 or later and serf, and a machine that does nothing else: the tests have bounds. Nothing is written when a test failed.
`--render` puts bench/results/interop.json into docs/ring.md and measures nothing.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from bench import cost, facts

REPEAT: Final = 4
LOSS_S: Final = 600.0
RINGS: Final = ("tests/interop/test_rings.py", "figures.json")
LOSSY: Final = ("tests/interop/test_lossy_rings.py", "losses.json")
"""The tests, and the file in build/interop that they leave."""

RESULT: Final = facts.ROOT / "bench" / "results" / "interop.json"
PAGE: Final = facts.ROOT / "docs" / "ring.md"
WHAT: Final = {
    "ours dead, first": "one of ours is killed: the first knows",
    "ours dead, all": "… everybody knows",
    "theirs dead, all": "one of theirs is killed: everybody knows",
    "ours left": "goodbye of ours, until all have heard it",
    "theirs left": "goodbye of theirs",
    "ours back after death": "ours restarted after a death, alive everywhere",
    "theirs back after death": "theirs",
    "healed after 30 s between the kinds": "healed after 30 s, all of ours on one side and all of theirs on the other",
    "healed after 90 s between the kinds": "healed after 90 s, all of ours on one side and all of theirs on the other",
    "healed after 30 s across the kinds": "healed after 30 s, ours and theirs on both sides",
    "ours healed after 30 s across the kinds": "… ours among each other",
    "healed after 90 s across the kinds": "healed after 90 s, ours and theirs on both sides",
    "ours healed after 90 s across the kinds": "… ours among each other",
}
"""What the tests measure, in words."""


COUNTED: Final = (
    "stalls",
    "verdicts of ours on machines that stood still",
    "false deaths seen by theirs",
    "false deaths seen by ours",
    "suspicions seen by ours",
)
"""What is counted in lossy rings."""


class Facts(msgspec.Struct, frozen=True):
    """Seconds of each ring by what was measured, one mapping a repetition; counts of each lossy ring."""

    commit: str
    rings: list[dict[str, dict[str, float]]]
    lossy: dict[str, dict[str, int]]


def spread(values: Iterable[float]) -> str:
    """Lowest to highest."""
    ordered = sorted(values)
    return f"{ordered[0]:.2f} to {ordered[-1]:.2f}" if ordered else "-"


def sums(rings: list[dict[str, int]]) -> str:
    """What was counted in lossy rings, in words."""
    return ", ".join(
        f"{sum(ring[what] for ring in rings)} {what}"
        for what in COUNTED
        if all(what in ring for ring in rings)
    )


def table(text: bytes) -> list[str]:
    """Figures of the rings by kind, and the sums of the lossy ones."""
    found = msgspec.json.decode(text, type=Facts)
    rings = [ring for repetition in found.rings for ring in repetition.items()]
    kinds = {
        name: [figures for kind, figures in rings if kind.startswith(name)] for name in ("memberlist", "serf")
    }
    head = ["seconds, lowest to highest", *(f"{name}, rings: {len(those)}" for name, those in kinds.items())]
    rows = [
        [words, *(spread(ring[what] for ring in those if what in ring) for those in kinds.values())]
        for what, words in WHAT.items()
    ]
    lasting = [ring for ring in found.lossy.values() if "rings" not in ring]
    short = [ring for ring in found.lossy.values() if "rings" in ring]
    lasted = max(ring["seconds"] for ring in lasting)
    lines = [f"{len(lasting)} rings with loss and stalls, {lasted} s long: {sums(lasting)}."]
    if short:
        number = sum(ring["rings"] for ring in short)
        lines.append(f"{number} short ones, in which each machine of ours stands still once: {sums(short)}.")
    return [*cost.table(head, rows), "", *lines, f"Commit {cost.short(found.commit)}."]


def render() -> None:
    """Put the result into the page."""
    text = "\n".join(table(RESULT.read_bytes()))
    PAGE.write_text(facts.between(PAGE.read_text(), cost.begin("interop"), cost.END, text))


def run(test: str, left: str, loss_s: float) -> object:
    """Run a file of tests; what it left.

    Raises:
        subprocess.CalledProcessError: a test failed.
    """
    file = facts.ROOT / "build" / "interop" / left
    file.unlink(missing_ok=True)
    subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "interop", test],
        cwd=facts.ROOT,
        env={**os.environ, "VIPRING_INTEROP_LOSS_S": str(loss_s)},
        check=True,
    )
    return json.loads(file.read_text())


def main(argv: list[str] | None = None) -> int:
    """Run the tests and write the facts; 1 when a test failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.interop", description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=REPEAT, help=f"of the rings (default {REPEAT})")
    parser.add_argument(
        "--loss",
        type=float,
        default=LOSS_S,
        metavar="SECONDS",
        help=f"of the lossy rings (default {LOSS_S:g})",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the facts")
    parser.add_argument("--render", action="store_true", help="only put the result into docs/ring.md")
    args = parser.parse_args(argv)
    if args.render:
        render()
        return 0
    measured = facts.commit()
    try:
        rings = [run(*RINGS, args.loss) for _ in range(args.repeat)]
        lossy = run(*LOSSY, args.loss)
    except subprocess.CalledProcessError as failed:
        print(f"bench.interop: {failed}", file=sys.stderr)
        return 1
    found = {"rings": rings, "lossy": lossy}
    print(json.dumps(found, indent=2))
    if args.json:
        facts.write(args.json, measured, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
