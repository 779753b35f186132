"""Retry delays: exponential with full jitter, capped, reset by success. Pure: no clock, no sleep.

Full jitter (a uniform draw between zero and the exponential ceiling) spreads a hundred speakers that lost the
same API server over the whole interval.
"""

from __future__ import annotations

import random


class Backoff:
    """Delays in seconds: the n-th after a reset is uniform in [0, min(cap_s, first_s * 2**n)]."""

    def __init__(self, rng: random.Random, *, first_s: float = 0.5, cap_s: float = 30.0) -> None:
        if not 0 < first_s <= cap_s:
            raise ValueError("backoff: first_s must be positive and at most cap_s")
        self._rng = rng
        self._first_s = first_s
        self._cap_s = cap_s
        self._ceiling_s = first_s

    def next_delay(self) -> float:
        """The delay before the next attempt, in seconds; each call doubles the ceiling of the one after."""
        delay = self._rng.uniform(0.0, self._ceiling_s)
        self._ceiling_s = min(self._cap_s, self._ceiling_s * 2)
        return delay

    def reset(self) -> None:
        """Forget past failures: something good arrived."""
        self._ceiling_s = self._first_s
