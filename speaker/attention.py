"""Whether the responder still takes in what it is told: one that stands still answers nobody, and cannot say so."""

from __future__ import annotations

import fcntl
import struct
import termios
from contextlib import suppress
from typing import Final

HEEDLESS_LOOKS: Final = 4
"""After so many looks without anything read, one at each renewal of the lease, the responder is given up."""


def unread(descriptor: int) -> int:
    """Bytes that were sent on a Unix socket and not read yet (SIOCOUTQ, unix(7)); 0 for one that is closed."""
    answer = struct.pack("i", 0)
    with suppress(OSError, ValueError):
        answer = fcntl.ioctl(descriptor, termios.TIOCOUTQ, answer)
    return int(struct.unpack("i", answer)[0])


class Attention:
    """Counts the looks in a row at which no less was waiting than after the one before, and nothing had come back.

    Looks count, not seconds: a speaker that stood still together with its responder must let it run first.
    """

    def __init__(self) -> None:
        self._left = 0
        self._looks = 0

    def look(self, waiting: int) -> bool:
        """Before something is sent, with the bytes that wait; True when the responder does not read any more."""
        self._looks = self._looks + 1 if waiting and waiting >= self._left else 0
        return self._looks >= HEEDLESS_LOOKS

    def heard(self) -> None:
        """Something came from the responder: it lives, however busy it is."""
        self._looks = 0

    def told(self, waiting: int) -> None:
        """After something was sent, with the bytes that wait now."""
        self._left = waiting
