"""Which service has which address: MetalLB's allocation rules (internal/allocator), without any IO."""

from __future__ import annotations

import dataclasses
from bisect import bisect_right
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Literal, TypeAlias

from cluster.config.model import Pool
from controller.errors import AllocationError, IncompatiblePoolsError
from controller.space import Space, capacity

Address: TypeAlias = IPv4Address | IPv6Address
Port: TypeAlias = tuple[str, int]
"""Protocol (TCP, UDP, SCTP) and number of a service port."""
Version: TypeAlias = Literal[4, 6]

_NO_PORTS: frozenset[Port] = frozenset()


@dataclasses.dataclass(frozen=True, slots=True)
class Terms:
    """On which terms a service holds an address.

    Services share an address if they have the same non-empty `sharing_key` and the same `backend_key`, and no port
    in common.
    """

    ports: frozenset[Port] = _NO_PORTS
    sharing_key: str = ""
    backend_key: str = ""

    def may_share(self, other: Terms) -> bool:
        """Whether the keys allow two services on one address; ports are not looked at."""
        return bool(self.sharing_key) and self._keys == other._keys

    @property
    def _keys(self) -> tuple[str, str]:
        return self.sharing_key, self.backend_key


@dataclasses.dataclass(frozen=True, slots=True)
class PoolUsage:
    """Size and use of one pool: addresses it can hand out, addresses in use, services that hold one."""

    pool: str
    capacity: int
    addresses: int
    services: int


class _State:
    """One pool of the configuration in force."""

    __slots__ = ("addresses", "pool", "services", "spaces")

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.addresses = 0
        self.services = 0
        self.spaces = {
            version: Space(
                (network for network in pool.networks if network.version == version),
                avoid_buggy=pool.avoid_buggy_ips,
            )
            for version in (4, 6)
        }


class _Use:
    """One address in use: its pool, its services with their terms, and who has which port."""

    __slots__ = ("ports", "state", "users")

    def __init__(self, state: _State) -> None:
        self.state = state
        self.users: dict[str, Terms] = {}
        self.ports: dict[Port, str] = {}


class _Pools:
    """The pools in force, by name and by address. Networks never overlap: the configuration parser sees to it."""

    def __init__(self, pools: Sequence[Pool]) -> None:
        self.states = {pool.name: _State(pool) for pool in pools}
        spans = sorted(
            (network.version, int(network.network_address), pool.name)
            for pool in pools
            for network in pool.networks
        )
        self._starts = [span[:2] for span in spans]
        self._names = [span[2] for span in spans]

    def find(self, address: Address) -> _State | None:
        """The pool that may hand out `address`."""
        at = bisect_right(self._starts, (address.version, int(address))) - 1
        if at < 0:
            return None
        state = self.states[self._names[at]]
        return None if state.spaces[address.version].position(address) is None else state


