"""What goes wrong in a run: kinds of faults, plans of them, and how a plan is drawn out for a ring.

A plan may name members by number, share or name; drawing replaces these by names, so that every run has a schedule
that can be told, repeated and shortened.
"""

import random
from collections.abc import Sequence
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from gossip.simulator.network import Bursts, Latency, Network, Seconds, Share

Choice: TypeAlias = (
    Annotated[int, msgspec.Meta(ge=1)]
    | Annotated[str, msgspec.Meta(pattern="^(100|[1-9]?[0-9])%$")]
    | tuple[str, ...]
)
"""Members of a fault: that many at random, a share of all at random (`"25%"`), or names."""

LEAVE_S: Final = 1.0
"""From a member's goodbye to the end of its process."""


class Fault(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="kind",
):
    """Base of all faults; the field `kind` of a file tells which."""

    at_s: Seconds = 0.0
    """Seconds after the ring stands."""
    members: Choice = 1


class LastingFault(Fault, frozen=True):
    """A fault that ends by itself."""

    for_s: Seconds = 10.0


class Crash(Fault, frozen=True, tag="crash"):
    """Power off, for good: what detection is measured by."""


class Leave(Fault, frozen=True, tag="leave"):
    """A goodbye; the process ends a second later."""


class Restart(Fault, frozen=True, tag="restart"):
    """Power off and on again."""

    down_s: Seconds = 1.0
    apart_s: Seconds = 0.0
    """From one member to the next; 0 for all at once."""
    move: bool = False
    """Whether each comes back at another address."""


class Partition(LastingFault, frozen=True, tag="partition"):
    """These members on one side, all others on the other. One at a time: the end of any heals all."""

    members: Choice = "50%"


class Lose(LastingFault, frozen=True, tag="lose"):
    """The links of these members lose datagrams; at share 1 streams fail too."""

    share: Share = 0.05
    direction: Literal["both", "in", "out"] = "both"


class Disturb(LastingFault, frozen=True, tag="disturb"):
    """The whole network behaves otherwise for a time: latency, loss, bursts, copies, overtaking."""

    members: Choice = "100%"
    network: Network = Network()


class Stall(LastingFault, frozen=True, tag="stall"):
    """The process does nothing; what arrives waits in its sockets."""

    for_s: Seconds = 0.9
    freezes: Literal["loop", "all"] = "loop"
    """The ring's event loop only, or the process that answers on the wire too."""


class Starve(LastingFault, frozen=True, tag="starve"):
    """Each datagram costs the process this many times its usual time."""

    factor: Annotated[float, msgspec.Meta(ge=1.0, le=10_000.0)] = 100.0


class Drift(LastingFault, frozen=True, tag="drift"):
    """The members' clocks run at this rate of true time."""

    rate: Annotated[float, msgspec.Meta(ge=0.5, le=2.0)] = 1.01


AnyFault: TypeAlias = Crash | Leave | Restart | Partition | Lose | Disturb | Stall | Starve | Drift
"""Every kind that a file may hold."""


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A network and what goes wrong in it."""

    about: str = ""
    """One line for people."""
    network: Network = Network()
    faults: tuple[AnyFault, ...] = ()
    random_faults: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0
    """So many more are drawn anew for each run, of every kind but leave and crash for good."""
    within_s: Seconds = 60.0
    """The random ones begin in this time."""
    at_least_s: Seconds = 0.0
    """Simulated seconds that a run lasts after the ring stands, also when all is settled before."""


def draw(plan: Plan, names: Sequence[str], rng: random.Random) -> tuple[AnyFault, ...]:
    """The plan as a schedule for these members: every fault with names, in the order of time."""
    faults = [*plan.faults, *(_random_fault(plan.within_s, rng) for _ in range(plan.random_faults))]
    here = list(names)
    drawn: list[AnyFault] = []
    for fault in sorted(faults, key=lambda fault: fault.at_s):
        chosen = _choose(fault.members, here, len(names), rng)
        if isinstance(fault, Crash | Leave):
            # Somebody must be left to tell.
            chosen = chosen[: len(here) - 1]
            here = [name for name in here if name not in chosen]
        if chosen:
            drawn.append(msgspec.structs.replace(fault, members=tuple(chosen)))
    return tuple(drawn)


def ends_s(fault: AnyFault) -> float:
    """When a drawn fault is over, seconds after the ring stands."""
    match fault:
        case LastingFault():
            return fault.at_s + fault.for_s
        case Restart():
            return fault.at_s + fault.down_s + fault.apart_s * max(0, len(named(fault)) - 1)
        case Leave():
            return fault.at_s + LEAVE_S
        case Crash():
            return fault.at_s


def named(fault: AnyFault) -> tuple[str, ...]:
    """The members of a drawn fault."""
    assert isinstance(fault.members, tuple), "the plan was not drawn"
    return fault.members


def _choose(choice: Choice, here: Sequence[str], total: int, rng: random.Random) -> list[str]:
    if isinstance(choice, tuple):
        return [name for name in choice if name in here]
    count = choice if isinstance(choice, int) else max(1, round(int(choice[:-1]) * total / 100))
    return rng.sample(here, min(count, len(here)))


def _random_fault(within_s: float, rng: random.Random) -> AnyFault:
    at, lasts = round(rng.uniform(0.0, within_s), 3), round(rng.expovariate(1.0 / 8.0), 3)
    few: Choice = rng.choice((1, 1, 1, 2, "25%"))
    disturbed = Network(
        latency=Latency(spread_s=rng.choice((0.0004, 0.005, 0.05)), shape="lognormal"),
        loss=rng.choice((0.0, 0.01, 0.1, 0.3)),
        bursts=rng.choice((None, Bursts(every_s=5.0, last_s=0.5))),
        duplicate=rng.choice((0.0, 0.1)),
        reorder=rng.choice((0.0, 0.1)),
    )
    return rng.choice(
        (
            Restart(at_s=at, members=few, down_s=lasts, move=rng.random() < 0.25),
            Partition(at_s=at, members=rng.choice((1, "25%", "50%")), for_s=3.0 * lasts),
            Lose(at_s=at, members=few, for_s=lasts, share=rng.choice((0.1, 0.5, 1.0))),
            Lose(at_s=at, for_s=lasts, share=1.0, direction=rng.choice(("in", "out"))),
            Disturb(at_s=at, for_s=lasts, network=disturbed),
            Stall(at_s=at, members=few, for_s=lasts / 2.0),
            Starve(at_s=at, members=few, for_s=lasts, factor=rng.choice((10.0, 100.0, 1000.0))),
            Drift(at_s=at, members=few, for_s=lasts, rate=rng.choice((0.9, 0.99, 1.01, 1.1))),
        )
    )


def unknown_names(plan: Plan, names: Sequence[str]) -> list[str]:
    """Names in the plan that no member of the ring has."""
    known = set(names)
    given = [fault.members for fault in plan.faults if isinstance(fault.members, tuple)]
    return sorted({name for chosen in given for name in chosen if name not in known})
