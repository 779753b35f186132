"""Our members in rings with real ones, as `make test-interop` has them, and the figures of it kept as a result.

`python -m bench.interop [--repeat N] [--loss SECONDS] [--json FILE]`: rings with memberlist and serf that are calm, die,
leave, return and are parted, four times over (6 min each), then rings that lose packets and stall for ten minutes. Needs Go
1.25 or later and serf, and a machine that does nothing else: the tests have bounds. Nothing is written when a test failed.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from bench import facts

REPEAT: Final = 4
LOSS_S: Final = 600.0
RINGS: Final = ("tests/interop/test_rings.py", "figures.json")
LOSSY: Final = ("tests/interop/test_lossy_rings.py", "losses.json")
"""The tests, and the file in build/interop that they leave."""


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
    args = parser.parse_args(argv)
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
