"""Changing the ring's key while members read the new one at different times: which keys count when."""

from typing import Final

from gossip.errors import ConfigError
from gossip.keyring import Keyring

_MAX_KEYS: Final = 8
"""Keys held at once: whoever changes the secret in quick succession gives up the oldest."""


class _Held:
    """A key: when it came, and when it was followed by another."""

    __slots__ = ("came", "followed", "key")

    def __init__(self, key: bytes, came: float) -> None:
        self.key = key
        self.came = came
        self.followed: float | None = None


class Rotation:
    """The keys of one member over time.

    A key that is read counts at once for what others send. It encrypts for everybody after half of `overlap_s`, and
    before that for those who were heard using it; so members may read it up to that long apart and always understand
    each other. The key before it is accepted until `overlap_s` after it was replaced.

    Args:
        key: the first key.
        overlap_s: seconds, above 0.
        now: monotonic seconds.
    """

    def __init__(self, key: bytes, *, overlap_s: float, now: float) -> None:
        if overlap_s <= 0:
            raise ConfigError(f"overlap_s: is {overlap_s}; more than 0 is allowed")
        self._overlap_s = overlap_s
        # The first key has nothing to wait for.
        self._held = [_Held(key, now - overlap_s)]
        self._first = self._held[0]

    def keyring(self) -> Keyring:
        """The keys that count now."""
        place = self._held.index(self._first)
        earlier, later = self._held[:place], self._held[place + 1 :]
        return Keyring(
            [self._first.key, *(held.key for held in reversed(earlier))],
            incoming=[held.key for held in reversed(later)],
        )

    def read(self, key: bytes, now: float) -> bool:
        """The secret was read and holds this key; whether that changed anything."""
        latest = self._held[-1]
        if key == latest.key:
            return False
        # A change may be taken back; the key that still encrypts then goes on doing so.
        held = self._first if key == self._first.key else _Held(key, now)
        held.followed = None
        self._held = [other for other in self._held if other.key != key] + [held]
        latest.followed = now
        while len(self._held) > _MAX_KEYS:
            spare = next(held for held in self._held if held is not self._first)
            self._held.remove(spare)
        return True

    def next_deadline(self) -> float | None:
        """Monotonic seconds at which `handle_timer` has something to do; None while no key changes its part."""
        times = [held.followed + self._overlap_s for held in self._held if held.followed is not None]
        if self._held[-1] is not self._first:
            times.append(self._held[-1].came + self._overlap_s / 2)
        return min(times, default=None)

    def handle_timer(self, now: float) -> bool:
        """Let the latest key encrypt, and drop keys, when it is time; whether anything changed."""
        changed = False
        latest = self._held[-1]
        if latest is not self._first and now >= latest.came + self._overlap_s / 2:
            self._first = latest
            changed = True
        kept = [
            held
            for held in self._held
            if held is self._first or held.followed is None or now < held.followed + self._overlap_s
        ]
        changed = changed or len(kept) != len(self._held)
        self._held = kept
        return changed
