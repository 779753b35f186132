"""A switch: which port each MAC is at, and what it answers by itself. Sans-IO."""

from __future__ import annotations

from typing import Final

from announcer.layer2 import arp
from announcer.layer2.arp import ArpFrame

BRIEF_AGEING_S: Final = 2.0
"""An ageing time that is over several times in a schedule."""
USUAL_AGEING_S: Final = 300.0
"""IEEE 802.1Q: the recommended ageing time. In a schedule nothing is forgotten."""


class Switch:
    """Learns from every frame at which port its source is, and forgets it when nothing came from there for `ageing_s`.

    What it has not learnt goes to every port. `suppressing`: it answers requests from what was said before, instead of
    flooding them. Times are monotonic seconds.
    """

    def __init__(self, *, ageing_s: float, suppressing: bool = False) -> None:
        self.suppressing = suppressing
        self._ageing_s = ageing_s
        self._at: dict[bytes, tuple[int, float]] = {}
        self._said: dict[bytes, bytes] = {}

    def learn(self, frame: ArpFrame, port: int, now: float) -> None:
        """A frame comes in at a port. Of two ports that a MAC is heard at the last one counts."""
        self.learn_source(frame.source, port, now)
        if self.suppressing and frame.sender_ip != arp.ANY:
            self._said[frame.sender_ip] = frame.sender_mac

    def learn_source(self, mac: bytes, port: int, now: float) -> None:
        """A frame of any kind comes in at a port."""
        self._at[mac] = (port, now)

    def port_of(self, mac: bytes, now: float) -> int | None:
        """The only port that frames to a MAC leave by, None for all."""
        port, heard = self._at.get(mac, (None, 0.0))
        return port if now - heard < self._ageing_s else None

    def answer_for(self, frame: ArpFrame) -> bytes | None:
        """The MAC that the switch itself gives in answer to a request, which then goes no further; None where it floods."""
        if not self.suppressing or frame.operation != arp.REQUEST or frame.destination != arp.BROADCAST:
            return None
        return self._said.get(frame.target_ip) if frame.sender_ip != frame.target_ip else None
