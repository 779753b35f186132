"""What a speaker costs while nothing happens: memory and processor time of the speaker and of its responder.

`python -m bench.speaker_rest [--seconds 60] [--json FILE]`, about 6 min. Five speakers as the manifest starts them, each in a
network namespace of its own on one bridge, with 10, 200 and 2000 Services of two endpoints each, spread over them. Once all
addresses are announced, the figures settle for 30 s; then processor time counts over a window. The kubelet's two probes go
on as the manifest asks for them. Medians and extremes of the five; MB are 10^6 bytes.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final

import msgspec

from bench.facts import commit
from bench.limits import Limit, failures
from bench.yard import Yard, enter, until
from chaos.results import to_json

NODES: Final = 5
SERVICES: Final = (10, 200, 2000)
SETTLE_S: Final = 30.0
PROBES: Final = (("healthz", 10.0), ("readyz", 5.0))
"""Pages and seconds between two requests, as in the manifest."""
SPEAKER_MB: Final = {10: 60.0, 200: 62.0, 2000: 75.0}
RESPONDER_MB: Final = 14.0
CORE: Final = 0.02
"""Share of a core, of a speaker and its responder together."""


class Usage(msgspec.Struct, frozen=True):
    """One process over the window; memory at its end."""

    rss_mb: float
    pss_mb: float
    private_dirty_mb: float
    core: float
    """Share of a core."""
    wakeups_s: float
    """Times a second that it waited and went on."""


class Row(msgspec.Struct, frozen=True):
    """Five speakers with so many Services."""

    services: int
    speakers: tuple[Usage, ...]
    responders: tuple[Usage, ...]
    limits: tuple[Limit, ...]


class Facts(msgspec.Struct, frozen=True):
    """The whole run."""

    commit: str
    settle_s: float
    seconds: float
    nodes: int
    rows: tuple[Row, ...]


class Reading(msgspec.Struct, frozen=True):
    """Counters of a process at a moment."""

    at: float
    cpu_s: float
    waits: int

    @classmethod
    def of(cls, pid: int) -> "Reading":
        """Read them from /proc; processor time from the scheduler, which counts nanoseconds."""
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        nanoseconds = sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)
        waits = sum(_number(task / "status", "voluntary_ctxt_switches:") for task in tasks)
        return cls(time.monotonic(), nanoseconds / 1e9, waits)


def _number(file: Path, label: str) -> int:
    """The number behind a label at the start of a line."""
    line = next(line for line in file.read_text().splitlines() if line.startswith(label))
    return int(line.split()[1])


def usage(pid: int, before: Reading, after: Reading) -> Usage:
    """What happened between two readings."""
    rollup = Path(f"/proc/{pid}/smaps_rollup")
    rss, pss, dirty = (
        round(_number(rollup, label) * 1024 / 1e6, 2) for label in ("Rss:", "Pss:", "Private_Dirty:")
    )
    took = after.at - before.at
    return Usage(rss, pss, dirty, (after.cpu_s - before.cpu_s) / took, (after.waits - before.waits) / took)


class Kubelet:
    """Asks every speaker for its two pages, as often as the manifest says."""

    def __init__(self, yard: Yard) -> None:
        self._yard = yard
        now = time.monotonic()
        self._due = [(now + every / 2, page, every) for page, every in PROBES]

    def wait(self, seconds: float) -> None:
        """Do so for a while."""
        until_then = time.monotonic() + seconds
        while (now := time.monotonic()) < until_then:
            for number, (due, page, every) in enumerate(self._due):
                if now >= due:
                    self._due[number] = due + every, page, every
                    for name in self._yard.nodes:
                        code = self._yard.page(name, page)
                        if code != 200:
                            raise SystemExit(f"bench.speaker_rest: /{page} of {name} answered {code}")
            time.sleep(min(0.1, max(0.0, until_then - time.monotonic())))


def measure(services: int, seconds: float, settle_s: float) -> Row:
    """Five speakers with so many Services."""
    with Yard(nodes=NODES, services=services) as yard:
        yard.start_speakers()
        until("all addresses announced", lambda: yard.owned() == services)
        kubelet = Kubelet(yard)
        kubelet.wait(settle_s)
        responders = {name: yard.status(name)["responder"]["pid"] for name in yard.nodes}
        pids = [*(yard.speakers[name].pid for name in yard.nodes), *responders.values()]
        before = {pid: Reading.of(pid) for pid in pids}
        kubelet.wait(seconds)
        found = [usage(pid, before[pid], Reading.of(pid)) for pid in pids]
    speakers, childs = tuple(found[:NODES]), tuple(found[NODES:])
    return Row(services, speakers, childs, limits(services, speakers, childs))


def limits(services: int, speakers: Sequence[Usage], responders: Sequence[Usage]) -> tuple[Limit, ...]:
    """What is asked of the highest of the five, and of the median where it is processor time."""
    core = median(one.core + other.core for one, other in zip(speakers, responders, strict=True))
    return (
        Limit(
            f"speaker RSS, {services} services",
            max(one.rss_mb for one in speakers),
            SPEAKER_MB[services],
            "MB",
        ),
        Limit(
            f"responder RSS, {services} services", max(one.rss_mb for one in responders), RESPONDER_MB, "MB"
        ),
        Limit(f"both, share of a core, {services} services", core, CORE, ""),
    )


def print_row(row: Row) -> None:
    """One line a process."""
    for what, found in (("speaker", row.speakers), ("responder", row.responders)):
        core = [one.core * 100 for one in found]
        print(
            f"{row.services:>8}  {what:<10}"
            f"{median(one.rss_mb for one in found):>8.1f}{max(one.rss_mb for one in found):>8.1f}"
            f"{median(one.pss_mb for one in found):>8.1f}{median(one.private_dirty_mb for one in found):>8.1f}"
            f"{median(core):>9.2f}{min(core):>7.2f}{max(core):>7.2f}"
            f"{median(one.wakeups_s for one in found):>9.0f}",
            flush=True,
        )


def main() -> int:
    """Measure in namespaces of its own; 1 when a limit is broken."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.speaker_rest", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="the window (default 60)")
    parser.add_argument("--settle", type=float, default=SETTLE_S, help=f"before it (default {SETTLE_S:g})")
    parser.add_argument("--services", type=int, nargs="+", choices=SERVICES, default=list(SERVICES))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the facts to FILE as well")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.inside:
        each = args.seconds + args.settle + 90
        return enter("bench.speaker_rest", [*sys.argv[1:], "--inside"], timeout_s=each * len(args.services))
    print(
        f"{'services':>8}  {'process':<10}{'RSS':>8}{'max':>8}{'PSS':>8}{'dirty':>8}{'core %':>9}{'min':>7}{'max':>7}{'waits/s':>9}"
    )
    measured = commit()
    rows = []
    for services in args.services:
        rows.append(measure(services, args.seconds, args.settle))
        print_row(rows[-1])
    if args.json:
        args.json.write_text(to_json(Facts(measured, args.settle, args.seconds, NODES, tuple(rows))))
    return failures([limit for row in rows for limit in row.limits])


if __name__ == "__main__":
    sys.exit(main())
