"""An ordinary host's neighbour table, as Linux keeps it, and what it sends over it. Sans-IO.

The host is never without something to send: it looks at an entry whenever a datagram leaves, and that is its clock.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from announcer.layer2 import arp
from announcer.layer2.arp import ArpFrame

LOCKTIME_S: Final = 1.0
"""For so long after an entry has changed only a gratuitous request changes it again (arp(7), locktime)."""
PROBES: Final = 3
"""Questions to the neighbour's MAC, and by broadcast, before it counts as gone (arp(7), ucast_solicit, mcast_solicit)."""


class Times(NamedTuple):
    """Settings of a neighbour table, in seconds (arp(7)): how long an answer proves a neighbour (half of it at least, half
    more at most), the time between the first datagram after that and the first question, and between two questions."""

    reachable_s: float
    delay_s: float
    again_s: float

    @property
    def heals_s(self) -> float:
        """After so long at most an entry that nobody touches and nobody answers for is asked for by broadcast."""
        return 1.5 * self.reachable_s + self.delay_s + PROBES * self.again_s


USUAL: Final = Times(30.0, 5.0, 1.0)
BRISK: Final = Times(2.0, 1.0, 0.3)
"""Goes through all states within a schedule."""


class State(Enum):
    """What is known of a neighbour. The MAC of an entry is used in all but INCOMPLETE and FAILED."""

    INCOMPLETE = "incomplete"
    """Asked for by broadcast."""
    REACHABLE = "reachable"
    STALE = "stale"
    DELAY = "delay"
    """Used although stale; a question follows."""
    PROBE = "probe"
    """Asked at its MAC."""
    FAILED = "failed"


VALID: Final = frozenset({State.REACHABLE, State.STALE, State.DELAY, State.PROBE})


@dataclass(slots=True)
class Entry:
    """A neighbour. `since`: when it came into its state; `updated`: when state or MAC changed by a frame."""

    state: State
    since: float
    mac: bytes = b""
    updated: float = float("-inf")
    proved: float = float("-inf")
    asked: int = 0


class NeighbourTable:
    """Entries of one host, and the frames that it sends for their sake. Times are monotonic seconds."""

    def __init__(self, mac: bytes, address: bytes, times: Times, rng: random.Random) -> None:
        self.mac, self.address, self.times = mac, address, times
        self._reachable_s = rng.uniform(0.5, 1.5) * times.reachable_s
        self._entries: dict[bytes, Entry] = {}
        self._frames: list[ArpFrame] = []

    def clear(self) -> None:
        """The host starts anew; it knows of nobody."""
        self._entries.clear()

    def entry(self, address: bytes) -> Entry | None:
        """What is known of an address."""
        return self._entries.get(address)

    def use(self, address: bytes, now: float) -> bytes | None:
        """A datagram leaves for an address: return the MAC that it goes to, None while it has to wait for an answer."""
        entry = self._entries.get(address)
        if entry is None:
            entry = self._entries[address] = Entry(State.FAILED, now)
        match entry.state:
            case State.FAILED:
                self._enter(entry, State.INCOMPLETE, now)
                self._ask(entry, address, arp.BROADCAST)
            case State.REACHABLE if now >= entry.proved + self._reachable_s:
                self._enter(entry, State.DELAY, now)
            case State.STALE:
                self._enter(entry, State.DELAY, now)
            case State.DELAY if now >= entry.since + self.times.delay_s:
                self._enter(entry, State.PROBE, now)
                self._ask(entry, address, entry.mac)
            case State.INCOMPLETE | State.PROBE if now >= entry.since + entry.asked * self.times.again_s:
                if entry.asked == PROBES:
                    self._enter(entry, State.FAILED, now)
                    return self.use(address, now)
                self._ask(entry, address, entry.mac if entry.state is State.PROBE else arp.BROADCAST)
            case _:
                pass
        return entry.mac if entry.state in VALID else None

    def receive(self, frame: ArpFrame, now: float) -> None:
        """An ARP frame comes in (RFC 826). A request for this host makes an entry for whoever asks; all others only change
        one that is there."""
        asked = frame.operation == arp.REQUEST and frame.target_ip == self.address
        asker, at = frame.sender_mac, frame.sender_ip
        if asked:
            self._frames.append(ArpFrame(asker, self.mac, arp.REPLY, self.mac, self.address, asker, at))
        if at == arp.ANY:
            return
        if asked and at not in self._entries:
            self._entries[at] = Entry(State.FAILED, now)
        entry = self._entries.get(at)
        if entry is None:
            return
        answered = frame.operation == arp.REPLY and frame.destination == self.mac
        # Of a gratuitous reply Linux wants its own MAC as target too (RFC 5227 has none); else it is a reply like any.
        gratuitous = at == frame.target_ip and (frame.operation == arp.REQUEST or frame.target_mac == asker)
        override = asked or gratuitous or now > entry.updated + LOCKTIME_S
        self._update(entry, asker, State.REACHABLE if answered else State.STALE, now, override=override)

    def take_frames(self) -> list[ArpFrame]:
        """Return what is to be sent since the last call."""
        frames, self._frames = self._frames, []
        return frames

    def _update(self, entry: Entry, mac: bytes, state: State, now: float, *, override: bool) -> None:
        same = mac == entry.mac
        if entry.state in VALID and not same and not override:
            return
        if state is State.REACHABLE:
            entry.proved = now
        elif entry.state in VALID and same:
            return
        if state is not entry.state or not same:
            entry.updated = now
        entry.mac = mac
        self._enter(entry, state, now)

    def _enter(self, entry: Entry, state: State, now: float) -> None:
        entry.state, entry.since, entry.asked = state, now, 0
        if state not in VALID:
            entry.mac = b""

    def _ask(self, entry: Entry, address: bytes, to_mac: bytes) -> None:
        entry.asked += 1
        self._frames.append(
            ArpFrame(to_mac, self.mac, arp.REQUEST, self.mac, self.address, bytes(6), address)
        )


class Host:
    """A host at a port of the switch, which sends a datagram to each address every `every_s`."""

    side = 0

    def __init__(self, name: str, table: NeighbourTable, *, port: int, every_s: float) -> None:
        self.name, self.table, self.port, self.every_s = name, table, port, every_s
        self.carries = True
        """Whether its port carries frames."""
        self.due = float("-inf")
        """When its next datagrams leave."""
