"""When a member's ticks come: at the lane's pace, and together with those of the members that watch it.

To be woken costs a process more than what it does then. Where members tick when they like, nearly each of three pings and
three acks in a pace is a wake of its own; where those that talk to each other tick together, all of it comes in a few
(docs/decisions/007-ticks-together.md).
"""

import random
from typing import Final

_PULL: Final = 0.2
"""Part of the time between a followed member's ping and the nearest own tick by which the next tick moves towards it."""

_CHANCE: Final = 0.005
"""Part of a pace by which a tick is moved by chance at most: what else comes ten times a second must not always meet it."""

_SWAY: Final = 0.1
"""Part of a pace by which pings move the next deadline at most, whatever they say: nobody can make a member hurry or fall
asleep."""

_EARLY: Final = 0.05
"""Part of a pace by which a tick may come before its deadline, where the process is awake anyway."""


class Rhythm:
    """Deadlines of one member's ticks; times are monotonic seconds.

    Args:
        pace_s: time between two ticks.
        rng: for the first one, and for chance.
    """

    __slots__ = ("_due", "_pace_s", "_rng", "_shift_s", "_ticked_at")

    def __init__(self, pace_s: float, rng: random.Random) -> None:
        self._pace_s = pace_s
        self._rng = rng
        self._due = self._ticked_at = float("-inf")
        self._shift_s = 0.0

    def begin(self, now: float) -> float:
        """The deadline of the first tick."""
        self._due = now + self._rng.random() * self._pace_s
        return self._due

    def ticked(self, now: float) -> float:
        """A tick was done; the deadline of the next one. A late one does not delay those that follow it."""
        pace, most = self._pace_s, _SWAY * self._pace_s
        shift = self._shift_s + pace * _CHANCE * (2 * self._rng.random() - 1)
        self._shift_s = 0.0
        self._ticked_at = now
        self._due = max(self._due + pace + min(most, max(-most, shift)), now + pace / 2)
        return self._due

    def met(self, now: float) -> float | None:
        """The ping of a followed member came, so it has just ticked. The deadline, if it is so near that the tick may be
        done now; else None."""
        since, until = now - self._ticked_at, self._due - now
        if until <= 0.0:
            return None
        self._shift_s += _PULL * (since if since < until else -until)
        return self._due if until <= _EARLY * self._pace_s else None
