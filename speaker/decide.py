"""Who owns which address, and what this node is to announce: pure, and proportional to the change.

The shell feeds what Kubernetes and the ring say and takes the Decisions of the whole batch. Status, metrics
and logs read the same object.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import islice
from typing import Final

from announcer.layer2.turns import LAST_TURN
from cluster.config.model import Config, Pool
from cluster.objects import EndpointSlice, LoadBalancerIngress, Node, Service
from election.election import Election
from election.model import Ranking, ServiceView
from election.order import Order
from speaker.pools import PoolIndex, turn_of
from speaker.views import node_view, service_view

Address = IPv4Address | IPv6Address

LAYER2: Final = "layer2"

SERVICES_A_BATCH: Final = 100
"""Services looked at in one batch, so that a changed configuration cannot hold the lease's renewal up."""

HASHES_A_BATCH: Final = 20_000
"""Ranks worked out in one batch for members that came: some 30 ms."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One service's claim on one address that this node is to announce; those of a lower `turn` go first where many have to
    wait."""

    service: str
    ip: Address
    pool: str
    protocol: str
    turn: int = LAST_TURN


@dataclass(frozen=True, slots=True)
class OwnerChange:
    """An address changed hands: None is nobody. `reason` is what brought it about, `owned_before` whether another node
    owned it before, or this one announced it, since a service uses it."""

    ip: Address
    services: tuple[str, ...]
    owner: str | None
    previous: str | None
    reason: str
    owned_before: bool


@dataclass(frozen=True, slots=True)
class Decisions:
    """The outcome of one batch.

    `table` is None when this node's addresses are as before. `withdrawn` says why each offer ended, in
    MetalLB's words.
    """

    owner_changes: tuple[OwnerChange, ...]
    table: frozenset[Address] | None
    offered: tuple[Offer, ...]
    withdrawn: Mapping[Offer, str]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """How far one service has come, for `vipring explain`. `problem` is None when it has an owner."""

    service: str
    problem: str | None
    type: str
    addresses: tuple[str, ...]
    pools: tuple[str, ...]
    ready_endpoints: int
    endpoints: int


