"""What a scenario is: a fault, what comes before it, and which traces it leaves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from chaos.stage import Stage

Act = Callable[[Stage, str], Awaitable[None]]
"""Does something to one node of a lab."""

Fault = Callable[[Stage, str], Awaitable[float]]
"""Breaks one node of a lab and tells when, in seconds of the monotonic clock."""


async def nothing(_stage: Stage, _node: str) -> None:
    """No act."""


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
    detected_by: frozenset[str]
    """Log events that mean: the ring knows."""
    comes_back: bool = False
    """The fault is the victim's return: then the one that hands over detects it, else the one that takes over."""
    down_after: bool = False
    """The victim stays off until `after`."""
    forget_neighbour: bool = False
    """Delete the client's neighbour entry at the fault: the kernel of the victim goes on forwarding, so that
    only a client that has to ask notices anything."""
