"""One simulated machine: its clock, its processor, its port, and the node while it runs."""

from collections import deque
from collections.abc import Callable
from typing import Final

from gossip.address import Endpoint
from gossip.node import SwimNode
from gossip.simulator.network import Link

SOCKET_QUEUE: Final = 4096
"""Datagrams that wait in the socket of a busy process; further ones are lost."""

NEVER: Final = float("inf")


class FarEnd:
    """The other end of a stream."""

    __slots__ = ("arrives", "host", "life", "number")

    def __init__(self, host: "Host", number: int) -> None:
        self.host = host
        self.life = host.life
        self.number = number
        self.arrives = 0.0
        """When the latest of the bytes on their way will be there: an end never overtakes them."""


class Host:
    """Mutable record of one member's machine; only the simulation writes it."""

    __slots__ = (
        "_local",
        "_rate",
        "_since",
        "absent",
        "changed_at",
        "endpoint",
        "far_ends",
        "free_at",
        "inbox",
        "life",
        "link",
        "meta",
        "moved",
        "name",
        "node",
        "plain",
        "silent_until",
        "slowness",
        "wake_at",
        "working",
    )

    def __init__(self, name: str, endpoint: Endpoint, now: float) -> None:
        self.name = name
        self.endpoint = endpoint
        self.link = Link()
        self.node: SwimNode | None = None
        self.life = 0
        """Counts the starts, so that what was meant for an earlier life misses."""
        self.meta = b""
        self.plain = False
        """Whether a member of memberlist runs here, without our meta and fast lane."""
        self.silent_until = 0.0
        """Until when the process that answers on the wire stands still."""
        self.moved = False
        """Whether it was last started at another address than before."""
        self.changed_at = now
        """When it was last started, cut off or connected."""
        self.wake_at = NEVER
        self.free_at = 0.0
        """When the process has done what it is at."""
        self.slowness = 1.0
        """Factor on the cost of each datagram."""
        self.inbox: deque[Callable[[], None]] = deque()
        """What waits in the sockets."""
        self.working = False
        """Whether the simulation will come back to the inbox."""
        self.far_ends: dict[int, FarEnd] = {}
        """By our number of the stream."""
        self.absent: set[str] = set()
        """Names that this member does not hold for living."""
        self._local = self._since = now
        self._rate = 1.0

    def clock(self, now: float) -> float:
        """What the machine's own monotonic clock shows."""
        return now if self._rate == 1.0 and self._local == self._since else self._shown(now)

    def moment(self, local: float) -> float:
        """When the machine's clock will show this."""
        if self._rate == 1.0 and self._local == self._since:
            return local
        return self._since + (local - self._local) / self._rate

    def set_rate(self, rate: float, now: float) -> None:
        """Let the clock run this much faster (above 1) or slower than true time."""
        self._local, self._since, self._rate = self._shown(now), now, rate

    def _shown(self, now: float) -> float:
        return self._local + (now - self._since) * self._rate