class Decider:
    """Owns the election and the table of what this node announces. One task owns the Decider."""

    def __init__(self, *, node: str, order: Order) -> None:
        self.node = node
        self.config: Config | None = None
        self.election: Final = Election(order)
        self.services: Final[dict[str, Service]] = {}
        self.since: Final[dict[Address, float]] = {}
        self._slices: dict[str, dict[str, EndpointSlice]] = {}
        self._pools: PoolIndex | None = None
        self._views: dict[str, ServiceView] = {}
        self._users: dict[Address, set[str]] = {}
        self._offers: dict[Address, dict[str, Offer]] = {}
        self._dirty: dict[str, str] = {}
        self._causes: dict[Address, str] = {}
        self._before: dict[Address, str | None] = {}
        self._owners: dict[Address, str | None] = {}
        self._owned_once: set[Address] = set()
        self._members: frozenset[str] | None = None
        self._members_due: frozenset[str] | None = None
        self._member_causes: dict[str, str] = {}

    # What Kubernetes says

    def set_service(self, service: Service) -> None:
        """A service appeared or changed."""
        key = service.metadata.key
        self._dirty[key] = "serviceChanged" if key in self.services else "serviceAdded"
        self.services[key] = service

    def remove_service(self, key: str) -> None:
        """A service is gone."""
        if self.services.pop(key, None) is not None:
            self._dirty[key] = "serviceDeleted"

    def set_slice(self, piece: EndpointSlice, previous: EndpointSlice | None = None) -> None:
        """An EndpointSlice appeared or changed; `previous` is needed when it moved to another service."""
        if previous is not None and previous.service_key != piece.service_key:
            self.remove_slice(previous)
        key = piece.service_key
        if key is not None:
            self._slices.setdefault(key, {})[piece.metadata.name] = piece
            self._dirty.setdefault(key, "endpointsChanged")

    def remove_slice(self, piece: EndpointSlice) -> None:
        """An EndpointSlice is gone."""
        key = piece.service_key
        if key is None or piece.metadata.name not in self._slices.get(key, {}):
            return
        del self._slices[key][piece.metadata.name]
        if not self._slices[key]:
            del self._slices[key]
        self._dirty.setdefault(key, "endpointsChanged")

    def set_node(self, node: Node) -> None:
        """A node appeared or changed."""
        self._moved(self.election.set_node(node_view(node)), "nodeChanged")

    def remove_node(self, name: str) -> None:
        """A node is gone."""
        self._moved(self.election.remove_node(name), "nodeDeleted")

    def set_config(self, config: Config) -> None:
        """A configuration was accepted; every service is looked at again."""
        self.config = config
        self._pools = PoolIndex(config)
        for key in self.services:
            self._dirty.setdefault(key, "configChanged")

    def unpooled(self, config: Config, announced: Iterable[Address]) -> Address | None:
        """The first announced address that would be in no pool of `config`: the configuration is then refused."""
        index = PoolIndex(config)
        return next(
            (address for address in sorted(announced, key=_by_number) if index.pool_of(address) is None), None
        )

    # What the responder says

    def announced(self, address: Address) -> None:
        """This node has announced the address."""
        if address in self._users:
            self._owned_once.add(address)

    # What the ring says

    def set_members(self, live: Collection[str] | None, cause: str) -> None:
        """The members that may own addresses (None: the ring is off, every node may).

        `take` follows, with the members that are gone first. On the way there this node never owns an address that it
        would not own without those that are still to come.
        """
        if live is None:
            self._members = self._members_due = None
            self._moved(self.election.set_members(None), cause)
            return
        due = frozenset(live)
        self._member_causes.update(dict.fromkeys(due ^ (self._members_due or frozenset()), cause))
        self._members_due = due

    # Outcome

    @property
    def pending(self) -> bool:
        """Whether `take` has something to work out."""
        return bool(self._dirty or self._before) or self._members != self._members_due

    def take(self, now: float) -> Decisions:
        """Work out what was fed since the last call, at most SERVICES_A_BATCH services and HASHES_A_BATCH hashes at once.

        `now` is monotonic seconds.
        """
        touched = self._settle()
        before = self._offered(touched)
        changes = tuple(change for address in touched if (change := self._change(address, now)) is not None)
        for address in touched:
            self._offer(address)
        after = self._offered(touched)
        moved = {offer.ip for offer in before} ^ {offer.ip for offer in after}
        withdrawn = {
            offer: self._why_not(offer) for offer in before - after if not self._still_offered(offer)
        }
        self._before.clear()
        self._causes.clear()
        return Decisions(
            owner_changes=changes,
            table=frozenset(self._offers) if moved else None,
            offered=tuple(sorted(after - before, key=lambda offer: (offer.service, _by_number(offer.ip)))),
            withdrawn=withdrawn,
        )

    @property
    def table(self) -> frozenset[Address]:
        """Every address this node is to announce."""
        return frozenset(self._offers)

    def offers(self, address: Address) -> Collection[Offer]:
        """The offers of one address that this node is to announce."""
        return self._offers.get(address, {}).values()

    def addresses(self) -> list[Address]:
        """Every address that takes part in the election, in numerical order."""
        return sorted(self._users, key=_by_number)

    @property
    def elected(self) -> int:
        """How many addresses take part in the election."""
        return len(self._users)

    def users(self, address: Address) -> tuple[str, ...]:
        """The services that use an address, in lexical order."""
        return tuple(sorted(self._users.get(address, ())))

    def owner(self, address: Address) -> str | None:
        """The owner as of the last batch."""
        return self._owners.get(address)

    def others_may_own(self) -> bool:
        """Whether another node than this one may own addresses, as of the last batch."""
        return not self.election.eligible <= {self.node}

    def ranking(self, address: Address) -> Ranking:
        """The whole ranking with reasons; costs one hash a node."""
        return self.election.ranking(address)

    def diagnose(self, key: str) -> Diagnosis:
        """What one service has and what it lacks."""
        service = self.services.get(key)
        endpoints = [
            endpoint for piece in self._slices.get(key, {}).values() for endpoint in piece.endpoints or ()
        ]
        ready = sum(endpoint.conditions.ready is not False for endpoint in endpoints)
        found = [text for text in (ingress.ip for ingress in _ingress(service)) if text]
        pools = [pool.name for text in found if (pool := self._pool_of_text(text)) is not None]
        return Diagnosis(
            service=key,
            problem=self._problem(key, ready),
            type=service.spec.type if service is not None else "",
            addresses=tuple(found),
            pools=tuple(dict.fromkeys(pools)),
            ready_endpoints=ready,
            endpoints=len(endpoints),
        )

    # Inside

    def _moved(self, addresses: Iterable[Address], cause: str) -> None:
        for address in addresses:
            self._touch(address, cause)

    def _touch(self, address: Address, cause: str) -> None:
        self._before.setdefault(address, self._owners.get(address))
        self._causes[address] = cause

    def _settle(self) -> list[Address]:
        """Bring the election up to date with members and services; all addresses touched since the last batch."""
        self._settle_members()
        for key in list(islice(self._dirty, SERVICES_A_BATCH)):
            self._resolve(key, self._dirty.pop(key))
        return list(self._before)

    def _settle_members(self) -> None:
        """Let some of the members that came or went count."""
        due = self._members_due
        if due is None or due == self._members:
            return
        at_once = max(1, HASHES_A_BATCH // max(1, len(self._users)))
        counted = self._members
        if counted is None:
            counted = frozenset[str]()
            self._moved(self.election.set_members(counted), "joined")
        for name in [*sorted(counted - due), *sorted(due - counted)][:at_once]:
            counted = counted ^ {name}
            self._moved(self.election.set_members(counted), self._member_causes.pop(name, "joined"))
        self._members = counted

    def _offered(self, addresses: Iterable[Address]) -> set[Offer]:
        return {offer for address in addresses for offer in self.offers(address)}

    def _resolve(self, key: str, cause: str) -> None:
        old = self._views.get(key)
        view = self._view(key)
        if view == old:
            for address in view.addresses if view is not None else ():
                self._touch(address, cause)
            return
        for address in old.addresses if old is not None else ():
            self._touch(address, cause)
            users = self._users[address]
            users.discard(key)
            if not users:
                del self._users[address]
        if view is None:
            self._views.pop(key, None)
            self._moved(self.election.remove_service(key), cause)
            return
        self._views[key] = view
        for address in view.addresses:
            self._touch(address, cause)
            self._users.setdefault(address, set()).add(key)
        self._moved(self.election.set_service(view), cause)

    def _view(self, key: str) -> ServiceView | None:
        """What takes part in the election: the service's addresses that lie in layer 2 pools."""
        service = self.services.get(key)
        if service is None or self._pools is None:
            return None
        view = service_view(service, tuple(self._slices.get(key, {}).values()))
        if view is None:
            return None
        announced = tuple(address for address in view.addresses if self._layer2_pool(address) is not None)
        return dataclasses.replace(view, addresses=announced) if announced else None

    def _layer2_pool(self, address: Address) -> Pool | None:
        pool = self._pools.pool_of(address) if self._pools is not None else None
        return pool if pool is not None and pool.protocol == LAYER2 else None

    def _change(self, address: Address, now: float) -> OwnerChange | None:
        previous = self._before[address]
        owner = self.election.owner(address) if address in self._users else None
        if address in self._users:
            self._owners[address] = owner
            self.since.setdefault(address, now)
        else:
            self._owners.pop(address, None)
            self._owned_once.discard(address)
            self.since.pop(address, None)
        if owner == previous:
            return None
        if address in self._users:
            self.since[address] = now
        owned_before = address in self._owned_once
        if owner not in (None, self.node):
            self._owned_once.add(address)
        return OwnerChange(address, self.users(address), owner, previous, self._causes[address], owned_before)

    def _offer(self, address: Address) -> None:
        pool = self._layer2_pool(address)
        if pool is None or self._owners.get(address) != self.node:
            self._offers.pop(address, None)
            return
        turn = turn_of(pool)
        self._offers[address] = {
            key: Offer(key, address, pool.name, pool.protocol, turn) for key in self._users.get(address, ())
        }

    def _still_offered(self, offer: Offer) -> bool:
        """The same service still offers the address, from a pool of another name or priority."""
        return offer.service in self._offers.get(offer.ip, {})

    def _why_not(self, offer: Offer) -> str:
        service = self.services.get(offer.service)
        if service is None:
            return "serviceDeleted"
        if service.spec.type != "LoadBalancer":
            return "notLoadBalancer"
        addresses = [address for ingress in _ingress(service) if (address := _parse(ingress.ip)) is not None]
        if not addresses:
            return "noIPAllocated"
        if offer.ip not in addresses:
            return "loadBalancerIPChanged"
        pool = self._pools.pool_of(offer.ip) if self._pools is not None else None
        if pool is None:
            return "ipNotAllowed"
        return "protocolChanged" if pool.protocol != LAYER2 else "notOwner"

    def _problem(self, key: str, ready: int) -> str | None:
        service = self.services.get(key)
        if service is None:
            return "serviceNotFound"
        if service.spec.type != "LoadBalancer":
            return "notLoadBalancer"
        if service.spec.load_balancer_class is not None:
            return "otherLoadBalancerClass"
        if self.config is None:
            return "noConfig"
        if not self.config.pools:
            return "noPools"
        found = [ingress.ip for ingress in _ingress(service) if ingress.ip]
        if not found:
            return "noIPAllocated"
        if all(self._pool_of_text(text) is None for text in found):
            return "ipNotAllowed"
        view = self._views.get(key)
        if view is None:
            return "protocolNotLayer2"
        if all(self._owners.get(address) is None for address in view.addresses):
            return "noReadyEndpoint" if not ready else "noCandidate"
        return None

    def _pool_of_text(self, text: str) -> Pool | None:
        address = _parse(text)
        return self._pools.pool_of(address) if self._pools is not None and address is not None else None


def _ingress(service: Service | None) -> Iterable[LoadBalancerIngress]:
    return service.status.load_balancer.ingress if service is not None else ()


def _parse(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _by_number(address: Address) -> tuple[int, int]:
    return address.version, int(address)
