"""The reconciler against a model of an API server that is late, loses events, and is edited by others.

Random walks rather than a shrinking search: the faults of interest need a dozen ordinary steps in a row, which
walks reach and small examples do not. VIPRING_SEED replays one.
"""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import msgspec

from cluster.objects import LoadBalancerIngress, LoadBalancerStatus, Service, ServiceStatus
from controller.reconcile import Reconciler
from tests.seed import chosen_seed, given_seed
from tests.unit.controller.builders import config_map, service

WALKS = 400
STEPS = 80
NAMES = "abcd"
IPS = [f"198.18.1.{number}" for number in range(3)]
SPECS: list[dict[str, Any]] = [
    *[{}] * 4,
    {"type": "ClusterIP"},
    *({"loadBalancerIP": ip} for ip in [*IPS, "203.0.113.1"]),
    *({"annotations": {"metallb.io/address-pool": pool}} for pool in "pq"),
]
CONFIGS = [
    config_map("p: 198.18.1.0/31", "q: 198.18.1.2/32"),
    config_map("all: 198.18.1.0/30"),
    config_map("p: 198.18.1.0/31"),
]
MOVES = {
    "create_or_edit": 6,
    "delete": 2,
    "edit_status": 1,
    "deliver": 8,
    "relist": 2,
    "step": 10,
    "write": 8,
    "configure": 1,
    "restart": 1,
    "settle": 1,
}


def with_ingress(each: Service, ips: list[str]) -> Service:
    status = ServiceStatus(LoadBalancerStatus([LoadBalancerIngress(ip=ip) for ip in ips]))
    return msgspec.structs.replace(each, status=status)


def shown(each: Service) -> list[str]:
    return [entry.ip for entry in each.status.load_balancer.ingress]


class World:
    """`objects` is what the server has, `events` what the watch has yet to deliver, `dirty` writes to be done."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.objects: dict[str, Service] = {}
        self.events: deque[tuple[str, Service | None]] = deque()
        self.dirty: dict[str, None] = {}
        self.uids = 0
        self.config = rng.choice(CONFIGS)
        self.edited = False
        self.core = Reconciler()
        self.restart()

    def put(self, each: Service) -> None:
        self.objects[each.metadata.key] = each
        self.events.append((each.metadata.key, each))

    def create_or_edit(self) -> None:
        name, spec = self.rng.choice(NAMES), self.rng.choice(SPECS)
        known = self.objects.get(f"default/{name}")
        self.uids += known is None
        uid = known.metadata.uid if known else f"uid-{self.uids}"
        self.put(service(name, uid=uid, ingress=shown(known) if known else (), **spec))

    def delete(self) -> None:
        key = f"default/{self.rng.choice(NAMES)}"
        if self.objects.pop(key, None) is not None:
            self.events.append((key, None))

    def edit_status(self) -> None:
        """Somebody else writes a status: until all is settled, two services may show one address."""
        known = self.objects.get(f"default/{self.rng.choice(NAMES)}")
        if known is not None and self.rng.random() < 0.2:
            self.edited = True
            self.put(with_ingress(known, self.rng.sample(IPS, self.rng.randint(0, 2))))

    def deliver(self, most: int | None = None) -> None:
        for _ in range(min(most or self.rng.randint(1, 6), len(self.events))):
            key, each = self.events.popleft()
            if each is None:
                self.core.remove_service(key)
            else:
                self.core.set_service(each)

    def relist(self) -> None:
        """The watch broke: what happened in between is seen only by its result."""
        missed = dict.fromkeys(key for key, _ in self.events)
        self.events.clear()
        for key in missed:
            if key in self.objects:
                self.core.set_service(self.objects[key])
            else:
                self.core.remove_service(key)

    def step(self, most: int | None = None) -> None:
        for _ in range(most or self.rng.randint(1, 6)):
            step = self.core.step()
            if step is not None and step.write:
                self.dirty[step.service.metadata.key] = None

    def write(self) -> None:
        """One writer's turn, in any order; the other writes of the queue wait."""
        if self.dirty:
            self.write_key(self.rng.choice(sorted(self.dirty)))

    def write_key(self, key: str) -> None:
        del self.dirty[key]
        wanted = self.core.wanted(key)
        each = self.objects.get(key)
        if wanted is None or each is None or each.metadata.uid != wanted[0].metadata.uid:
            return
        ips = [entry.ip for entry in wanted[1]]
        if shown(each) != ips:
            self.put(with_ingress(each, ips))
        self.core.written(key, wanted[1])

    def configure(self) -> None:
        self.config = self.rng.choice(CONFIGS)
        self.core.set_config(self.config)

    def restart(self) -> None:
        """The controller process starts anew, with whatever the server has."""
        self.core = Reconciler()
        self.events.clear()
        self.dirty.clear()
        for each in self.objects.values():
            self.core.set_service(each)
        self.core.set_config(self.config)
        self.core.set_synced()

    def settle(self) -> None:
        """Deliver, step and write until nothing is left, then check everything."""
        for _ in range(1000):
            if not (self.events or self.core.busy or self.dirty):
                break
            self.deliver(len(self.events) or 1)
            self.step(1)
            if not self.core.busy:
                for key in list(self.dirty):
                    self.write_key(key)
        else:
            raise AssertionError("does not come to rest")
        self.edited = False
        users = {ip: key for key, each in self.objects.items() for ip in shown(each)}
        for key, each in self.objects.items():
            held = self.core.allocator.address_of(key)
            assert shown(each) == ([] if held is None else [str(held)])
            assert (key in self.core.pending) == (held is None and each.spec.type == "LoadBalancer")
        used = sum(usage.addresses for usage in self.core.allocator.usage())
        assert used == len(users), "an address is kept back for ever"
        for key, pending in self.core.pending.items():
            free = {ip for ip in IPS if ip not in users and self.allows(ip)}
            picky = pending.service.spec.load_balancer_ip or pending.service.metadata.annotations
            assert picky or not free, f"{key} waits although {free} is free"

    def allows(self, ip: str) -> bool:
        assert self.core.config is not None
        return any(
            ip == str(address)
            for pool in self.core.config.pools
            for network in pool.networks
            for address in network
        )

    def check(self) -> None:
        """No address in two statuses at any time, unless somebody else wrote one of them."""
        ips = [ip for each in self.objects.values() for ip in shown(each)]
        assert self.edited or len(ips) == len(set(ips)), f"two services show one address: {ips}"


def test_random_walks_keep_addresses_apart_and_come_to_rest() -> None:
    first = chosen_seed()
    walks = WALKS if given_seed() is None else 1
    for seed in range(first, first + walks):
        print(f"VIPRING_SEED={seed}")
        rng = random.Random(seed)
        world = World(rng)
        for move in rng.choices(list(MOVES), list(MOVES.values()), k=STEPS):
            print(move)
            getattr(world, move)()
            world.check()
        world.settle()
