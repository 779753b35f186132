"""How much silence is no reason for alarm: what a member's past and this node's own lateness teach."""

from collections import deque
from typing import Final

_MEMORY_S: Final = 600.0
"""How long a silence that ended alive is remembered."""

_LONGEST: Final = 10
"""Paces that one silence counts at most, so that one long stall does not disarm the lane."""

_SCORE_MAX: Final = 3
_CALM_TICKS: Final = 10


class Silences:
    """The silences of one member that ended alive: bursts of loss and stalls come again, and must not look like death."""

    __slots__ = ("_ended",)

    def __init__(self) -> None:
        # Each entry is shorter than the one before it: an older and shorter one can never again be the longest.
        self._ended: deque[tuple[float, int]] = deque()

    def ended(self, paces: int, now: float) -> None:
        """A silence of so many paces ended with a sign of life."""
        paces = min(paces, _LONGEST)
        while self._ended and self._ended[-1][1] <= paces:
            self._ended.pop()
        self._ended.append((now, paces))

    def refuted(self, now: float) -> None:
        """The member was declared dead and lived: the longest silence that counts."""
        self.ended(_LONGEST, now)

    def longest(self, now: float) -> int:
        """Paces of the longest one of the last 10 minutes, 0 if there was none."""
        while self._ended and now - self._ended[0][0] > _MEMORY_S:
            self._ended.popleft()
        return self._ended[0][1] if self._ended else 0


class Lateness:
    """How late this node's own ticks are. Who is late himself must not accuse others (Lifeguard, local health)."""

    __slots__ = ("_calm", "_limit_s", "_score")

    def __init__(self, pace_s: float) -> None:
        self._limit_s = pace_s / 3
        self._score = 0
        self._calm = 0

    def tick(self, lag_s: float) -> bool:
        """Note by how much a tick came late; True if too late for its misses to count."""
        if lag_s >= self._limit_s:
            self._score = min(_SCORE_MAX, self._score + 1)
            self._calm = 0
            return True
        self._calm += 1
        if self._calm >= _CALM_TICKS:
            self._score = max(0, self._score - 1)
            self._calm = 0
        return False

    @property
    def stretch(self) -> int:
        """Factor for the misses needed: 1 while the ticks are on time, up to 4; a second on time takes one back."""
        return 1 + self._score
