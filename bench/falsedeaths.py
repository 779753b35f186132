"""How often a living member is declared dead: by loss, by stalls, with and without a wire to ask, beside memberlist.

`python -m bench.falsedeaths [--windows N] [--json FILE]`, about 30 min of two cores with the defaults.
Rings of five in virtual time. False deaths are rare, so time without a fault is not simulated: each window is a ring of
its own around one drawn fault, and counts for as much time as passes, on average, until the next such fault. What is drawn:

* a stall of one member, once an hour and member;
* a burst: the port of one member loses everything, ring and wire alike, for a time drawn from an exponential distribution
  (mean BURST_S), of which only the part long enough for as many misses as are needed is simulated;
* for scattered loss with the fast lane two watchers of one member that both miss as many answers in a row as they need,
  near enough in time to agree; with memberlist's rules a probe and all its relays that fail. The chance of that follows from
  the loss alone, and nothing less can lead to a verdict.

All other packets of a window fare by chance as well. A ring in a window has no past, so a member's earlier silences, which
earn it more misses, are not counted: the figures are too high where faults come often. `bench.wholerings` lets whole rings
run in the cells where that matters most. Bounds are one-sided, 95 %, for counts of a Poisson process.
"""

import argparse
import math
import random
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

from typing_extensions import override

from bench import facts
from gossip.circle import Circle
from gossip.config import SwimConfig
from gossip.fastconfig import FastLaneConfig
from gossip.outputs import MemberDead
from gossip.simulator.network import Bursts, Latency, Link, Network
from gossip.simulator.simulation import Simulation

YEAR_S: Final = 365.25 * 86_400.0
MEMBERS: Final = 5
BURST_S: Final = 0.1
STALLS_AN_HOUR: Final = 1.0
NAMES: Final = [f"n{number}" for number in range(1, MEMBERS + 1)]

PARTNERS: Final = 5 * 15
"""Streaks of a second member that can agree with one of the first, at most: two further watchers and three that are asked
for a second opinion; an accusation counts for five paces, and either may end up to ten paces after the other."""

Rules: TypeAlias = Literal["wire", "no wire", "memberlist"]
Kind: TypeAlias = Literal["scattered", "bursts"]


class Loss(NamedTuple):
    """A share of all datagrams, and how it is spread."""

    share: float
    kind: Kind


class Stall(NamedTuple):
    """A process that stands still; `whole`: the one that answers on the wire does as well."""

    seconds: float
    whole: bool


class Job(NamedTuple):
    """So many windows: a stall in the loss, or (None) what the loss alone does."""

    rules: Rules
    loss: Loss
    stall: Stall | None


class Found(NamedTuple):
    """False deaths in the windows of a job, and how many such windows a year of one member has."""

    windows: int
    deaths: int
    windows_a_year: float

    @property
    def rate(self) -> float:
        """False deaths a member-year."""
        return self.windows_a_year * self.deaths / max(1, self.windows)

    @property
    def bound(self) -> float:
        """95 % upper bound of the rate."""
        return self.windows_a_year * upper(self.deaths) / self.windows if self.windows else 0.0

    @property
    def least(self) -> float:
        """95 % lower bound of the rate."""
        return self.windows_a_year * lower(self.deaths) / self.windows if self.windows else 0.0


RULES: Final[tuple[Rules, ...]] = ("wire", "no wire", "memberlist")
LOSSES: Final = (
    Loss(0.0, "scattered"),
    *(Loss(share, kind) for kind in ("scattered", "bursts") for share in (0.001, 0.01, 0.05)),
)
STALLS: Final = (Stall(0.3, whole=False), Stall(1.0, whole=False), Stall(1.0, whole=True))


class Ring(Simulation):
    """A ring in which a port, or chosen one-way paths, lose everything for a time."""

    cuts: tuple[tuple[Link, Link, float, float], ...] = ()
    port: tuple[Link, float] | None = None
    """A port that loses everything, to and from a gateway as well, and until when."""

    @override
    def loses(self, near: Link, far: Link) -> bool:
        """Whether a packet is lost, by a cut or by chance."""
        if self.port is not None and self.port[0] in (near, far) and self.now < self.port[1]:
            return True
        return any(
            near is one and far is other and begins <= self.now < ends
            for one, other, begins, ends in self.cuts
        ) or super().loses(near, far)


