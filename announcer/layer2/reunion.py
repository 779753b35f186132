"""Members that the ring gave up, asked on the wire until they answer again: how the end of a cut is noticed there. Sans-IO.

A cut of the segment may end while the ring is still parted, or long before the ring has found together again; until
somebody notices, an address may have two owners. Only a member that was silent on the wire and answers again tells of a
cut: one whose ring alone is cut answered all the time.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from announcer.layer2.neighbours import Neighbours
from announcer.layer2.signed import NONCE_BYTES

ASK_S: Final = 0.2
"""Between two rounds of questions."""
A_ROUND: Final = 4
"""Members asked in one round, in turn."""
SILENT: Final = 2
"""Unanswered questions in a row that are a silence: one may be a lost frame."""
SLOW_AFTER_S: Final = 60.0
SLOW_S: Final = 2.0
"""Between two questions to a member that was given up long ago: to switches its MAC is unknown by now, and they flood."""
KEPT_S: Final = 600.0
"""How long a member is asked after it was given up, the same as the ring does."""


class _Lost:
    """A member that was given up at `since`. `misses`: unanswered questions in a row; it counts as silent at first."""

    __slots__ = ("asked", "misses", "nonce", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.asked = since
        self.misses = SILENT
        self.nonce = b""


class Reunion:
    """Asks those who were given up. Times are monotonic seconds, names hashed."""

    def __init__(self, neighbours: Neighbours, entropy: Callable[[int], bytes]) -> None:
        self._neighbours = neighbours
        self._entropy = entropy
        self._lost: dict[bytes, _Lost] = {}
        self._turn: deque[bytes] = deque()
        self._due = 0.0

    def gone(self, names: Iterable[bytes], now: float) -> None:
        """The ring holds these alive no longer."""
        for name in names:
            if name not in self._lost and self._neighbours.find(name):
                self._lost[name] = _Lost(now)
                self._turn.append(name)

    def back(self, names: Iterable[bytes]) -> None:
        """The ring holds these alive again."""
        for name in names:
            if self._lost.pop(name, None) is not None:
                self._turn.remove(name)

    def nonce(self, name: bytes) -> bytes | None:
        """The nonce that an answer of the member must cover, None where it was not asked."""
        lost = self._lost.get(name)
        return lost.nonce if lost is not None and lost.nonce else None

    def answered(self, name: bytes) -> bool:
        """A member answered, verified. True where it had been silent: a cut has ended."""
        lost = self._lost.get(name)
        if lost is None:
            return False
        misses, lost.misses, lost.nonce = lost.misses, 0, b""
        return misses >= SILENT

    def next_deadline(self) -> float | None:
        """When `handle_timer` has something to do."""
        return self._due if self._turn else None

    def handle_timer(self, now: float) -> None:
        """Ask the next ones, if it is time."""
        if not self._turn or now < self._due:
            return
        self._due = now + ASK_S
        for _ in range(min(A_ROUND, len(self._turn))):
            name = self._turn.popleft()
            lost = self._lost[name]
            if now - lost.since > KEPT_S:
                del self._lost[name]
                continue
            self._turn.append(name)
            if now - lost.since > SLOW_AFTER_S and now - lost.asked < SLOW_S:
                continue
            lost.asked = now
            lost.misses += bool(lost.nonce)
            lost.nonce = self._entropy(NONCE_BYTES)
            for index, neighbour in self._neighbours.find(name):
                self._neighbours.question(index, neighbour.address, lost.nonce, to=neighbour.mac)
