"""Who asked for which address, and who is told in person that it has moved. Sans-IO.

A host that does not listen to gratuitous ARP keeps the dead owner's MAC until its entry ages. But by RFC 826 it takes in the
sender of any request that is meant for itself. So whoever takes an address over sends such a request to everybody who asked
for it, and to the gateway.
"""

import heapq
from collections.abc import Container
from typing import Final

from announcer.layer2 import arp
from announcer.layer2.arp import REQUEST, ArpFrame
from announcer.layer2.neighbours import Neighbours

MAX_REQUESTS: Final = 256
"""Questions remembered on one interface; the oldest makes room."""
KEPT_S: Final = 3_600.0
ROUNDS_S: Final = (0.02, 1.0)
"""After an address begins to be announced: behind its first gratuitous frame, and once more."""
LATE_S: Final = 1.0
"""By how much a round may be late before it is left out."""
ADDRESSES_A_STEP: Final = 16
STEP_S: Final = 0.005
"""Between two steps at least, so that thousands of addresses do not keep requests waiting."""


class Requesters:
    """Remembers requests and says what to send. Times are monotonic seconds, addresses packed; frames pile up in
    `neighbours`."""

    def __init__(self, neighbours: Neighbours) -> None:
        self._neighbours = neighbours
        self._asked: dict[int, dict[tuple[bytes, bytes], tuple[bytes, float]]] = {}
        self._by_target: dict[tuple[int, bytes], set[bytes]] = {}
        self._waiting: list[tuple[float, int, bytes, int]] = []
        self._serial = 0
        self._allowed_at = float("-inf")

    def remember(self, interface: int, frame: ArpFrame, now: float) -> None:
        """Take note of a request that was broadcast, for whatever address: it may become ours."""
        asks = frame.operation == REQUEST and frame.destination == arp.BROADCAST
        if not asks or frame.sender_ip in (arp.ANY, frame.target_ip) or frame.sender_mac[0] & 1:
            return
        asked = self._asked.setdefault(interface, {})
        key = frame.target_ip, frame.sender_ip
        asked.pop(key, None)
        asked[key] = frame.sender_mac, now
        self._by_target.setdefault((interface, frame.target_ip), set()).add(frame.sender_ip)
        if len(asked) > MAX_REQUESTS:
            self._forget(interface, *next(iter(asked)))

    def _forget(self, interface: int, target: bytes, requester: bytes) -> None:
        del self._asked[interface][target, requester]
        requesters = self._by_target[interface, target]
        requesters.discard(requester)
        if not requesters:
            del self._by_target[interface, target]

    def start(self, address: bytes, interface: int, now: float) -> None:
        """The address begins to be announced."""
        if (interface, address) not in self._by_target and self._neighbours.gateway(interface) is None:
            return
        for offset in ROUNDS_S:
            self._serial += 1
            heapq.heappush(self._waiting, (now + offset, self._serial, address, interface))

    def forget_interface(self, interface: int) -> None:
        """The interface is gone."""
        for target, requester in list(self._asked.get(interface, ())):
            self._forget(interface, target, requester)

    def next_deadline(self) -> float | None:
        """When `handle_timer` has something to do."""
        return max(self._waiting[0][0], self._allowed_at) if self._waiting else None

    def handle_timer(self, now: float, announced: Container[bytes]) -> None:
        """Tell those who asked, as far as the address is still announced and the pace allows."""
        if now < self._allowed_at:
            return
        for _ in range(ADDRESSES_A_STEP):
            if not self._waiting or self._waiting[0][0] > now:
                return
            due, _, address, interface = heapq.heappop(self._waiting)
            if address in announced and now <= due + LATE_S:
                self._tell(address, interface, now)
        self._allowed_at = now + STEP_S

    def _tell(self, address: bytes, interface: int, now: float) -> None:
        hosts: dict[bytes, bytes] = {}
        for requester in self._by_target.get((interface, address), ()):
            mac, when = self._asked[interface][address, requester]
            if now - when < KEPT_S:
                hosts[requester] = mac
        gateway = self._neighbours.gateway(interface)
        if gateway is not None:
            hosts[gateway.address] = gateway.mac
        for host, mac in hosts.items():
            self._neighbours.tell_owner(interface, address, host, mac)
