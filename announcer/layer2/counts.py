"""What is counted of frames, by address and by reason, and when it is to be told. Sans-IO."""

from collections.abc import Mapping
from ipaddress import IPv4Address
from itertools import islice
from typing import Final

from announcer.layer2.arp import DropReason
from announcer.layer2.messages import AddressCounters, Counters

REPORT_S: Final = 1.0
"""Seconds between two Counters events at least."""
MAX_REPORTED: Final = 1_000
"""Addresses of one Counters event; more of them follow in the next one. A bound on the time that it keeps requests
waiting."""
MAX_COUNTED: Final = 65_536
"""Addresses whose counters are kept; beyond, those of addresses no longer announced are forgotten."""


class Tally:
    """Counters of one address."""

    __slots__ = ("gratuitous", "requests", "responses")

    def __init__(self) -> None:
        self.requests = 0
        self.responses = 0
        self.gratuitous = 0


class Counts:
    """Counters since the start. Times are monotonic seconds, addresses packed."""

    def __init__(self, now: float) -> None:
        self.report_at: float | None = None
        """When `take_report` has something to tell, None for never."""
        self._reported = now - REPORT_S
        self._tallies: dict[bytes, Tally] = {}
        self._drops = dict.fromkeys(DropReason, 0)
        self._moved: set[bytes] = set()

    def tally(self, address: bytes, announced: Mapping[bytes, Tally]) -> Tally:
        """The counters of an address, from which it goes on counting where it was `announced` before."""
        if address not in self._tallies and len(self._tallies) >= MAX_COUNTED:
            self._tallies = dict(announced)
        return self._tallies.setdefault(address, Tally())

    def of(self, address: bytes) -> Tally | None:
        """The counters of an address that is announced or was, as far as they are kept."""
        return self._tallies.get(address)

    def moved(self, address: bytes, now: float) -> None:
        """The counters of an address changed."""
        self._moved.add(address)
        if self.report_at is None:
            self._plan(now)

    def drop(self, reason: DropReason, now: float) -> None:
        """A frame was dropped."""
        self._drops[reason] += 1
        if self.report_at is None:
            self._plan(now)

    def take_report(self, now: float) -> Counters:
        """What there is to tell; what is too much for one event comes in the next."""
        self.report_at = None
        self._reported = now
        told = list(islice(self._moved, MAX_REPORTED))
        if len(told) == len(self._moved):
            # Rather than emptied, which would keep the memory of the fullest one.
            self._moved = set()
        else:
            self._moved.difference_update(told)
            self._plan(now)
        return Counters({IPv4Address(a): self._told(a) for a in told}, dict(self._drops))

    def _plan(self, now: float) -> None:
        self.report_at = max(now, self._reported + REPORT_S)

    def _told(self, address: bytes) -> AddressCounters:
        tally = self._tallies.get(address) or Tally()
        return AddressCounters(tally.requests, tally.responses, tally.gratuitous)
