"""The tables of docs/cost.md from what was measured: `python -m bench.cost`, after any of the benches that it names."""

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Final

import msgspec

from bench import arp, decide, new_service, simspeed, speaker_rest
from bench.facts import between
from chaos.results import Figure

ROOT: Final = Path(__file__).parent.parent
RESULTS: Final = ROOT / "bench" / "results"
PAGE: Final = ROOT / "docs" / "cost.md"

METALLB_REST: Final = {
    10: "71-73 / 19-20 / 0.50-0.67 %",
    200: "78-80 / 24-26 / 0.52-0.65 %",
    2000: "114-116 / 61-63 / 0.63-0.68 %",
}
"""MetalLB 0.16.2, measured: RSS and private dirty memory of a speaker in MB, share of a core; lowest and highest."""
METALLB_ARP: Final = {10: "368-469", 2000: "1160-1350"}
"""MetalLB 0.16.2, measured: median answer in microseconds, by Services; the kernel beside it 250 and 490."""


def begin(name: str) -> str:
    """The line before a table."""
    return f"<!-- figures: python -m bench.{name} -->\n"


END: Final = "<!-- end of the figures -->\n"


def short(commit: str) -> str:
    """Seven digits of a commit, and whether the checkout differed from it."""
    return commit[:7] + ("-dirty" if commit.endswith("-dirty") else "")


def extremes(values: Iterable[float], form: str = "{:.1f}") -> str:
    """Median, and lowest and highest in brackets."""
    ordered = sorted(values)
    middle, low, high = (form.format(value) for value in (median(ordered), ordered[0], ordered[-1]))
    return f"{middle} ({low}-{high})"


def numbers(found: Figure, form: str = "{:.0f}") -> list[str]:
    """Count, median, 90th percentile and highest."""
    return [str(found.n), *(form.format(value) for value in (found.p50, found.p90, found.max))]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def speaker_rest_table(text: bytes) -> list[str]:
    """Memory and processor time of a speaker at rest."""
    facts = msgspec.json.decode(text, type=speaker_rest.Facts)
    rows = []
    for one in facts.rows:
        core = [100 * (a.core + b.core) for a, b in zip(one.speakers, one.responders, strict=True)]
        rows.append(
            [
                str(one.services),
                extremes(process.rss_mb for process in one.speakers),
                extremes(process.private_dirty_mb for process in one.speakers),
                extremes(process.rss_mb for process in one.responders),
                extremes(process.private_dirty_mb for process in one.responders),
                extremes(core, "{:.2f}") + " %",
                METALLB_REST[one.services],
            ]
        )
    head = [
        "Services",
        "speaker RSS",
        "its private dirty",
        "responder RSS",
        "its private dirty",
        "both, of a core",
        "MetalLB",
    ]
    return [
        *table(head, rows),
        "",
        f"Commit {short(facts.commit)}, windows of {facts.seconds:g} s after {facts.settle_s:g} s, n = {facts.nodes} speakers.",
    ]


def arp_table(text: bytes) -> list[str]:
    """Answers to ARP requests."""
    facts = msgspec.json.decode(text, type=arp.Facts)
    rows = []
    for one in facts.rows:
        asked = one.target.startswith("speaker, ") and one.target.endswith("addresses")
        peer = METALLB_ARP.get(int(one.target.split()[1]), "-") if asked else "-"
        spread = [f"{value:.0f}" for value in (one.p50, one.p90, one.p99, one.most)]
        rows.append([one.target, str(one.sent), str(one.answered), *spread, peer])
    head = ["asked", "n", "answered", "p50", "p90", "p99", "highest", "MetalLB, p50"]
    return [*table(head, rows), "", f"Commit {short(facts.commit)}. Microseconds."]


def new_service_table(text: bytes) -> list[str]:
    """From a new Service to its announcement."""
    facts = msgspec.json.decode(text, type=new_service.Facts)
    rows = [
        ["address until announced", *numbers(facts.after_address), "-"],
        ["creation until announced", *numbers(facts.after_creation), "35 (24-56)"],
        ["creation until address", *numbers(facts.address_after_creation), "32 (22-48)"],
    ]
    head = ["ms", "n", "p50", "p90", "highest", "MetalLB, p50"]
    return [
        *table(head, rows),
        "",
        f"Commit {short(facts.commit)}, {facts.nodes} nodes, {facts.services} Services.",
    ]


def decide_table(text: bytes) -> list[str]:
    """Changes of members."""
    facts = msgspec.json.decode(text, type=decide.Facts)
    rows = [
        [
            one.change,
            *numbers(one.decided_ms, "{:.1f}"),
            f"{one.longest_batch_ms.max:.1f}",
            f"{one.moved.p50:.0f}",
        ]
        for one in facts.rows
    ]
    head = ["change", "n", "p50", "p90", "highest", "longest batch", "addresses that moved"]
    note = (
        f"Commit {short(facts.commit)}, {facts.addresses} addresses, {facts.members} members. Milliseconds."
    )
    return [*table(head, rows), "", note]


def simspeed_table(text: bytes) -> list[str]:
    """Speed of the simulator."""
    facts = msgspec.json.decode(text, type=simspeed.Facts)
    rows = [
        [
            str(one.members),
            "on" if one.fast_lane else "off",
            str(one.speed.n),
            f"{one.speed.p50:.1f} ({one.speed.min:.1f}-{one.speed.max:.1f})",
            f"{one.datagrams_s.p50:.0f}",
        ]
        for one in facts.rows
    ]
    head = ["members", "fast lane", "n", "virtual seconds a second", "datagrams a second"]
    return [*table(head, rows), "", f"Commit {short(facts.commit)}."]


TABLES: Final[dict[str, Callable[[bytes], list[str]]]] = {
    "speaker_rest": speaker_rest_table,
    "arp": arp_table,
    "new_service": new_service_table,
    "decide": decide_table,
    "simspeed": simspeed_table,
}


def render() -> None:
    """Put each table whose facts are there into the page."""
    page = PAGE.read_text()
    for name, make in TABLES.items():
        file = RESULTS / f"{name}.json"
        if file.exists():
            page = between(page, begin(name), END, "\n".join(make(file.read_bytes())))
    PAGE.write_text(page)


if __name__ == "__main__":
    render()
    sys.exit(0)
