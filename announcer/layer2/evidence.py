"""Whether a member still answers on the wire: the questions behind the fast lane's wire evidence. Sans-IO."""

from collections.abc import Callable
from enum import IntEnum
from typing import Final, NamedTuple

from announcer.layer2.neighbours import Neighbours
from announcer.layer2.signed import NONCE_BYTES

QUESTIONS: Final = 2
APART_S: Final = 0.03
"""Seconds between the questions of a window, and from the last one to its end."""
MAX_OPEN: Final = 256
"""Members asked at a time; further ones are told to be unreachable by wire, which costs time, never a verdict."""


class Answer(IntEnum):
    """What the wire said of a member. The values are part of the wire form of events."""

    NO_WIRE = 0
    """It was never heard on an interface of this node."""
    SILENT = 1
    ANSWERED = 2


class Evidence(NamedTuple):
    """The outcome of a window. `proven`: somebody else answered in it, so our own link works."""

    name: bytes
    answer: Answer
    proven: bool


class _Open:
    __slots__ = ("address", "asked", "due", "nonce", "started")

    def __init__(self, started: float, address: bytes, nonce: bytes) -> None:
        self.started = started
        self.address = address
        self.nonce = nonce
        self.asked = 0
        self.due = started


class MemberQuestions:
    """Asks single members where they were heard; a signed answer in time proves that their responder lives."""

    def __init__(self, neighbours: Neighbours, entropy: Callable[[int], bytes]) -> None:
        self._neighbours = neighbours
        self._entropy = entropy
        self._open: dict[bytes, _Open] = {}
        self._results: list[Evidence] = []

    def ask(self, name: bytes, address: bytes, now: float) -> None:
        """Ask a member (hashed name) that has this address in the ring, unless it is being asked."""
        if name in self._open:
            return
        if not self._neighbours.find(name) or len(self._open) >= MAX_OPEN:
            self._results.append(Evidence(name, Answer.NO_WIRE, proven=False))
            return
        self._open[name] = _Open(now, address, self._entropy(NONCE_BYTES))
        self.handle_timer(now)

    def nonce(self, name: bytes) -> bytes | None:
        """The nonce that an answer of the member must cover, None where it was not asked."""
        window = self._open.get(name)
        return window.nonce if window is not None else None

    def answered(self, name: bytes) -> None:
        """A member answered; the caller has verified it."""
        if self._open.pop(name, None) is not None:
            self._results.append(Evidence(name, Answer.ANSWERED, proven=True))

    def next_deadline(self) -> float | None:
        """When `handle_timer` has something to do (monotonic seconds)."""
        return min((window.due for window in self._open.values()), default=None)

    def handle_timer(self, now: float) -> None:
        """Ask again, and end the windows whose time is over."""
        for name, window in list(self._open.items()):
            if now < window.due:
                continue
            places = self._neighbours.find(name, window.address)
            if window.asked == QUESTIONS:
                del self._open[name]
                proven = any(self._neighbours.proved_since(index, window.started) for index, _ in places)
                self._results.append(Evidence(name, Answer.SILENT, proven=proven))
                continue
            window.asked += 1
            window.due = now + APART_S
            for index, neighbour in places:
                self._neighbours.question(index, neighbour.address, window.nonce, to=neighbour.mac)
                self._neighbours.ask_witnesses(index, window.nonce, now, but=name)

    def take_results(self) -> list[Evidence]:
        """Return what was found out since the last call."""
        results, self._results = self._results, []
        return results
