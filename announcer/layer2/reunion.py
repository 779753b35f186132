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
KEPT_S: Final = 600.0
"""How long a member is asked after it was given up, the same as the ring does."""


class _Lost:
    """A member that was given up at `since`. `silent`: it has not answered since then, or not the question before."""

    __slots__ = ("nonce", "silent", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.silent = True
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
        was_silent, lost.silent, lost.nonce = lost.silent, False, b""
        return was_silent

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
            lost.silent = lost.silent or bool(lost.nonce)
            lost.nonce = self._entropy(NONCE_BYTES)
            for index, neighbour in self._neighbours.find(name):
                self._neighbours.question(index, neighbour.address, lost.nonce, to=neighbour.mac)
