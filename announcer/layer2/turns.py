"""Which addresses go first where many have to wait for a pace. Sans-IO."""

from collections.abc import Iterable
from typing import Final

LAST_TURN: Final = 2**31 - 1
"""The turn of an address that goes before no other; the lowest one possible is -2**31."""


class Turns:
    """The turn of each address: a number, lower goes first. Whoever waits at a pace looks it up when the waiting begins, so
    another turn by itself has nothing done, or done again."""

    def __init__(self) -> None:
        self._turns: dict[bytes, int] = {}

    def give(self, addresses: Iterable[bytes], turn: int) -> None:
        """These addresses have this turn from now on."""
        for address in addresses:
            if turn == LAST_TURN:
                self._turns.pop(address, None)
            else:
                self._turns[address] = turn

    def of(self, address: bytes) -> int:
        """The turn of an address; LAST_TURN where none was given."""
        return self._turns.get(address, LAST_TURN)

    def forget(self, address: bytes) -> None:
        """Nobody here has to do with the address any more."""
        self._turns.pop(address, None)

    def clear(self) -> None:
        """Forget every address."""
        self._turns.clear()
