"""Results in words: a table of the figures and what happened after the fault, step by step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from chaos.results import FIGURES, Figure, Phases, Result, Run, percentile

_LABELS = {
    "outage_s": "outage",
    "lost": "echoes lost",
    "two_owners_s": "two owners",
    "no_owner_s": "no owner",
    "detected_s": "detected after",
    "elected_s": "elected after",
    "announced_s": "announced after",
    "answered_s": "answered after",
    "back_s": "all announced after",
    "silent_s": "no owner at a stretch",
    "settled_s": "settled after",
    "neighbour_s": "client misled for",
    "waited_s": "longest answer",
    "whole_s": "last echo lost after",
    "strays": "stray frames",
    "moves": "addresses moved",
    "misplaced": "wrong owners at last",
    "calm_writes": "API writes at rest",
    "rest_writes": "API writes afterwards",
}

_ALWAYS = FIGURES[:8]
"""Shown also where no run has them."""

LEGEND = (
    "outage: longest gap between two answers (the probe's interval included). two owners, no owner: how long the"
    " observer, asking every 50 ms, heard two MAC addresses or none for at least one of the VIPs."
)


def duration(seconds: float | None) -> str:
    """Seconds for people: milliseconds below one second, `-` where there is none."""
    if seconds is None:
        return "-"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.2f} s"


def columns(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Rows as lines: the first column to the left, the others to the right."""
    table = list(rows)
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return [
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
            ]
        ).rstrip()
        for row in table
    ]


def table(result: Result) -> list[str]:
    """The figures of all runs: n, min, p50, p90, max."""
    bound = "promised" if result.promise or result.typical else ""
    rows: list[tuple[str, ...]] = [("", "n", "min", "p50", "p90", "max", bound)]
    for name, found in result.summary.items():
        if found.n or name in _ALWAYS or name in result.promise:
            cells = [cell(name, value) for value in _shown(found)]
            rows.append((label(name), str(found.n), *cells, promised(result, name)))
    return columns(rows)


def promised(result: Result, name: str) -> str:
    """The bounds of one figure: of the median, and of every run."""
    words = []
    if name in result.typical:
        words.append(f"p50 {cell(name, result.typical[name])}")
    if name in result.promise:
        words.append(cell(name, result.promise[name]))
    return ", ".join(words)


def label(name: str) -> str:
    """A figure's name for people."""
    return _LABELS.get(name, name.removesuffix("_s").replace("_", " "))


def _shown(found: Figure) -> tuple[float | None, ...]:
    return (found.min, found.p50, found.p90, found.max)


def cell(name: str, value: float | None) -> str:
    """A figure for people: names of durations end with _s, the others count."""
    if not name.endswith("_s"):
        return "-" if value is None else f"{value:g}"
    return duration(value)


def run_line(number: int, run: Run) -> str:
    """One run in one line."""
    if run.failure is not None:
        return f"run {number}: {run.vip}: FAILED: {run.failure}"
    variant = f" ({run.variant})" if run.variant else ""
    broken = f"; BROKEN: {'; '.join(run.broken)}" if run.broken else ""
    return (
        f"run {number}{variant}: {run.vip}: {run.owner_before} -> {run.owner_after},"
        f" outage {duration(run.outage_s)}, {run.lost} of {run.sent} echoes lost; {steps(run)}{broken}"
    )


def steps(run: Run) -> str:
    """Detected, elected, announced, answered, each with its time after the fault."""
    words = []
    if run.suspected_s is not None:
        words.append(f"suspected after {duration(run.suspected_s)}")
    for name in ("detected", "elected", "announced", "answered"):
        after = getattr(run.phases, f"{name}_s")
        words.append(f"{name} after {duration(after)}" if after is not None else f"not {name}")
    if run.held_up_s:
        words.append(f"the probe itself was held up for {duration(run.held_up_s)}")
    return ", ".join(words)


def explanation(result: Result) -> list[str]:
    """What happened in the run with the median outage, where its time went, and what failed."""
    good = [run for run in result.runs if run.failure is None and run.outage_s is not None]
    failed = len(result.runs) - sum(run.failure is None for run in result.runs)
    lines = [f"{failed} of {len(result.runs)} runs failed and are not in the table."] if failed else []
    if not good:
        return lines
    middle = percentile(sorted(run.outage_s or 0.0 for run in good), 50)
    run = next(run for run in good if run.outage_s == middle)
    lines.append(f"The run with the median outage ({duration(middle)}), {run.vip}, fault on {run.victim}:")
    lines += [f"  {line}" for line in story(run)]
    return lines


def story(run: Run) -> list[str]:
    """One failover told step by step as it happened, each with its time after the fault and since the step before."""
    phases: Phases = run.phases
    told = [
        (run.suspected_s, f"a member suspected {run.victim}"),
        (phases.detected_s, _detected(run)),
        (phases.elected_s, f"elected: {run.owner_after} found itself the owner of {run.vip}"),
        (phases.announced_s, f"announced: {run.owner_after}'s first gratuitous ARP was on the wire"),
        (phases.answered_s, "answered: the client's next answer arrived"),
    ]
    lines = []
    before = 0.0
    for after, what in sorted((after, what) for after, what in told if after is not None):
        lines.append(f"{duration(after):>8}  {what} (+{duration(after - before)})")
        before = after
    if phases.detected_s is None and run.owner_after == run.owner_before:
        lines.append(f"{run.owner_before} is the owner again, or still")
    if phases.answered_s is None:
        lines.append(f"no outage: the longest gap between two answers was {duration(run.outage_s)}")
    if run.two_owners_s:
        lines.append(f"two owners answered ARP for {duration(run.two_owners_s)}")
    return lines


def _detected(run: Run) -> str:
    if run.owner_after == run.victim:
        return f"detected: {run.owner_before} learned that {run.victim} is back"
    return f"detected: the ring's verdict on {run.victim} reached {run.owner_after}"


def text(result: Result) -> list[str]:
    """The whole report of one scenario."""
    good = sum(run.failure is None for run in result.runs)
    head = f"{result.scenario}: {result.nodes} nodes, {good} runs, seed {result.seed}, commit {result.commit}"
    return [
        head,
        "",
        *table(result),
        "",
        *verdict(result),
        *written(result),
        *explanation(result),
        "",
        LEGEND,
    ]


def written(result: Result) -> list[str]:
    """What vipring wrote to the API from the faults on, over all runs."""
    total: Counter[str] = Counter()
    for run in result.runs:
        total.update(run.writes)
    if not total:
        return []
    counted = ", ".join(f"{n} x {what}" for what, n in total.most_common())
    return [f"Written to the API from the faults on, all runs together: {counted}.", ""]


def verdict(result: Result) -> list[str]:
    """Whether the promises were kept, and what was not."""
    if result.kept is None or not (result.promise or result.typical or result.broken):
        return []
    if result.kept:
        return ["All promises were kept.", ""]
    return ["NOT KEPT:", *(f"  {what}" for what in result.broken), ""]
