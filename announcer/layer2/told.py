"""What was told of a moment ago is not told again. Sans-IO."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Told(Generic[K]):
    """Remembers what was told of within the last `again_s` seconds, and at most so many of it: where anybody can make up more,
    further ones are not told of. Times are monotonic seconds."""

    def __init__(self, *, again_s: float, most: int) -> None:
        self._again_s = again_s
        self._most = most
        self._told: OrderedDict[K, float] = OrderedDict()

    def due(self, what: K, now: float) -> bool:
        """Whether it is to be told; it then counts as told."""
        # The order is that of time: what was told first is forgotten first.
        while self._told and now - next(iter(self._told.values())) >= self._again_s:
            self._told.popitem(last=False)
        if what in self._told or len(self._told) >= self._most:
            return False
        self._told[what] = now
        return True
