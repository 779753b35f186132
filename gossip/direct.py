"""Messages that go straight to many members, without waiting for gossip to carry them."""

import heapq
from collections.abc import Sequence
from typing import Final

from gossip.context import Context
from gossip.member import Member
from gossip.timers import TimerKind
from gossip.transmit import Transmitter

_BATCH: Final = 64
"""Datagrams composed at once; whatever else the node has to do comes between two batches."""

_PAUSE_S: Final = 0.005
"""Between two batches."""

_RECIPIENTS_MAX: Final = 2000
"""Members told directly; gossip tells the others."""


class Direct:
    """Sends each message twice: at once, and for those who lost it again a little later.

    Args:
        context: of the node.
        transmitter: composes the datagrams.
        again_s: time until the second sending, seconds.
    """

    def __init__(self, context: Context, transmitter: Transmitter, again_s: float) -> None:
        self._context = context
        self._transmitter = transmitter
        self._again_s = again_s
        self._jobs: list[tuple[float, int, bytes, Sequence[Member]]] = []
        self._number = 0

    def __len__(self) -> int:
        return len(self._jobs)

    def tell(self, members: Sequence[Member], message: bytes, now: float) -> None:
        """Send an encoded message to these members."""
        if len(members) > _RECIPIENTS_MAX:
            members = self._context.rng.sample(members, _RECIPIENTS_MAX)
        self._push(now, message, members)
        self._push(now + self._again_s, message, members)
        self.due(now)

    def due(self, now: float) -> None:
        """Send what is due, a batch of each message."""
        jobs = self._jobs
        while jobs and jobs[0][0] <= now:
            _, _, message, members = heapq.heappop(jobs)
            for member in members[:_BATCH]:
                self._transmitter.send_together(member, [message])
            if len(members) > _BATCH:
                self._push(now + _PAUSE_S, message, members[_BATCH:])
        if jobs:
            self._context.timers.set((TimerKind.DIRECT, 0), jobs[0][0])

    def _push(self, at: float, message: bytes, members: Sequence[Member]) -> None:
        self._number += 1
        heapq.heappush(self._jobs, (at, self._number, message, members))
