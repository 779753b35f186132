"""Who asked for which address by broadcast, so that a takeover can tell them, also those deaf to gratuitous ARP. Sans-IO.

RFC 826 has every receiver of a request take over the sender's MAC where it has an entry for the sender's address; a
request to the host itself is the frame that hosts which ignore gratuitous ones still obey.
"""

from collections import OrderedDict
from typing import Final, NamedTuple

from announcer.layer2 import arp
from announcer.layer2.arp import ArpFrame

MAX_REQUESTERS: Final = 256
"""Pairs of host and address remembered on one interface; the one heard of longest ago makes room."""
KEPT_S: Final = 1_200.0
"""How long (seconds) a host is remembered; most ask again sooner, while they use the address."""
MAX_SHARED: Final = 65_536
"""Addresses that members were heard to announce; others' requests are none of ours."""


class Requester(NamedTuple):
    """A host on the segment that asked."""

    mac: bytes
    address: bytes


class Requesters:
    """Hosts that asked for addresses of ours or of another member. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._heard: dict[int, OrderedDict[tuple[bytes, bytes], float]] = {}
        self._askers: dict[tuple[int, bytes], dict[bytes, bytes]] = {}
        # A dict, for a set of so many would take twice the memory.
        self._shared: dict[bytes, None] = {}

    def share(self, address: bytes) -> None:
        """A member announces the address, or this node does: who asks for it counts."""
        if len(self._shared) < MAX_SHARED:
            self._shared[address] = None

    def hear(self, interface: int, frame: ArpFrame, now: float) -> None:
        """Take note of a request. Probes and gratuitous requests come from nobody that has an entry."""
        wanted, asker = frame.target_ip, frame.sender_ip
        if wanted not in self._shared or frame.operation != arp.REQUEST or frame.destination != arp.BROADCAST:
            return
        if asker in (arp.ANY, wanted) or asker in self._shared or frame.sender_mac[0] & 1:
            return
        heard = self._heard.setdefault(interface, OrderedDict[tuple[bytes, bytes], float]())
        heard[wanted, asker] = now
        heard.move_to_end((wanted, asker))
        self._askers.setdefault((interface, wanted), {})[asker] = frame.sender_mac
        if len(heard) > MAX_REQUESTERS:
            self._forget(interface, *heard.popitem(last=False)[0])

    def of(self, interface: int, address: bytes, now: float) -> list[Requester]:
        """Who asked for the address on the interface within KEPT_S."""
        askers = self._askers.get((interface, address))
        if askers is None:
            return []
        heard = self._heard[interface]
        return [
            Requester(mac, asker) for asker, mac in askers.items() if now - heard[address, asker] < KEPT_S
        ]

    def stop_interface(self, interface: int) -> None:
        """Forget who is on the segment of an interface that is gone."""
        for wanted, asker in self._heard.pop(interface, {}):
            self._forget(interface, wanted, asker)

    def _forget(self, interface: int, wanted: bytes, asker: bytes) -> None:
        askers = self._askers[interface, wanted]
        del askers[asker]
        if not askers:
            del self._askers[interface, wanted]
