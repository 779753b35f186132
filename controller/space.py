"""The addresses of one pool in the order in which they are handed out, and the first free of them."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Container, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

from cluster.config.model import is_buggy

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

_SATURATED = 2**63 - 1


class Space:
    """Addresses of one family, networks as listed and each from its first to its last address.

    Finding the first free address does not walk over used ones again and again: everything before a
    cursor is used, barred, or noted in a heap when it is given back. `avoid_buggy` bars IPv4 addresses
    that end in 0 or 255.
    """

    def __init__(self, networks: Iterable[Network], *, avoid_buggy: bool) -> None:
        self._networks = tuple(networks)
        self._avoid_buggy = avoid_buggy
        self._starts: list[int] = []
        self._size = 0
        for network in self._networks:
            self._starts.append(self._size)
            self._size += network.num_addresses
        self._order = sorted(range(len(self._networks)), key=lambda i: int(self._networks[i].network_address))
        self._firsts = [int(self._networks[i].network_address) for i in self._order]
        self._cursor = 0
        self._returned: list[int] = []
        self._noted: set[int] = set()

    def position(self, address: Address) -> int | None:
        """Place of an address in the order; None if it is not in here. Address of the same family only."""
        at = bisect_right(self._firsts, int(address)) - 1
        if at < 0:
            return None
        index = self._order[at]
        if address not in self._networks[index] or (self._avoid_buggy and is_buggy(address)):
            return None
        return self._starts[index] + int(address) - self._firsts[at]

    def first_free(self, used: Container[Address]) -> Address | None:
        """The first address that is not in `used`; None when all are."""
        while self._returned:
            address = self._at(self._returned[0])
            if address not in used:
                return address
            self._noted.discard(heapq.heappop(self._returned))
        while self._cursor < self._size:
            address = self._at(self._cursor)
            if address not in used and not (self._avoid_buggy and is_buggy(address)):
                return address
            self._cursor += 1
        return None

    def give_back(self, address: Address) -> None:
        """Note that an address of this space is no longer used."""
        position = self.position(address)
        if position is not None and position < self._cursor and position not in self._noted:
            self._noted.add(position)
            heapq.heappush(self._returned, position)

    def _at(self, position: int) -> Address:
        index = bisect_right(self._starts, position) - 1
        return self._networks[index].network_address + (position - self._starts[index])


def capacity(networks: Iterable[Network], *, avoid_buggy: bool) -> int:
    """How many addresses can be handed out, as MetalLB counts: 2^63-1 from 62 host bits in one network on."""
    total = 0
    for network in networks:
        host_bits = network.max_prefixlen - network.prefixlen
        if host_bits >= 62:
            return _SATURATED
        total += network.num_addresses
        if avoid_buggy and isinstance(network, IPv4Network):
            if network.prefixlen <= 24:
                total -= 2 << (24 - network.prefixlen)
            else:
                total -= sum(is_buggy(end) for end in {network.network_address, network.broadcast_address})
    return total
