"""Whether this node's link to a segment still carries frames, as far as the ring cannot tell: an audit of oneself. Sans-IO.

The ring may run over another network than the addresses do. A node whose data path is dead then stays alive in the ring and
the owner of its addresses, and nobody answers. So every node asks one neighbour a second on each segment that it has
addresses on; the cost does not depend on how many addresses or members there are.
"""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from announcer.layer2.neighbours import Neighbours
from announcer.layer2.signed import NONCE_BYTES

CHECK_S: Final = 1.0
"""Between two questions while they are answered."""
AGAIN_S: Final = 0.2
"""Between two questions while they are not; then more are asked at a time."""
MISSES: Final = 5
"""Unanswered questions after which the link is lost: 1 s of silence, so that a switch may stumble."""
EXPECTED: Final = 2
"""Neighbours that must be known before their silence is held against us: of two parties neither knows whose link is cut."""


class LinkChanged(NamedTuple):
    """The link behind an interface (index) is lost, or somebody was heard on it again."""

    interface: int
    proven: bool


class _Check:
    """`gateway`: it answered before the silence, if there is one. `enough`: so many were to be expected when it was asked
    that an answer was missed."""

    __slots__ = ("asked", "due", "enough", "gateway", "lost", "misses")

    def __init__(self, now: float) -> None:
        self.restart(now)
        self.gateway = False
        self.lost = False

    def restart(self, now: float) -> None:
        self.due = now
        self.asked: float | None = None
        self.enough = False
        self.misses = 0


class LinkProof:
    """Asks a neighbour in turn on every watched interface. Times are monotonic seconds."""

    def __init__(self, neighbours: Neighbours, entropy: Callable[[int], bytes]) -> None:
        self._neighbours = neighbours
        self._entropy = entropy
        self._checks: dict[int, _Check] = {}
        self._changes: list[LinkChanged] = []

    def watch(self, interfaces: Iterable[int], now: float) -> None:
        """These interfaces matter. One that is lost is watched until it is found again, or gone."""
        wanted = set(interfaces)
        for index, check in list(self._checks.items()):
            gone = index not in self._neighbours.interfaces
            if gone or (index not in wanted and not check.lost):
                del self._checks[index]
        for index in wanted - self._checks.keys():
            self._checks[index] = _Check(now)

    def is_lost(self, interface: int) -> bool:
        """Whether nobody is heard on the interface although somebody must be there."""
        check = self._checks.get(interface)
        return check is not None and check.lost

    def restart(self, now: float) -> None:
        """This process stood still: what it did not hear meanwhile means nothing."""
        for check in self._checks.values():
            check.restart(now)

    def next_deadline(self) -> float | None:
        """When `handle_timer` has something to do (monotonic seconds), None for never."""
        return min((check.due for check in self._checks.values()), default=None)

    def handle_timer(self, now: float) -> None:
        """Judge the last question and ask the next."""
        for index, check in self._checks.items():
            if check.due <= now:
                self._judge(index, check, now)

    def take_changes(self) -> list[LinkChanged]:
        """Return what was found out since the last call."""
        changes, self._changes = self._changes, []
        return changes

    def _judge(self, index: int, check: _Check, now: float) -> None:
        answered = check.asked is not None and self._neighbours.answered_since(index, check.asked)
        check.misses = check.misses + 1 if check.enough and not answered else 0
        if not check.misses and not check.lost:
            check.gateway = self._neighbours.gateway_answers(index)
        enough = self._neighbours.members_on(index) + check.gateway >= EXPECTED
        if check.lost and (answered or not enough):
            check.lost = False
            self._changes.append(LinkChanged(index, proven=True))
        elif not check.lost and enough and check.misses >= MISSES:
            check.lost = True
            self._changes.append(LinkChanged(index, proven=False))
        check.asked, check.enough = now, enough
        if check.lost or (enough and check.misses):
            check.due = now + AGAIN_S
            self._neighbours.ask_witnesses(index, self._entropy(NONCE_BYTES), now)
        else:
            check.due = now + CHECK_S
            self._neighbours.ask_one(index, self._entropy(NONCE_BYTES), now)