class Allocator:
    """Addresses in use by service key (`namespace/name`); a service holds at most one.

    `releases` grows whenever something becomes available to others: an address, a port of a shared address, or
    a shared address under other keys. A service that got nothing before may get something after.
    """

    def __init__(self) -> None:
        self._pools = _Pools(())
        self._uses: dict[Address, _Use] = {}
        self._held: dict[str, Address] = {}
        self._shared: dict[tuple[str, str], dict[Address, None]] = {}
        self.releases = 0

    def set_pools(self, pools: Sequence[Pool]) -> None:
        """Replace the pools; every address in use goes to the pool that holds it.

        Raises IncompatiblePoolsError if there is none for some address; an address barred by avoid-buggy-ips counts so.
        """
        fresh = _Pools(pools)
        homes: dict[Address, _State] = {}
        for address, use in self._uses.items():
            state = fresh.find(address)
            if state is None:
                raise IncompatiblePoolsError(
                    f"new config not compatible with assigned IPs: service {_quoted(min(use.users))} "
                    f"cannot own {_quoted(address)} under new config"
                )
            homes[address] = state
        self._pools = fresh
        for address, state in homes.items():
            use = self._uses[address]
            use.state = state
            state.addresses += 1
            state.services += len(use.users)

    def assign(self, service: str, address: Address, terms: Terms) -> None:
        """Give this very address to a service, in place of what it holds; again is harmless.

        Raises AllocationError if it is in no pool, or others on it do not share it on these terms.
        """
        state = self._pools.find(address)
        if state is None:
            raise AllocationError(f"{_quoted(address)} is not allowed in config")
        use = self._uses.get(address)
        if use is not None:
            _check_terms(use, service, address, terms)
            if use.users.get(service) == terms:
                return
        self.release(service)
        use = self._uses.get(address)
        if use is None:
            use = self._uses[address] = _Use(state)
            state.addresses += 1
        use.users[service] = terms
        use.ports.update(dict.fromkeys(terms.ports, service))
        state.services += 1
        self._held[service] = address
        if terms.sharing_key:
            self._shared.setdefault((terms.sharing_key, terms.backend_key), {})[address] = None

    def allocate(self, service: str, version: Version, terms: Terms, pool: str | None = None) -> Address:
        """Give a service the first address of a family that it can have, and return it.

        Looks in `pool`, or in all pools with auto-assign in the order of the configuration. What the service holds
        is given up first. Raises AllocationError if the pool is unknown or nothing is left.
        """
        self.release(service)
        if pool is None:
            states = [state for state in self._pools.states.values() if state.pool.auto_assign]
        elif pool in self._pools.states:
            states = [self._pools.states[pool]]
        else:
            raise AllocationError(f"unknown pool {_quoted(pool)}")
        for state in states:
            address = self._first(state, version, terms)
            if address is not None:
                self.assign(service, address, terms)
                return address
        raise AllocationError("no available IPs" + (f" in pool {_quoted(pool)}" if pool is not None else ""))

    def release(self, service: str) -> Address | None:
        """Take a service's address away and return it; None if it has none."""
        address = self._held.pop(service, None)
        if address is None:
            return None
        use = self._uses[address]
        terms = use.users.pop(service)
        for port in terms.ports:
            del use.ports[port]
        use.state.services -= 1
        if not use.users:
            del self._uses[address]
            use.state.addresses -= 1
            use.state.spaces[address.version].give_back(address)
            if terms.sharing_key:
                sharers = self._shared[terms.sharing_key, terms.backend_key]
                del sharers[address]
                if not sharers:
                    del self._shared[terms.sharing_key, terms.backend_key]
        self.releases += 1
        return address

    def address_of(self, service: str) -> Address | None:
        """The address that a service holds."""
        return self._held.get(service)

    def pool_of(self, service: str) -> str | None:
        """Name of the pool that a service's address belongs to."""
        address = self._held.get(service)
        return None if address is None else self._uses[address].state.pool.name

    def usage(self) -> list[PoolUsage]:
        """Size and use of every pool, in the order of the configuration."""
        return [
            PoolUsage(
                pool=name,
                capacity=capacity(state.pool.networks, avoid_buggy=state.pool.avoid_buggy_ips),
                addresses=state.addresses,
                services=state.services,
            )
            for name, state in self._pools.states.items()
        ]

    def _first(self, state: _State, version: Version, terms: Terms) -> Address | None:
        """The first address of a pool that can be had on these terms: free, or shared and before the first free."""
        space = state.spaces[version]
        best = space.first_free(self._uses)
        limit = None if best is None else space.position(best)
        for address in (
            self._shared.get((terms.sharing_key, terms.backend_key), ()) if terms.sharing_key else ()
        ):
            use = self._uses[address]
            if use.state is not state or address.version != version:
                continue
            position = space.position(address)
            if position is None or (limit is not None and position > limit):
                continue
            if use.ports.keys().isdisjoint(terms.ports):
                best, limit = address, position
        return best


def _check_terms(use: _Use, service: str, address: Address, terms: Terms) -> None:
    """Raise AllocationError unless `service` may be on a used address on these terms."""
    others = sorted(user for user in use.users if user != service)
    if others and not terms.may_share(use.users[others[0]]):
        raise AllocationError(
            f"can't change sharing key for {_quoted(service)}, address also in use by {','.join(others)}"
        )
    for port in sorted(terms.ports):
        if use.ports.get(port, service) != service:
            raise AllocationError(f"port {port[0]}/{port[1]} is already in use on {_quoted(address)}")


def _quoted(value: object) -> str:
    return f'"{value}"'
