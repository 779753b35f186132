"""`vipring simulate`: rings in virtual time, what their detection takes, and what breaks them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cluster.config.document import load_document
from cluster.errors import ConfigError as DocumentError
from gossip.config import SwimConfig
from gossip.errors import ConfigError
from gossip.fastconfig import FastLaneConfig
from gossip.simulator.campaign import Campaign, Figures, Spread
from gossip.simulator.checks import Violation
from gossip.simulator.faults import Plan, unknown_names
from gossip.simulator.plans import PLANS, plan_from
from gossip.simulator.shrink import shrink
from gossip.simulator.trial import Outcome, Setting, run
from vipring.render import print_table, table


class SimulateError(Exception):
    """Wrong input; one line for people."""


class Counterexample(msgspec.Struct, frozen=True):
    """A run that broke a rule, made as short as it could be."""

    rule: str
    at_s: float
    detail: str
    seed: int
    plan: Plan


class Report(Figures, frozen=True, kw_only=True):
    """What `vipring simulate --json` writes."""

    members: int
    faults: str
    fast_lane: bool
    plain: int
    seed: int
    broken_runs: int
    counterexample: Counterexample | None


def find_plan(name: str, members: int) -> Plan:
    """A named plan, or the one in a file.

    Raises:
        SimulateError: neither, or a file that is wrong; names the field and what is allowed.
    """
    plan = PLANS.get(name)
    if plan is None:
        path = Path(name)
        if not path.is_file():
            raise SimulateError(f"--faults {name!r}: neither a file nor one of {', '.join(PLANS)}")
        try:
            text = path.read_text()
            # Finds what PyYAML lets pass: a key given twice, more than one document.
            load_document(text)
            plan = plan_from(yaml.safe_load(text))
        except (DocumentError, ConfigError) as error:
            raise SimulateError(f"{name}: {error}") from None
        except (OSError, UnicodeDecodeError):
            raise SimulateError(f"{name}: not a readable text file") from None
    setting = Setting(members=members, plan=plan)
    unknown = unknown_names(plan, setting.names)
    if unknown:
        raise SimulateError(
            f"{name}: faults.members: {unknown[0]!r} is no member; n1 to n{members} are allowed"
        )
    return plan


def simulate(
    setting: Setting, runs: int, seed: int, done: Callable[[int], None] = lambda _: None
) -> tuple[Campaign, Figures]:
    """All runs, of the seeds from `seed` upwards; `done` is told how many are over."""
    campaign = Campaign(setting)
    began = time.process_time()
    for number in range(runs):
        campaign.add(run(setting, seed + number))
        done(number + 1)
    return campaign, campaign.figures(time.process_time() - began)


def command(
    console: Console,
    *,
    members: int,
    runs: int,
    faults: str,
    fast_lane: bool,
    plain: int,
    seconds: float,
    seed: int | None,
    json_file: Path | None,
    plot_file: Path | None,
) -> bool:
    """Run, show, write; False if a rule was broken.

    Raises:
        SimulateError: wrong input, or a file that cannot be written.
    """
    plan = find_plan(faults, members)
    if plain > members:
        raise SimulateError(f"--plain {plain}: 0 to {members} are allowed")
    setting = Setting(
        members=members,
        plan=plan,
        plain=plain,
        config=SwimConfig(fast_lane=FastLaneConfig() if fast_lane else None),
        at_least_s=seconds,
    )
    first = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    console.print(
        f"{members} members, {runs} runs, seed {first}: {plan.about or faults}",
        highlight=False,
        soft_wrap=True,
    )
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task("simulating", total=runs)
        campaign, figures = simulate(setting, runs, first, lambda number: bar.update(task, completed=number))
        found = campaign.broken()
        if found is not None:
            shrinking = bar.add_task("shortening", total=None)
            found = shrink(setting, found, tried=lambda number: bar.update(shrinking, completed=number))
    report = Report(
        **{field: getattr(figures, field) for field in figures.__struct_fields__},
        members=members,
        faults=faults,
        fast_lane=fast_lane,
        plain=plain,
        seed=first,
        broken_runs=sum(bool(outcome.violations) for outcome in campaign.outcomes),
        counterexample=None if found is None else counterexample(plan, found),
    )
    show(console, report)
    try:
        if json_file is not None:
            json_file.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
        if plot_file is not None:
            from vipring.simulateplot import plot

            plot_file.write_text(plot(campaign))
    except OSError as error:
        raise SimulateError(f"{error.filename}: {error.strerror}") from None
    return found is None


def counterexample(plan: Plan, outcome: Outcome) -> Counterexample:
    """A run that broke a rule as a plan that repeats it."""
    worst: Violation = outcome.violations[0]
    schedule = Plan(network=plan.network, faults=outcome.schedule)
    return Counterexample(worst.rule, round(worst.at, 3), worst.detail, outcome.seed, schedule)


def show(console: Console, report: Report) -> None:
    """The figures as tables; a counterexample as a plan that can be copied into a file."""
    rows = table("SECONDS FROM CRASH", "N", "MEAN", "P50", "P90", "P99", "MAX")
    for title, spread in (("first dead", report.first_dead_s), ("all know", report.all_know_s)):
        rows.add_row(title, str(spread.n), *_cells(spread))
    print_table(console, rows)
    console.print()
    rows = table("FALSE DEATHS", "MEMBER-YEARS", "PACKETS/MEMBER/S", "BYTES/MEMBER/S", "SIMULATED S/CPU S")
    rows.add_row(
        str(report.false_deaths),
        f"{report.member_years:.3g}",
        f"{report.packets_per_member_s:.2f}",
        f"{report.bytes_per_member_s:.0f}",
        f"{report.sim_seconds_per_s:.1f}",
    )
    print_table(console, rows)
    found = report.counterexample
    if found is None:
        return
    console.print(
        f"\nbroken in {report.broken_runs} of {report.runs} runs: {found.rule} at {found.at_s} s: {found.detail}",
        style="red",
        highlight=False,
        soft_wrap=True,
    )
    console.print(
        f"# the shortest schedule found: vipring simulate --members {report.members} --runs 1 --seed {found.seed} "
        f"--fast-lane {'on' if report.fast_lane else 'off'} --plain {report.plain} --faults FILE, with this in FILE",
        highlight=False,
        soft_wrap=True,
    )
    console.print(
        yaml.safe_dump(msgspec.to_builtins(found.plan), sort_keys=False).rstrip(),
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def list_plans(console: Console) -> None:
    """The named plans, a line each."""
    rows = table("NAME", "WHAT HAPPENS")
    for name, plan in PLANS.items():
        rows.add_row(name, plan.about)
    print_table(console, rows)


def _cells(spread: Spread) -> list[str]:
    values = (spread.mean, spread.p50, spread.p90, spread.p99, spread.max)
    return ["-" if value is None else f"{value:.2f}" for value in values]