def network(loss: Loss) -> Network:
    """The network of a cell."""
    latency = Latency(least_s=0.0003, spread_s=0.0004)
    if not loss.share or loss.kind == "scattered":
        return Network(latency=latency, loss=loss.share)
    return Network(latency=latency, bursts=Bursts(every_s=apart_s(loss), last_s=BURST_S))


def apart_s(loss: Loss) -> float:
    """Mean time between two bursts on one port."""
    # Either end of a path may lose a packet; the share is that of the path.
    return 2 * BURST_S * (1 - loss.share) / loss.share


def config(rules: Rules) -> SwimConfig:
    """The settings of all members."""
    lan = SwimConfig.lan()
    return replace(lan, fast_lane=None if rules == "memberlist" else FastLaneConfig())


def ring(rules: Rules, loss: Loss, seed: int) -> Ring:
    """A ring that has stood for some probes."""
    simulation = Ring(
        seed,
        config=config(rules),
        network=network(loss),
        cpu_s=150e-6,
        rejoin_s=5.0,
        wire=rules == "wire",
        gateway=rules == "wire",
    )
    simulation.form(NAMES)
    return simulation


def deaths_in(simulation: Simulation) -> Callable[[], int]:
    """Counts the verdicts about running members from now on, each once, however many believe it."""
    wrong: set[tuple[str, int]] = set()

    def hear(happening: object) -> None:
        what = getattr(happening, "what", None)
        if isinstance(what, MemberDead) and simulation.host(what.view.name).node is not None:
            wrong.add((what.view.name, what.view.incarnation))

    simulation.listeners.append(hear)
    return lambda: len(wrong)


def misses(rules: Rules) -> int:
    """Answers missed in a row before a member is accused."""
    lane = FastLaneConfig()
    return lane.misses if rules == "wire" else lane.misses_without_wire


def windows_a_year(job: Job) -> float:
    """How many windows of this kind a year of one member has."""
    if job.stall is not None:
        return STALLS_AN_HOUR * YEAR_S / 3600.0
    share = job.loss.share
    if not share:
        return 0.0
    if job.loss.kind == "bursts":
        return YEAR_S / (apart_s(job.loss) + BURST_S) * math.exp(-shortest_s(job.rules) / BURST_S)
    unanswered = 1 - (1 - share) ** 2
    if job.rules == "memberlist":
        return YEAR_S / config(job.rules).probe_interval_s * unanswered * (1 - (1 - share) ** 4) ** 3
    streak = unanswered ** misses(job.rules)
    return YEAR_S * 3 / FastLaneConfig().pace_s * streak * PARTNERS * streak


def shortest_s(rules: Rules) -> float:
    """Bursts up to this long are over before enough answers are missed."""
    if rules == "memberlist":
        return SwimConfig.lan().probe_timeout_s
    return (misses(rules) - 1) * FastLaneConfig().pace_s


def window(job: Job, seed: int) -> int:
    """False deaths in one window."""
    rng = random.Random(f"window {seed}")
    simulation = ring(job.rules, job.loss, seed)
    simulation.run(1.0 + rng.random())
    victim = rng.choice(NAMES)
    deaths = deaths_in(simulation)
    lasts_s = 0.0
    if job.stall is not None:
        simulation.stall(victim, job.stall.seconds, whole=job.stall.whole)
        lasts_s = job.stall.seconds
    elif job.loss.kind == "bursts":
        lasts_s = shortest_s(job.rules) + rng.expovariate(1.0 / BURST_S)
        simulation.port = simulation.host(victim).link, simulation.now + lasts_s
    else:
        lasts_s = streaks(job, simulation, victim, rng)
    simulation.run(lasts_s + after_s(job.rules))
    return deaths()


def after_s(rules: Rules) -> float:
    """How long after a fault a verdict may follow."""
    # Memberlist gives a suspected member 4 s; a verdict of the lane follows its misses at once.
    return 10.0 if rules == "memberlist" else 2.0


def streaks(job: Job, simulation: Ring, victim: str, rng: random.Random) -> float:
    """Lose what has to be lost before anybody can be accused; how long that takes."""
    now, link = simulation.now, simulation.host(victim).link
    if job.rules == "memberlist":
        interval = config(job.rules).probe_interval_s
        links = [simulation.host(name).link for name in NAMES if name != victim]
        simulation.cuts = tuple((other, link, now, now + interval) for other in links)
        return interval
    circle = Circle()
    for name in NAMES:
        circle.add(name)
    pace = FastLaneConfig().pace_s
    # The pace is not exact; a little too long is too many losses, never too few.
    lasts_s = 1.1 * pace * misses(job.rules)
    begins = [0.0, rng.uniform(-5.0, 10.0) * pace]
    first = -min(begins)
    watchers = [simulation.host(name).link for name in islice(circle.after(victim), 3)]
    simulation.cuts = tuple(
        (watcher, link, now + first + begin, now + first + begin + lasts_s)
        for watcher, begin in zip(rng.sample(watchers, 2), begins, strict=True)
    )
    return first + max(begins) + lasts_s


