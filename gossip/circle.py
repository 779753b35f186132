"""Members in the order of the hashes of their names: who watches whom, known to all without a word."""

import bisect
import hashlib
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import TypeAlias

_Place: TypeAlias = tuple[bytes, str]


@lru_cache(maxsize=16384)
def _place(name: str) -> _Place:
    return hashlib.sha256(name.encode()).digest()[:8], name


def is_later(name: str, other: str) -> bool:
    """Whether a name comes after another one in the order from the first to the last, not round the circle."""
    return _place(name) > _place(other)


class Circle:
    """Names in the order of their hashes; the first follows the last."""

    def __init__(self) -> None:
        self._order: list[_Place] = []
        self._names: set[str] = set()
        self._neighbours: dict[tuple[str, int], frozenset[str]] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[str]:
        return (name for _, name in self._order)

    def add(self, name: str) -> None:
        """Take a name in, if it is not there."""
        if name not in self._names:
            self._names.add(name)
            self._neighbours.clear()
            bisect.insort(self._order, _place(name))

    def remove(self, name: str) -> None:
        """Take a name out, if it is there."""
        if name in self._names:
            self._names.remove(name)
            self._neighbours.clear()
            del self._order[bisect.bisect_left(self._order, _place(name))]

    def after(self, name: str) -> Iterator[str]:
        """Every other name once, the next one first; `name` itself need not be in the circle."""
        return self._walk(bisect.bisect_right(self._order, _place(name)), 1, name)

    def next_after(self, name: str, count: int) -> frozenset[str]:
        """The next so many names after this one; remembered until the circle changes, as it is asked at every ping."""
        known = self._neighbours.get((name, count))
        if known is None:
            known = self._neighbours[name, count] = frozenset(islice(self.after(name), count))
        return known

    def before(self, name: str) -> Iterator[str]:
        """Every other name once, the one just before first."""
        return self._walk(bisect.bisect_left(self._order, _place(name)) - 1, -1, name)

    def _walk(self, start: int, step: int, name: str) -> Iterator[str]:
        total = len(self._order)
        for distance in range(total):
            other = self._order[(start + step * distance) % total][1]
            if other != name:
                yield other
