"""What was told of a moment ago is not told again. Sans-IO."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class _Last:
    """When it was told last, and how often it was left out since."""

    __slots__ = ("at", "left_out")

    def __init__(self, at: float) -> None:
        self.at = at
        self.left_out = 0


class Told(Generic[K]):
    """Remembers what was told of within the last `again_s` seconds, and at most so many of it: where anybody can make up more,
    further ones are not told of. Times are monotonic seconds."""

    def __init__(self, *, again_s: float, most: int) -> None:
        self._again_s = again_s
        self._most = most
        self._told: OrderedDict[K, _Last] = OrderedDict()

    def tell(self, what: K, now: float, *, times: int = 1) -> int | None:
        """How often it was left out since it was told last, if it is to be told now, and then counts as told; else None.

        `times`: how often it happened.
        """
        last = self._told.get(what)
        if last is not None and now - last.at < self._again_s:
            last.left_out += times
            return None
        if last is None and not self._has_room(now):
            return None
        self._told[what] = _Last(now)
        self._told.move_to_end(what)
        return last.left_out if last is not None else 0

    def forget(self, what: K) -> None:
        """It was not told after all."""
        self._told.pop(what, None)

    def _has_room(self, now: float) -> bool:
        """Whether another is remembered. The order is that of time: what was told first is forgotten first."""
        if len(self._told) >= self._most and now - next(iter(self._told.values())).at >= self._again_s:
            self._told.popitem(last=False)
        return len(self._told) < self._most
