"""Which pool an address belongs to, and what follows from that for the order of a takeover."""

from __future__ import annotations

from bisect import bisect_right
from ipaddress import IPv4Address, IPv6Address

from announcer.layer2.turns import LAST_TURN
from cluster.config.model import Config, Pool

Address = IPv4Address | IPv6Address


def turn_of(pool: Pool) -> int:
    """Whose addresses go first when many are announced at once: those of the pool with the lowest priority that is not 0."""
    return pool.priority or LAST_TURN


class PoolIndex:
    """Pools by address: one binary search a question, whatever the number of prefixes.

    Prefixes never overlap (the parser refuses that), so the last one that starts at or before an address is
    the only one that can hold it.
    """

    def __init__(self, config: Config) -> None:
        spans = sorted(
            (network.version, int(network.network_address), int(network.broadcast_address), number)
            for number, pool in enumerate(config.pools)
            for network in pool.networks
        )
        self._pools = config.pools
        self._starts = [span[:2] for span in spans]
        self._ends = [(span[2], span[3]) for span in spans]

    def pool_of(self, address: Address) -> Pool | None:
        """The pool whose prefixes hold the address, None if there is none."""
        at = bisect_right(self._starts, (address.version, int(address))) - 1
        if at < 0 or self._starts[at][0] != address.version:
            return None
        end, number = self._ends[at]
        return self._pools[number] if int(address) <= end else None
