"""Random schedules: a cluster, the faults that befall it, and what changes at the API server meanwhile."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tests.simulation.announcer.switch import BRIEF_AGEING_S, USUAL_AGEING_S

Kind: TypeAlias = Literal[
    "die",
    "leave",
    "stall",
    "hang",
    "cut",
    "ring-cut",
    "deaf",
    "replug",
    "gateway",
    "host",
    "plain",
    "burst",
    "burst-all",
    "service",
    "endpoints",
    "move",
    "exclude",
]
OF_NODES: tuple[Kind, ...] = ("die", "leave", "stall", "hang", "cut", "ring-cut", "deaf", "replug")
"""`replug`: the node is at another port of the switch from one moment to the next, as with a bond."""
OF_SEGMENT: tuple[Kind, ...] = ("gateway", "host")
"""The gateway is away, a host answers everything."""
OF_API: tuple[Kind, ...] = ("service", "endpoints", "move", "exclude")
"""Changes at the API server: a Service comes, and goes again where it lasts for less than BRIEF_S; one has no ready
endpoints; the pods of one of policy Local run on another node; a Node is excluded by its label."""
OF_LOSS: tuple[Kind, ...] = ("burst", "burst-all")
"""Every frame is lost for a moment, at the port of a node or on the whole segment."""
BRIEF_S = 1.5
CALM = 0.1
"""Share of the schedules in which nothing but the API server's objects change."""
SUPPRESSING = 0.25
"""Share of the schedules behind a switch that suppresses broadcasts."""
BURSTS = 0.3
"""Share of the other schedules in which frames are lost in bursts."""
BURST_S = 0.1
"""A burst's mean length."""
LONGEST_BURST_S = 0.4
AFTER_S = 1.0
"""Most bursts begin within this time after something else has begun or ended: then questions are asked."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault or change: what, to which node or Service (by position), when and for how long (seconds)."""

    kind: Kind
    node: int
    at: float
    lasts: float


@dataclass(frozen=True, slots=True)
class Schedule:
    """A cluster and what happens to it. `plain`: members of the ring that are no speakers of ours; `local`: the second
    Service has policy Local."""

    seed: int
    nodes: int
    plain: int
    local: bool
    loss: float
    suppressing: bool
    ageing_s: float
    faults: tuple[Fault, ...]


def draw(seed: int) -> Schedule:
    """Draw a schedule of up to six faults and three changes in ten seconds, and up to four bursts of loss; one in ten has
    changes only, up to six."""
    rng = random.Random(seed)
    nodes = rng.choice((2, 3, 3, 5))
    plain = rng.choice((0, 0, 1, 2))
    kinds: tuple[Kind, ...] = (*OF_NODES, *OF_SEGMENT, *(("plain",) if plain else ()))
    calm = rng.random() < CALM
    drawn = [rng.choice(OF_API) for _ in range(rng.randint(1, 6) if calm else rng.randint(0, 3))]
    if not calm:
        drawn += [rng.choice(kinds) for _ in range(rng.randint(1, 6))]
    faults = [
        Fault(kind, rng.randrange(nodes), round(rng.uniform(0, 10), 3), round(rng.uniform(0.2, 4), 3))
        for kind in drawn
    ]
    local = rng.random() < 0.5
    loss = 0.0 if calm else rng.choice((0.0, 0.0, 0.01))
    suppressing = rng.random() < SUPPRESSING
    if not calm and rng.random() < BURSTS:
        faults += _bursts(rng, nodes, faults)
    return Schedule(
        seed,
        nodes,
        plain,
        local=local,
        loss=loss,
        suppressing=suppressing,
        ageing_s=rng.choice((BRIEF_AGEING_S, USUAL_AGEING_S)),
        faults=tuple(sorted(faults, key=lambda f: f.at)),
    )


def _bursts(rng: random.Random, nodes: int, faults: Sequence[Fault]) -> list[Fault]:
    changes = [moment for fault in faults for moment in (fault.at, fault.at + fault.lasts)]
    return [
        Fault(
            rng.choice(OF_LOSS),
            rng.randrange(nodes),
            round(rng.choice([*changes, rng.uniform(0, 10)]) + rng.uniform(0, AFTER_S), 3),
            round(min(rng.expovariate(1 / BURST_S), LONGEST_BURST_S), 3),
        )
        for _ in range(rng.randint(1, 4))
    ]
