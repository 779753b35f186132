"""What a scenario is: a fault, what comes before it, which traces it leaves, and what is promised meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from chaos.lab.settings import LabSettings
from chaos.measure import Evidence
from chaos.stage import Stage

Act = Callable[[Stage, str], Awaitable[None]]
"""Does something to one node of a lab; `Stage.scene` says more of the run."""

Fault = Callable[[Stage, str], Awaitable[float]]
"""Breaks one node of a lab (or all of `Stage.scene.victims`) and tells when, in seconds of the monotonic clock."""


Look = Callable[[Evidence], Mapping[str, float]]
"""Figures of a scenario alone, from the records of a run."""


DETECTED_BY = frozenset({"memberDead", "memberLeft"})
"""Log events that mean: the ring knows that a member is gone."""

ALWAYS: Mapping[str, float] = {"two_owners_s": 0.5, "misplaced": 0, "calm_writes": 0, "rest_writes": 0}
"""Promised whatever happens on a segment that is not cut: part of most scenarios' promises."""


async def nothing(_stage: Stage, _node: str) -> None:
    """No act."""


def one(_nodes: int) -> int:
    """A single victim."""
    return 1


def unlooked(_evidence: Evidence) -> Mapping[str, float]:
    """No figures."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One way to break the owner of a VIP, and how to put it right again.

    The runner calls `before`, measures around `fault`, and then calls `after`; afterwards every node must be a
    live member again. All three get the node that owns the VIP while every node is up.
    """

    name: str
    summary: str
    """One line for the list."""
    fault: Fault
    before: Act = nothing
    after: Act = nothing
    look: Look = unlooked
    """What is taken from the records beside the figures of every run."""
    detected_by: frozenset[str]
    """Log events that mean: the ring knows."""
    comes_back: bool = False
    """The fault is the victim's return: then the one that hands over detects it, else the one that takes over."""
    down_after: bool = False
    """The victims stay off until `after`."""
    forget_neighbour: bool = False
    """Delete the client's neighbour entry at the fault: the kernel of the victim goes on forwarding, so that
    only a client that has to ask notices anything."""
    cold: bool = False
    """Delete the client's neighbour entry every 100 ms for the whole run."""
    victims: Callable[[int], int] = one
    """How many nodes are hit, of so many; the first of them owns the VIP that the client asks through."""
    nodes: int = 3
    """Nodes of the lab where the command line says nothing, and the fewest."""
    services: int = 4
    """Services, each with an address, where the command line says nothing."""
    one_owner: bool = False
    """Choose the addresses so that one node owns them all."""
    speaker_flags: tuple[str, ...] = ()
    """What the speakers are told beside what the manifest says."""
    rate: float = 250.0
    """Echoes a second where the command line says nothing."""
    flows: int = 1
    """Sockets that the client sends from in turn: each is a flow of its own to the data path."""
    keeps_backends: bool = False
    """The victims' own backends stay in service; else they are withdrawn first, for it is the address that is measured."""
    impostors: bool = False
    """Kernels or strangers answer for the VIPs too: the observer asks and counts so that it hears speakers alone."""
    settings: LabSettings = field(default_factory=LabSettings)
    """Of the lab; the number of nodes is not taken from here."""
    lasts_s: float = 0.0
    """How long the fault (or the absence before it) lasts where the command line says nothing; 0 where that has no meaning."""
    back_off_s: float = 0.0
    """How long speakers and controller may go without asking the API again once all else is at rest, seconds."""
    promise: Mapping[str, float] = field(default_factory=dict)
    """Figures (fields of Run and Phases, or facts that the fault notes or `look` finds) and the highest value allowed in any run."""
    typical: Mapping[str, float] = field(default_factory=dict)
    """The same for the median of the runs."""
    in_tests: bool = False
    """`make test` plays one short run of it."""
