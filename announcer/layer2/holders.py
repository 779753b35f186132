"""Members that hold addresses which this node should own, asked until they let go or fall silent. Sans-IO.

However many addresses a member holds, it is asked for a few of them at a time, in turn.
"""

from collections.abc import Callable, Iterable
from typing import Final

from announcer.layer2.evidence import APART_S, QUESTIONS
from announcer.layer2.neighbours import Neighbours
from announcer.layer2.signed import NONCE_BYTES

POLL_S: Final = 0.25
"""Between two questions to the holder of addresses that we should own."""
POLL_ADDRESSES: Final = 16
"""Addresses asked for in one such poll, in turn."""
EMPTY_POLLS: Final = 3
"""Polls without any answer after which what the holder held is asked for anew."""


class _Holder:
    """One of them. `addresses` is ordered: the next to ask for comes first."""

    __slots__ = ("addresses", "answered", "asked", "due", "empty", "nonce", "polling")

    def __init__(self, due: float) -> None:
        self.addresses: dict[bytes, None] = {}
        self.asked: list[bytes] = []
        self.answered: set[bytes] = set()
        self.nonce = b""
        self.polling = False
        self.empty = 0
        self.due = due


class Holders:
    """Who holds what. Times are monotonic seconds, addresses packed, names hashed."""

    def __init__(self, neighbours: Neighbours, entropy: Callable[[int], bytes]) -> None:
        self._neighbours = neighbours
        self._entropy = entropy
        self._holders: dict[bytes, _Holder] = {}

    def hold(self, name: bytes, address: bytes, now: float) -> None:
        """The member holds the address."""
        self._holders.setdefault(name, _Holder(now + POLL_S)).addresses[address] = None

    def release(self, name: bytes, address: bytes) -> None:
        """The member is not to be asked for the address any more."""
        holder = self._holders.get(name)
        if holder is not None:
            holder.addresses.pop(address, None)
            if not holder.addresses:
                del self._holders[name]

    def holds(self, name: bytes, address: bytes) -> bool:
        """Whether the member is asked for the address."""
        holder = self._holders.get(name)
        return holder is not None and address in holder.addresses

    def clear(self) -> None:
        """Ask for nothing any more."""
        self._holders.clear()

    def nonces(self, address: bytes, name: bytes) -> Iterable[bytes]:
        """The nonce that an answer of the member for the address may cover, if it is being asked."""
        holder = self._holders.get(name)
        if holder is not None and holder.polling and address in holder.asked:
            yield holder.nonce

    def answered(self, address: bytes, name: bytes) -> None:
        """The member answered for the address, verified."""
        holder = self._holders.get(name)
        if holder is not None:
            holder.answered.add(address)

    def next_deadline(self) -> float | None:
        """When `handle_timer` has something to do."""
        return min((holder.due for holder in self._holders.values()), default=None)

    def handle_timer(self, now: float) -> list[bytes]:
        """Ask who is to be asked; returns the addresses that seem to be held no longer."""
        missing: list[bytes] = []
        for name, holder in self._holders.items():
            if holder.due > now:
                continue
            if holder.polling:
                missing += self._judge(holder, now)
            else:
                self._ask(name, holder, now)
        return missing

    def _ask(self, name: bytes, holder: _Holder, now: float) -> None:
        holder.polling = True
        holder.nonce = self._entropy(NONCE_BYTES)
        holder.answered.clear()
        holder.asked = list(holder.addresses)[:POLL_ADDRESSES]
        for address in holder.asked:
            holder.addresses[address] = holder.addresses.pop(address)
        for index, neighbour in self._neighbours.find(name):
            for address in holder.asked:
                if index in self._neighbours.home(address):
                    self._neighbours.question(index, address, holder.nonce, to=neighbour.mac, probe=True)
        holder.due = now + QUESTIONS * APART_S

    def _judge(self, holder: _Holder, now: float) -> list[bytes]:
        """The poll is over: what is to be asked for anew."""
        holder.polling = False
        holder.due = now + POLL_S - QUESTIONS * APART_S
        holder.empty = 0 if holder.answered else holder.empty + 1
        if holder.empty >= EMPTY_POLLS:
            return list(holder.addresses)
        if not holder.answered:
            return []
        # One who answers for others has let this one go without a word, or the frame was lost: asking tells.
        return [a for a in holder.asked if a in holder.addresses and a not in holder.answered]
