"""Messages waiting to be gossiped: fewest sendings first (memberlist queue.go)."""

import bisect
import math
from collections.abc import Callable
from typing import Final, TypeAlias

from gossip.packet import COMPOUND_MAX_PARTS

_PART_OVERHEAD: Final = 2
"""Bytes that each message costs within a compound."""

_SMALLEST: Final = 27
"""Bytes of the shortest message that is ever queued (a dead with empty names)."""


_Rank: TypeAlias = tuple[int, int, int]
"""Place in the order: sendings, then longest first, then latest first."""


def retransmit_limit(multiplier: int, members: int) -> int:
    """How often each message is sent in a table of `members` names (memberlist util.go)."""
    return multiplier * math.ceil(math.log10(members + 1))


class _Entry:
    """A queued message; the sort key is its place in the order."""

    __slots__ = ("data", "key", "number", "on_done", "transmits")

    def __init__(self, key: str, data: bytes, number: int, on_done: Callable[[], None] | None) -> None:
        self.key = key
        self.data = data
        self.number = number
        self.on_done = on_done
        self.transmits = 0

    def rank(self) -> _Rank:
        return self.transmits, -len(self.data), -self.number


def _rank_of(item: tuple[_Rank, _Entry]) -> _Rank:
    return item[0]


class BroadcastQueue:
    """At most one message for each key; a later one displaces the earlier."""

    def __init__(self, multiplier: int) -> None:
        self._multiplier = multiplier
        self._order: list[tuple[_Rank, _Entry]] = []
        self._by_key: dict[str, _Entry] = {}
        self._number = 0

    def __len__(self) -> int:
        return len(self._order)

    def put(self, key: str, data: bytes, on_done: Callable[[], None] | None = None) -> None:
        """Queue an encoded message.

        Args:
            key: what it is about.
            data: the message with its type byte.
            on_done: called when it was sent often enough, or displaced.
        """
        displaced = self._by_key.pop(key, None)
        if displaced is not None:
            self._remove(displaced)
        self._number += 1
        entry = _Entry(key, data, self._number, on_done)
        self._by_key[key] = entry
        bisect.insort(self._order, (entry.rank(), entry))
        if displaced is not None and displaced.on_done is not None:
            displaced.on_done()

    def take(self, free: int, members: int) -> list[bytes]:
        """Messages for one datagram, each counted as sent once.

        Args:
            free: bytes of the datagram that are left, 2 needed for each message on top of its own.
            members: size of the table, which sets how often a message is sent.
        """
        taken: list[_Entry] = []
        place = 0
        while place < len(self._order) and len(taken) < COMPOUND_MAX_PARTS - 2:
            longest = free - _PART_OVERHEAD
            if longest < _SMALLEST:
                break
            rank, entry = self._order[place]
            if len(entry.data) > longest:
                # The first of this tier that fits, or the first of the next tier.
                place = bisect.bisect_left(
                    self._order, (rank[0], -longest, -self._number), lo=place, key=_rank_of
                )
                continue
            free -= len(entry.data) + _PART_OVERHEAD
            taken.append(entry)
            place += 1
        if not taken:
            return []
        limit = retransmit_limit(self._multiplier, members)
        finished: list[_Entry] = []
        for entry in taken:
            self._remove(entry)
            entry.transmits += 1
            if entry.transmits >= limit:
                del self._by_key[entry.key]
                finished.append(entry)
            else:
                bisect.insort(self._order, (entry.rank(), entry))
        for entry in finished:
            if entry.on_done is not None:
                entry.on_done()
        return [entry.data for entry in taken]

    def _remove(self, entry: _Entry) -> None:
        rank = entry.rank()
        index = bisect.bisect_left(self._order, rank, key=_rank_of)
        assert self._order[index][1] is entry
        del self._order[index]
