"""When a Kubernetes Event tells of something that is no speaker and answers for an address. Sans-IO."""

from __future__ import annotations

from typing import Final

from speaker.decide import Address

AGAIN_S: Final = 600.0
"""Between two Events about the same address and MAC at least: what does not change is not written again and again."""
MAX_TOLD: Final = 16_384
"""Pairs of address and MAC that are remembered; further ones cause no Event. Whoever is on the segment can make up MACs."""


class ForeignEvents:
    """Remembers which pairs of address and MAC an Event told of in the last AGAIN_S. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._told: dict[tuple[Address, bytes], float] = {}

    def due(self, address: Address, mac: bytes, now: float) -> bool:
        """Whether an Event is to tell that `mac` answers for the address; it then counts as told."""
        while self._told and now - next(iter(self._told.values())) >= AGAIN_S:
            # The order is that of time: what was told first is forgotten first.
            del self._told[next(iter(self._told))]
        if (address, mac) in self._told or len(self._told) >= MAX_TOLD:
            return False
        self._told[address, mac] = now
        return True