def do(job: Job, windows: int, seed: int) -> Found:
    """All windows of a job."""
    yearly = windows_a_year(job)
    if not yearly:
        # Nothing is ever lost or late: nothing happens.
        return Found(0, 0, 0.0)
    return Found(windows, sum(window(job, seed + number) for number in range(windows)), yearly)


def upper(count: int) -> float:
    """95 % upper bound of the mean of a Poisson count."""
    return mean_where(count, 0.05, max(1e-9, float(count)), count + 10.0 + 5.0 * math.sqrt(count))


def lower(count: int) -> float:
    """95 % lower bound of the mean of a Poisson count."""
    return mean_where(count - 1, 0.95, 1e-9, float(count)) if count else 0.0


def mean_where(count: int, chance: float, low: float, high: float) -> float:
    """The mean between `low` and `high` at which a Poisson count is at most `count` with this chance."""

    def at_most(mean: float) -> float:
        return math.fsum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(count + 1))

    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if at_most(middle) > chance else (low, middle)
    return high


def number(value: float) -> str:
    """Two significant digits, without an exponent where it can be read without."""
    if value == 0:
        return "0"
    if value >= 100:
        return f"{float(f'{value:.2g}'):,.0f}"
    return f"{value:.2g}" if value >= 0.001 else f"{value:.0e}".replace("e-0", "e-")


def cell(found: Sequence[Found]) -> str:
    """Rate of what adds up in a cell, and its bound."""
    rate = sum(one.rate for one in found)
    bound = sum(one.bound for one in found)
    return f"{number(rate)} (< {number(bound)})" if bound else "0"


def table(found: dict[Job, Found]) -> list[str]:
    """The grid in Markdown: false deaths a member-year and their bounds."""
    lines = [
        "| loss | stalls | fast lane, wire | fast lane, no wire | memberlist's rules |",
        "|---|---|---|---|---|",
    ]
    for loss in LOSSES:
        name = f"{loss.share * 100:g} % {loss.kind}" if loss.share else "none"
        for stall in (None, *STALLS):
            cells = [
                cell([found[Job(rules, loss, None)], *([found[Job(rules, loss, stall)]] if stall else [])])
                for rules in RULES
            ]
            said = "none" if stall is None else f"{stall.seconds:g} s, {'machine' if stall.whole else 'loop'}"
            lines.append(f"| {name} | {said} | {' | '.join(cells)} |")
    return lines


def main(argv: list[str] | None = None) -> int:
    """Measure the grid, print it, write the facts."""
    parser = argparse.ArgumentParser(prog="python -m bench.falsedeaths", description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=1000, help="of each kind (default 1000)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(argv)
    measured, began = facts.commit(), time.monotonic()
    jobs = [Job(rules, loss, stall) for rules in RULES for loss in LOSSES for stall in (None, *STALLS)]
    with ProcessPoolExecutor(args.jobs) as pool:
        pending = [(job, pool.submit(do, job, args.windows, args.seed)) for job in jobs]
        found: dict[Job, Found] = {}
        for job, future in pending:
            found[job] = future.result()
            print(f"{len(found)} of {len(pending)} kinds of windows", file=sys.stderr, flush=True)
    print("\n".join(table(found)))
    print(f"\n{args.windows} windows each, {time.monotonic() - began:.0f} s", file=sys.stderr)
    if args.json:
        document = {
            "windows": args.windows,
            "seed": args.seed,
            "grid": [facts_of(job, one) for job, one in found.items()],
        }
        facts.write(args.json, measured, document)
    return 0


def facts_of(job: Job, found: Found) -> dict[str, object]:
    """One job for the JSON."""
    return {
        "rules": job.rules,
        "loss": job.loss._asdict(),
        "stall": job.stall and job.stall._asdict(),
        **found._asdict(),
        "rate": found.rate,
        "bound": found.bound,
    }


if __name__ == "__main__":
    sys.exit(main())
