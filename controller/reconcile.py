"""The controller's decisions: from what Kubernetes says to statuses, events and log lines, without any IO.

Services and configuration come in as they are seen, outcomes are asked for one at a time. Nothing is decided before
the first full list of services and a configuration are there; then services that have an address in their status
come first, so that a restart keeps every address.
"""

from __future__ import annotations

import contextlib
import dataclasses
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

from cluster.config.configmap import config_of
from cluster.config.model import Config
from cluster.errors import ConfigError
from cluster.objects import ConfigMap, LoadBalancerIngress, Service
from controller.allocator import Allocator
from controller.errors import AllocationError, IncompatiblePoolsError
from controller.service import (
    EventFact,
    LogFact,
    Outcome,
    converge,
    is_ours,
    reassert,
    status_address,
    terms_of,
)

Address: TypeAlias = IPv4Address | IPv6Address


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """What came of one service: facts to log, events to post, and whether its status has to be written."""

    service: Service
    outcome: Outcome
    events: tuple[EventFact, ...]
    facts: tuple[LogFact, ...]
    write: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Pending:
    """A service that wants an address and has none: the object this was found for, and the error."""

    service: Service
    error: str

    def repeats(self, other: Pending | None) -> bool:
        """Whether `other` says the same of the same request; a status written in between does not count."""
        return (
            other is not None
            and self.error == other.error
            and self.service.spec == other.service.spec
            and self.service.metadata.uid == other.service.metadata.uid
            and self.service.metadata.annotations == other.service.metadata.annotations
        )


@dataclasses.dataclass(slots=True)
class _Write:
    """A status that has to be written, or (`written`) that the server has and the watch has yet to show."""

    outcome: Outcome
    written: bool = False


