"""Claims in words: the states of one, why it changes, and what follows from that.

One claim per address that this node should own, or owned and has to hand over. docs/claims.md tells the protocol with
pictures, announcer/layer2/claimbook.py plays it.
"""

from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias

ANYONE: Final = bytes(4)
"""Successor of an address that whoever asks may have: this speaker leaves."""


class State(IntEnum):
    """Where a claim stands. The values are part of the wire form of events."""

    IDLE = 0
    """No claim: another owns the address, or nobody does."""
    ASKING = 1
    ANNOUNCING = 2
    HELD = 3
    """We should own it, and a member that answers for it has not let go."""
    HANDING_OVER = 4
    """Another should own it; we answer until it does."""
    CONFLICTED = 5
    """A stranger answers for it."""


ANSWERING: Final = (State.ANNOUNCING, State.HANDING_OVER)
"""The states in which this node answers for the address."""


class Reason(IntEnum):
    """Why a claim changed its state. The values are part of the wire form of events."""

    WANTED = 0
    SILENCE = 1
    """Nobody answered, and somebody proved that our link works."""
    ALONE = 2
    """Nobody answered, and there is nobody who could prove that our link works."""
    TOLD_TO = 3
    """The holder let go."""
    HOLDER_ANSWERS = 4
    OTHER_ASKS = 5
    """Another asks as well and ranks before us."""
    OTHER_ANNOUNCES = 6
    STRANGER_ANSWERS = 7
    LINK_NOT_PROVEN = 8
    """Nobody answers at all, not even those who must be there: our own link may be cut."""
    NOT_OURS = 9
    TAKEN_OVER = 10
    NOT_TAKEN = 11
    """The successor was told to take over and was not heard to do so."""
    FENCED = 12
    """This process, or the one that decides, stood still: what was true before may not be any more."""
    HOLDER_SILENT = 13
    LINK_DOWN = 14
    """The segment of the address is down here."""


class Changed(NamedTuple):
    """A claim is in another state. `holder` is a hashed name, empty where nobody holds it; `mac` is that of the stranger
    that answered, where the state is CONFLICTED."""

    address: bytes
    state: State
    reason: Reason
    holder: bytes
    mac: bytes = b""


class Announce(NamedTuple):
    """Answer for the address from now on."""

    address: bytes


class Silence(NamedTuple):
    """Answer for the address no longer."""

    address: bytes


class Reannounce(NamedTuple):
    """Say once more that the address is ours: another may announce it too."""

    address: bytes


class Alarm(NamedTuple):
    """Something that is no member's responder answers for an address or announces it: `mac`. Whether that is, or was, a
    member's, finds out who tells of it: there are thousands to look through, and alarms as many as a stranger likes."""

    address: bytes
    mac: bytes


ClaimOutput: TypeAlias = Changed | Announce | Silence | Reannounce | Alarm
