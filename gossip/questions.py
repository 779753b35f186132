"""Questions under way: only an answer to one of these is a sign of life, since anything else can be replayed."""

from enum import Enum, auto
from typing import Final, NamedTuple

from gossip.context import Context

_LIFETIME_S: Final = 3.0
"""How long an answer is still taken."""


class Way(Enum):
    """By which way a member was asked."""

    DIRECT = auto()
    BY_RELAY = auto()
    BY_TCP = auto()
    HEAL = auto()
    """The member is held dead."""


class _Question(NamedTuple):
    name: str
    way: Way
    at: float


class Questions:
    """Sequence numbers of unanswered pings, each with the member that it asks."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._open: dict[int, _Question] = {}

    def __len__(self) -> int:
        return len(self._open)

    def ask(self, name: str, way: Way, now: float) -> int:
        """The number for a ping to a member."""
        while self._open:
            oldest = next(iter(self._open))
            if now - self._open[oldest].at < _LIFETIME_S:
                break
            del self._open[oldest]
        sequence = self._context.next_sequence()
        self._open[sequence] = _Question(name, way, now)
        return sequence

    def answer(self, sequence: int) -> tuple[str, Way] | None:
        """Who was asked with this number and how, None if it is no open question; an answer counts once."""
        question = self._open.pop(sequence, None)
        return None if question is None else (question.name, question.way)
