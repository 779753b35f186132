"""Keys to work on, each retried with a growing delay; pure, with time handed in.

A failure of one key delays that key. A failure of the server behind all keys pauses the whole queue, so that
thousands of waiting keys make no more noise than one.
"""

from __future__ import annotations

import heapq
import random

from cluster.backoff import Backoff

_FIRST_S = 0.05
_CAP_S = 30.0


class WorkQueue:
    """First in, first out; a key is handed out once at a time, and again if it was added meanwhile."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._ready: dict[str, None] = {}
        self._delayed: list[tuple[float, str]] = []
        self._due: dict[str, float] = {}
        self._busy: set[str] = set()
        self._again: set[str] = set()
        self._backoffs: dict[str, Backoff] = {}
        self._pause = Backoff(rng, first_s=0.5, cap_s=_CAP_S)
        self._paused_until = 0.0

    def __len__(self) -> int:
        return len(self._ready) + len(self._due) + len(self._busy)

    def add(self, key: str) -> None:
        """Put a key in the queue; a delayed one is due at once."""
        if key in self._busy:
            self._again.add(key)
            return
        self._due.pop(key, None)
        self._ready[key] = None

    def take(self, now: float) -> str | None:
        """The next key that is due; it stays out until `done` or `failed`."""
        if now < self._paused_until:
            return None
        while self._delayed and self._delayed[0][0] <= now:
            due, key = heapq.heappop(self._delayed)
            if self._due.get(key) == due:
                del self._due[key]
                self._ready[key] = None
        if not self._ready:
            return None
        key = next(iter(self._ready))
        del self._ready[key]
        self._busy.add(key)
        return key

    def done(self, key: str) -> None:
        """Work on a key is finished: its delays and the pause are forgotten."""
        self._busy.discard(key)
        self._backoffs.pop(key, None)
        self._pause.reset()
        self._paused_until = 0.0
        if key in self._again:
            self._again.discard(key)
            self._ready[key] = None

    def failed(self, key: str, now: float, *, everything: bool, retry_after_s: float = 0.0) -> float:
        """Work on a key failed; try again after a while, and return the delay in seconds.

        `everything`: no other key would do better; the queue is paused, and the key goes to its end.
        """
        self._busy.discard(key)
        self._again.discard(key)
        if everything:
            self._ready[key] = None
            if now >= self._paused_until:
                self._paused_until = now + max(self._pause.next_delay(), retry_after_s)
            return self._paused_until - now
        backoff = self._backoffs.get(key)
        if backoff is None:
            backoff = self._backoffs[key] = Backoff(self._rng, first_s=_FIRST_S, cap_s=_CAP_S)
        due = now + max(backoff.next_delay(), retry_after_s)
        self._due[key] = due
        heapq.heappush(self._delayed, (due, key))
        return due - now

    def next_deadline(self) -> float | None:
        """When `take` is next worth a call without an `add` in between; None if nothing waits for time.

        A time in the past means at once.
        """
        if self._ready:
            return self._paused_until
        while self._delayed and self._due.get(self._delayed[0][1]) != self._delayed[0][0]:
            heapq.heappop(self._delayed)
        return max(self._delayed[0][0], self._paused_until) if self._delayed else None
