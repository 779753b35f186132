"""When gratuitous ARP frames are sent: bursts of rounds, paced over all addresses. Sans-IO."""

import heapq
from collections.abc import Iterable
from typing import Final, NamedTuple

from announcer.layer2.arp import REPLY, REQUEST
from announcer.layer2.requesters import Requester
from announcer.layer2.turns import LAST_TURN

FRAMES_PER_S: Final = 10_000
"""Gratuitous frames a second at most: about 5 Mbit/s, and half of one core."""
FRAMES_PER_S_ALLOWED: Final = 100, 50_000
_AT_ONCE_S: Final = 0.01
"""What the pace allows in this time may leave at once."""
ROUNDS_S = (0.0, 0.1, 0.3, 1.1, 2.2, 3.3, 4.4)
"""Seconds after the start of a burst: MetalLB's rounds every 1.1 s while under 5 s, and two early ones for frames lost
while a switch still learns."""
DIRECTED_S = (0.0, 1.0)
"""Seconds after the start of a burst at which single hosts are told."""
_OPERATIONS = (REQUEST, REPLY)
_DIRECTED_STEP = 1
"""After the first frame of every address that is due, beside the second."""


class Due(NamedTuple):
    """A frame to send now: to everybody, or a request to one host."""

    address: bytes
    interface: int
    operation: int
    to: Requester | None = None


class _Burst:
    """The rounds of one address on one interface; a heap entry of a replaced burst is told by identity."""

    __slots__ = ("started", "turn")

    def __init__(self, started: float, turn: int) -> None:
        self.started = started
        self.turn = turn

    def next_round(self, now: float) -> int | None:
        """Return the first round that is not over yet."""
        return next((index for index, offset in enumerate(ROUNDS_S) if self.started + offset > now), None)


class _Entry(NamedTuple):
    """The next frame of a burst; the fields are in the order that decides whose turn it is. `step` counts frames: two a
    round, the request form first."""

    step: int
    turn: int
    due: float
    serial: int
    address: bytes
    interface: int
    burst: _Burst
    to: Requester | None = None


