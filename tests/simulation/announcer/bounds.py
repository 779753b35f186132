"""How long an address may be without an owner, by the faults that are near in time."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from tests.simulation.announcer.schedule import OF_API, Fault, Kind


class Bound(NamedTuple):
    """Longest time without an owner after a fault that is alone begins or ends, and how long after its end it counts as
    near (seconds)."""

    none_s: float
    near_s: float


CALM_S: Final = 1.2
"""Where nothing but the API server's objects and plain members change: three polls of a holder that has let go, a window, a
contest."""
SEVERAL_S: Final = 3.0
"""Where several faults are near each other, and each may begin in the middle of what another one has caused: the lease of a
hung speaker, a verdict, three polls, a window. Nothing is promised for that."""
API_S: Final = (0.0, 3.0)
"""A change at the API server is known."""
BOUNDS: Final[dict[Kind, Bound]] = {
    # docs/failover.md, power-off and kill-speaker: outage at most 1 s.
    "die": Bound(1.0, 4.0),
    # docs/failover.md, restart-speaker, promises more (nothing lost); a heir that is not told to take over takes its time.
    "leave": Bound(1.0, 4.0),
    # docs/failover.md, hang, hang-responder, hang-both: at most 2.5 s at a stretch.
    "stall": Bound(2.5, 4.0),
    "hang": Bound(2.5, 4.0),
    # docs/failover.md, dead-data-path: at most 4 s; the others hear 5 s after its end that the link counts again.
    "deaf": Bound(4.0, 7.0),
    # Not in docs/failover.md. Who asks it at its own MAC is not heard until it has sent something, after a second at most.
    "replug": Bound(1.2, 2.0),
    # No promise: the segment itself is cut, or nobody can be heard, or a stranger answers for everything.
    "cut": Bound(SEVERAL_S, 4.0),
    "gateway": Bound(SEVERAL_S, 4.0),
    "host": Bound(SEVERAL_S, 4.0),
    # No promise but that nothing moves; for up to 6 s after it some may hold a living member dead.
    "ring-cut": Bound(SEVERAL_S, 7.0),
    # Not in docs/failover.md. An address is announced again within CALM_S; no fault for others that are near.
    **{kind: Bound(CALM_S, API_S[1]) for kind in OF_API},
}


class Near:
    """The faults of a schedule as they are played, and what bound they leave."""

    def __init__(self) -> None:
        self._until: dict[Fault, float] = {}
        """Until when each counts as near; without end while it lasts."""
        self._bursts: list[tuple[float, float]] = []
        """When each burst of loss begins and ends."""

    def begins(self, fault: Fault) -> None:
        """A fault that lasts begins."""
        self._until[fault] = math.inf

    def ends(self, fault: Fault, now: float) -> None:
        """A fault ends, or a change without an end is made."""
        self._until[fault] = now + BOUNDS[fault.kind].near_s

    def burst(self, begins: float, ends: float) -> None:
        """Every frame is lost at a port or on the segment."""
        self._bursts.append((begins, ends))

    def lost_s(self, since: float, now: float) -> float:
        """How much of a time without an owner bursts took. It does not count: whoever asks in one can hear nobody who proves
        that the link works, and must not announce."""
        return sum(max(0.0, min(ends, now) - max(begins, since)) for begins, ends in self._bursts)

    def none_s(self, since: float) -> float:
        """How long an address may be without an owner that has had none since then, or since the last fault after that."""
        near = [fault.kind for fault, until in self._until.items() if until > since]
        longest = max((BOUNDS[kind].none_s for kind in near), default=CALM_S)
        several = sum(kind not in OF_API for kind in near) > 1
        return max(SEVERAL_S, longest) if several else longest
