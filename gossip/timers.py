"""Deadlines of a core behind the one that its shell sees."""

import heapq
from enum import IntEnum
from typing import TypeAlias


class TimerKind(IntEnum):
    """What a deadline is for."""

    PROBE_TICK = 1
    PROBE_TIMEOUT = 2
    PROBE_END = 3
    RELAY = 4
    SUSPICION = 5
    GOSSIP = 6
    PUSH_PULL = 7
    STREAM = 8
    META = 9
    EXPAND = 13
    RETURN = 14
    FAST_TICK = 10
    DIRECT = 11
    HEAL = 12


TimerKey: TypeAlias = tuple[TimerKind, str | int]
"""Kind, and which of its kind: a member's name, a sequence number, a stream number, or 0."""


class Timers:
    """One deadline a key. A deadline that was moved or cancelled stays in the heap and is skipped by its generation."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, TimerKey]] = []
        self._current: dict[TimerKey, int] = {}
        self._generation = 0

    def __contains__(self, key: TimerKey) -> bool:
        return key in self._current

    def __len__(self) -> int:
        return len(self._current)

    def set(self, key: TimerKey, at: float) -> None:
        """Fire at this monotonic second; an earlier setting of the same key is forgotten."""
        self._generation += 1
        self._current[key] = self._generation
        heapq.heappush(self._heap, (at, self._generation, key))
        if len(self._heap) > 64 and len(self._heap) > 4 * len(self._current):
            self._heap = [item for item in self._heap if self._current.get(item[2]) == item[1]]
            heapq.heapify(self._heap)

    def cancel(self, key: TimerKey) -> None:
        """Forget a deadline; unknown keys are fine."""
        self._current.pop(key, None)

    def next(self) -> float | None:
        """The earliest deadline, None if there is none."""
        while self._heap:
            at, generation, key = self._heap[0]
            if self._current.get(key) == generation:
                return at
            heapq.heappop(self._heap)
        return None

    def pop(self, now: float) -> tuple[TimerKey, float] | None:
        """The earliest key that is due with its deadline, None if none is."""
        at = self.next()
        if at is None or at > now:
            return None
        key = heapq.heappop(self._heap)[2]
        del self._current[key]
        return key, at