class GratuitousSchedule:
    """Bursts under way. Each round is one ARP request and one ARP reply form an address and interface; a burst may tell
    single hosts as well.

    At most `frames_per_s` frames a second leave, `burst` of them at once, fewer at a slow pace. The first frame of every
    address goes before the second of any, of the first ones that of a lower turn (announcer/layer2/turns.py), and so with
    the second ones; a round that comes too late for its time is left out, never made up for.
    """

    def __init__(self, *, frames_per_s: float, burst: int, now: float) -> None:
        self._burst = burst
        self.set_pace(frames_per_s)
        self._allowed_at = now - self._saved
        self._bursts: dict[int, dict[bytes, _Burst]] = {}
        self._waiting: list[tuple[float, _Entry]] = []
        self._ready: list[_Entry] = []
        self._serial = 0

    def set_pace(self, frames_per_s: float) -> None:
        """Let so many frames a second leave from now on."""
        self._interval = 1.0 / frames_per_s
        self._saved = (max(1, min(self._burst, int(frames_per_s * _AT_ONCE_S))) - 1) * self._interval

    def start(
        self,
        address: bytes,
        interface: int,
        *,
        now: float,
        turn: int = LAST_TURN,
        directed: Iterable[Requester] = (),
    ) -> None:
        """Begin a burst at `now`; one that is under way for the same address and interface begins again.

        The hosts in `directed` are each sent a request of their own DIRECTED_S after its start.
        """
        self._begin(address, interface, _Burst(now, turn), now, directed)

    def repeat(
        self, address: bytes, interface: int, *, now: float, directed: Iterable[Requester] = ()
    ) -> None:
        """Send one round now, and once to the hosts in `directed`; a burst that is under way begins again, and tells them
        twice like any. Any other goes after all of a turn: repeated again and again it would keep them waiting."""
        before = self._bursts.get(interface, {}).get(address)
        # One that only waits for the pace, and has no round to come, is no burst under way: a repeat on its heels would begin one.
        if before is not None and before.next_round(now) is not None:
            burst = _Burst(now, before.turn)
        else:
            burst = _Burst(now - ROUNDS_S[-1], LAST_TURN)
        self._begin(address, interface, burst, now, directed)

    def _begin(
        self, address: bytes, interface: int, burst: _Burst, now: float, directed: Iterable[Requester]
    ) -> None:
        self._bursts.setdefault(interface, {})[address] = burst
        self._enqueue(0, now, address, interface, burst)
        for host in directed:
            for offset in DIRECTED_S:
                self._enqueue(_DIRECTED_STEP, now + offset, address, interface, burst, to=host)

    def stop_address(self, address: bytes) -> None:
        """Send nothing more for the address."""
        for bursts in self._bursts.values():
            bursts.pop(address, None)

    def stop_interface(self, interface: int) -> None:
        """Send nothing more on the interface."""
        self._bursts.pop(interface, None)

    def clear(self) -> None:
        """Send nothing more."""
        self._bursts.clear()
        self._waiting.clear()
        self._ready.clear()

    def skip_overdue(self, now: float) -> None:
        """Leave out every frame that was due before `now`: after a stall it would tell what was true long ago."""
        entries = [*self._ready, *(entry for _, entry in self._waiting)]
        self._ready.clear()
        self._waiting.clear()
        for entry in entries:
            if not self._alive(entry):
                continue
            if entry.due < now and entry.to is None:
                self._schedule_next_round(entry, now)
            elif entry.due >= now:
                heapq.heappush(self._waiting, (entry.due, entry))

    def next_deadline(self) -> float | None:
        """Return when `take` has something to give at the earliest (monotonic seconds), None for never."""
        if self._ready:
            return self._allowed_at
        return self._waiting[0][0] if self._waiting else None

    def take(self, now: float) -> list[Due]:
        """Return the frames to send now, as many as the pace allows."""
        while self._waiting and self._waiting[0][0] <= now:
            heapq.heappush(self._ready, heapq.heappop(self._waiting)[1])
        # The pace as a time from which the next frame may go; idle time counts for a burst at most.
        self._allowed_at = max(self._allowed_at, now - self._saved)
        frames: list[Due] = []
        while self._ready and self._allowed_at <= now:
            entry = heapq.heappop(self._ready)
            if not self._alive(entry):
                continue
            if entry.to is not None and now >= entry.due + ROUNDS_S[-1]:
                continue
            self._allowed_at += self._interval
            if entry.to is not None:
                frames.append(Due(entry.address, entry.interface, REQUEST, entry.to))
                continue
            form = entry.step % len(_OPERATIONS)
            frames.append(Due(entry.address, entry.interface, _OPERATIONS[form]))
            if form + 1 < len(_OPERATIONS):
                self._enqueue(
                    entry.step + 1, entry.due, entry.address, entry.interface, entry.burst, ready=True
                )
            else:
                self._schedule_next_round(entry, now)
        return frames

    def _alive(self, entry: _Entry) -> bool:
        return self._bursts.get(entry.interface, {}).get(entry.address) is entry.burst

    def _schedule_next_round(self, entry: _Entry, now: float) -> None:
        index = entry.burst.next_round(now)
        if index is None:
            bursts = self._bursts[entry.interface]
            del bursts[entry.address]
            if not bursts:
                del self._bursts[entry.interface]
            return
        due = entry.burst.started + ROUNDS_S[index]
        self._enqueue(index * len(_OPERATIONS), due, entry.address, entry.interface, entry.burst)

    def _enqueue(
        self,
        step: int,
        due: float,
        address: bytes,
        interface: int,
        burst: _Burst,
        *,
        ready: bool = False,
        to: Requester | None = None,
    ) -> None:
        self._serial += 1
        entry = _Entry(step, burst.turn, due, self._serial, address, interface, burst, to)
        if ready:
            heapq.heappush(self._ready, entry)
        else:
            heapq.heappush(self._waiting, (due, entry))
