"""Whether this node may own addresses, as far as its links go, and from when on it says so in the ring. Sans-IO."""

from __future__ import annotations


class Ability:
    """A link that is lost counts at once, one that returns after some time only: one that comes and goes must not move
    addresses with it. Where no other node may own addresses there is nothing to move, and it counts at once.

    `again_s` is that time; times are monotonic seconds.
    """

    def __init__(self, again_s: float) -> None:
        self.able = True
        """What the ring is to be told."""
        self.again_at: float | None = None
        """When a link that has returned counts; None where none is awaited. The time to call `look`."""
        self._again_s = again_s

    def told(self, able: bool, now: float, *, others: bool) -> bool:
        """This node has what it needs to announce, or lacks it; True where `able` is another now. May be repeated.

        `others`: whether another node may own addresses.
        """
        if not able:
            changed, self.able, self.again_at = self.able, False, None
            return changed
        if not self.able and self.again_at is None:
            self.again_at = now + self._again_s
        return self.look(now, others=others)

    def look(self, now: float, *, others: bool) -> bool:
        """Whether what returned counts by now; True where `able` is another now."""
        if self.again_at is None or (others and now < self.again_at):
            return False
        self.able, self.again_at = True, None
        return True