class Reconciler:
    """All services, the configuration in force and the allocator, and the queue of services to look at.

    One task owns it. `pending` names the services without an address by key. A service is looked at when
    it changed, when the configuration changed, or when it is pending and something was released.
    """

    def __init__(self) -> None:
        self.allocator = Allocator()
        self.pending: dict[str, Pending] = {}
        self.config: Config | None = None
        self.config_error: str | None = None
        self.config_seen = False
        self.services_synced = False
        self._refused: Config | None = None
        self._services: dict[str, Service] = {}
        self._writes: dict[str, _Write] = {}
        self._leaving: dict[str, set[Address]] = {}
        self._queue: dict[str, None] = {}

    @property
    def ready(self) -> bool:
        """Whether services are looked at at all."""
        return self.services_synced and self.config is not None

    @property
    def busy(self) -> bool:
        """Whether `step` has something to do."""
        return self.ready and bool(self._queue)

    def set_service(self, service: Service) -> list[LogFact]:
        """A service appeared or changed. Another uid under the same key is another service."""
        key = service.metadata.key
        known = self._services.get(key)
        facts = []
        if known is not None and known.metadata.uid != service.metadata.uid:
            facts = self.remove_service(key)
        self._services[key] = service
        write = self._writes.get(key)
        if write is not None and write.written and _same(service, write.outcome.ingress):
            del self._writes[key]
        self._queue[key] = None
        return facts

    def remove_service(self, key: str) -> list[LogFact]:
        """A service is gone: its address is free for others."""
        if self._services.pop(key, None) is None:
            return []
        self._queue.pop(key, None)
        self._writes.pop(key, None)
        self.pending.pop(key, None)
        released = self.allocator.release(key) is not None
        changed = bool(self._let_go(key)) or released
        return [LogFact("serviceDeleted", {"service": key}), *self._after_release(changed=changed)]

    def set_synced(self) -> list[LogFact]:
        """The first full list of services has been handed over."""
        self.services_synced = True
        self._queue_all()
        return [LogFact("stateSynced", {})]

    def set_config(self, config_map: ConfigMap | None) -> list[LogFact]:
        """The ConfigMap was read; None if there is none.

        Without one from the start there is nothing to do; one that vanishes stays in force. A configuration that does not parse, or that has no room for an address in use, changes nothing: the last
        good one stays in force. One refused for an address in use is tried again when something is released.
        """
        self.config_seen = True
        self._refused = None
        if config_map is None and self.config is None:
            self.config_error = None
            return [LogFact("noConfig", {})]
        if config_map is None:
            return self._stale("the ConfigMap is missing")
        try:
            config = config_of(config_map)
        except ConfigError as error:
            return self._stale(str(error))
        return self._accept(config)

    def step(self) -> Step | None:
        """Look at the next service in the queue; None if there is nothing to do."""
        if not self.busy:
            return None
        key = next(iter(self._queue))
        del self._queue[key]
        service = self._services[key]
        current = self._current(service)
        kept = self._let_go(key)
        seen = kept | {address for address in (current, status_address(service)) if address}
        before = self.allocator.releases
        if is_ours(service):
            outcome = converge(service, current, self.allocator)
        else:
            self.allocator.release(key)
            outcome = Outcome(None)
        told = self._news(service, outcome)
        write = is_ours(service) and self._must_write(service, outcome)
        if write:
            self._writes[key] = _Write(outcome)
            self._keep_back(service, seen - {outcome.address})
        else:
            self._writes.pop(key, None)
        freed = kept - self._leaving.get(key, set()) - {outcome.address}
        changed = bool(freed) or self.allocator.releases != before
        facts = (*(outcome.facts if told else ()), *self._after_release(changed=changed))
        return Step(service, outcome, outcome.events if told else (), facts, write)

    def wanted(self, key: str) -> tuple[Service, list[LoadBalancerIngress]] | None:
        """The service and the ingress list that its status should be given; None if nothing has to be written."""
        write = self._writes.get(key)
        if write is None or write.written:
            return None
        return self._services[key], write.outcome.ingress

    def written(self, key: str, ingress: list[LoadBalancerIngress]) -> list[LogFact]:
        """The server has this status now: addresses that it showed before are free for others."""
        write = self._writes.get(key)
        if write is None or write.written or write.outcome.ingress != ingress:
            return []
        write.written = True
        if _same(self._services[key], ingress):
            del self._writes[key]
        return self._after_release(changed=bool(self._let_go(key)))

    @property
    def services(self) -> int:
        """How many services are known."""
        return len(self._services)

    def _accept(self, config: Config) -> list[LogFact]:
        try:
            self.allocator.set_pools(config.pools)
        except IncompatiblePoolsError as error:
            self._refused = config
            return self._stale(str(error))
        self._refused = None
        self.config = config
        self.config_error = None
        self._queue_all()
        return [LogFact("configLoaded", {"pools": ",".join(pool.name for pool in config.pools)})]

    def _stale(self, error: str) -> list[LogFact]:
        if error == self.config_error:
            return []
        self.config_error = error
        return [LogFact("configStale", {"error": error})]

    def _queue_all(self) -> None:
        """Queue every service, those with an address first. All these addresses are taken before any is given."""
        if not self.ready:
            return
        current = {key: self._current(service) for key, service in self._services.items()}
        order = sorted(self._services, key=lambda key: (current[key] is None, key))
        for key in order:
            address = current[key]
            if address is not None:
                reassert(self._services[key], address, self.allocator)
        self._queue = dict.fromkeys(order)

    def _after_release(self, *, changed: bool) -> list[LogFact]:
        """If something was released: pending services get another look, and so does a refused configuration."""
        if not changed:
            return []
        self._queue.update(dict.fromkeys(self.pending))
        return self._accept(self._refused) if self._refused is not None else []

    def _current(self, service: Service) -> Address | None:
        """The address a service has: as wanted while the watch does not show that yet, else as in its status."""
        write = self._writes.get(service.metadata.key)
        return status_address(service) if write is None else write.outcome.address

    def _must_write(self, service: Service, outcome: Outcome) -> bool:
        """Whether the server may show another status than `outcome`: in the watch, or by a write on its way."""
        write = self._writes.get(service.metadata.key)
        on_its_way = write is not None and (not write.written or write.outcome.address != outcome.address)
        return on_its_way or not _same(service, outcome.ingress)

    def _keep_back(self, service: Service, addresses: set[Address]) -> None:
        """Give nobody the addresses that a service's status may show until another is written."""
        key = service.metadata.key
        for address in addresses:
            with contextlib.suppress(AllocationError):
                self.allocator.assign(_former(key, address), address, terms_of(service))
                self._leaving.setdefault(key, set()).add(address)

    def _let_go(self, key: str) -> set[Address]:
        """Undo `_keep_back`; the addresses that were kept back."""
        addresses = self._leaving.pop(key, set())
        for address in addresses:
            self.allocator.release(_former(key, address))
        return addresses

    def _news(self, service: Service, outcome: Outcome) -> bool:
        """Keep `pending` up to date. False if the same request failed for the same reason before."""
        key = service.metadata.key
        if outcome.error is None:
            self.pending.pop(key, None)
            return True
        pending = Pending(service, outcome.error)
        repeated = pending.repeats(self.pending.get(key))
        self.pending[key] = pending
        return not repeated


def _former(key: str, address: Address) -> str:
    """The name under which an address is kept back for a service that moves to another."""
    return f"{key} (moving from {address})"


def _same(service: Service, ingress: list[LoadBalancerIngress]) -> bool:
    """Whether the status says so already. Fields that the API server adds (ipMode) are not in these Structs."""
    return service.status.load_balancer.ingress == ingress
