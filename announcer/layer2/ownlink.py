"""Whether this node is heard on its segments at all: its own link, asked about once a second. Sans-IO.

A port that carries nothing any more keeps its carrier, and where the ring runs over another network nobody else notices:
the node would stay the owner of addresses that nobody can reach. So each node makes sure that somebody answers it. Only
silence of everybody counts, and only where two or more would have to answer: of two that do not hear each other either may
be the deaf one.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from announcer.layer2.neighbours import Neighbours
from announcer.layer2.signed import NONCE_BYTES

ASK_S: Final = 1.0
"""From the last answer of anybody to the next question."""
AGAIN_S: Final = 0.1
"""From a question to the next one while nobody answers."""
SILENT_S: Final = 2.0
"""From the last answer to the verdict: longer than the ring needs to find that those who are silent are dead."""
MISSES: Final = 5
"""Questions without an answer that a verdict needs as well: a process that did not run has asked nobody."""
POLL_S: Final = 0.25
"""Between two questions on a link that is silent."""
QUORUM: Final = 2


class Heard(NamedTuple):
    """Somebody answers on an interface again, or nobody does any more."""

    interface: int
    heard: bool


class _Link:
    __slots__ = ("asked", "due", "silent", "since")

    def __init__(self, now: float) -> None:
        self.since = now
        self.asked = 0
        self.due = now + ASK_S
        self.silent = False


class OwnLinks:
    """Asks, and tells of each interface when it falls silent and when it is heard again. Times are monotonic seconds."""

    def __init__(self, neighbours: Neighbours, entropy: Callable[[int], bytes]) -> None:
        self._neighbours = neighbours
        self._entropy = entropy
        self._links: dict[int, _Link] = {}
        self._results: list[Heard] = []

    def restart(self, now: float) -> None:
        """This process did not run: what was not answered meanwhile says nothing."""
        for link in self._links.values():
            link.since, link.asked, link.due = now, 0, now

    def next_deadline(self) -> float | None:
        """When `handle_timer` has something to do; may be earlier, where somebody answered meanwhile."""
        return min((link.due for link in self._links.values()), default=None)

    def handle_timer(self, now: float) -> None:
        """Ask where it is due, and judge."""
        for index in self._links.keys() - self._neighbours.interfaces.keys():
            del self._links[index]
        for index in self._neighbours.interfaces:
            link = self._links.get(index)
            if link is None:
                self._links[index] = _Link(now)
            elif now >= link.due:
                self._look(index, link, now)

    def take_results(self) -> list[Heard]:
        """Return what was found out since the last call."""
        results, self._results = self._results, []
        return results

    def _look(self, index: int, link: _Link, now: float) -> None:
        proved = self._neighbours.proved_at(index)
        if proved > link.since:
            link.since, link.asked = proved, 0
            self._tell(index, link, heard=True)
        others = self._neighbours.count_witnesses(index)
        if link.silent:
            if not others:
                # Nobody is left who could have the addresses instead.
                self._tell(index, link, heard=True)
            self._ask(index, link, now, POLL_S)
        elif others < QUORUM:
            link.since, link.asked, link.due = now, 0, now + ASK_S
        elif now < link.since + ASK_S:
            link.due = link.since + ASK_S
        elif now >= link.since + SILENT_S and link.asked >= MISSES:
            self._tell(index, link, heard=False)
            self._ask(index, link, now, POLL_S)
        else:
            self._ask(index, link, now, AGAIN_S)

    def _ask(self, index: int, link: _Link, now: float, pause_s: float) -> None:
        """The first question goes to one member, so that a segment of many is not full of them; the others to several."""
        nonce = self._entropy(NONCE_BYTES)
        if link.asked or link.silent:
            self._neighbours.ask_witnesses(index, nonce, now)
        else:
            self._neighbours.ask_one(index, nonce)
        link.asked += 1
        link.due = now + pause_s

    def _tell(self, index: int, link: _Link, *, heard: bool) -> None:
        if link.silent is heard:
            link.silent = not heard
            self._results.append(Heard(index, heard))
