"""One service brought to its address: MetalLB's steps (controller/service.go), on plain values."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Literal, TypeAlias

from cluster.objects import LoadBalancerIngress, Service
from controller.allocator import Allocator, Terms, Version
from controller.errors import AllocationError

Address: TypeAlias = IPv4Address | IPv6Address

POOL_ANNOTATIONS = ("metallb.io/address-pool", "metallb.universe.tf/address-pool")
SHARING_ANNOTATIONS = ("metallb.io/allow-shared-ip", "metallb.universe.tf/allow-shared-ip")
"""Keys of an annotation, the one that wins first, even with an empty value."""


@dataclasses.dataclass(frozen=True, slots=True)
class EventFact:
    """A Kubernetes Event to post on the service; reason and message are MetalLB's."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclasses.dataclass(frozen=True, slots=True)
class LogFact:
    """A log line: `name` is the event, or with `operation` the text of a failed operation `op`."""

    name: str
    fields: Mapping[str, str]
    op: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What a service should look like. `address` None means that status.loadBalancer is empty.

    `pool` is the pool of the address. `error` says why a service that wants an address has none, `obstacle` why it
    must not have one.
    """

    address: Address | None
    pool: str | None = None
    error: str | None = None
    obstacle: str | None = None
    events: tuple[EventFact, ...] = ()
    facts: tuple[LogFact, ...] = ()

    @property
    def ingress(self) -> list[LoadBalancerIngress]:
        """status.loadBalancer.ingress as it should be."""
        return [] if self.address is None else [LoadBalancerIngress(ip=str(self.address))]


def is_ours(service: Service) -> bool:
    """Whether the service is for this load balancer: one with a loadBalancerClass belongs to another."""
    return service.spec.load_balancer_class is None


def status_address(service: Service) -> Address | None:
    """The address in the status; None unless there is exactly one ingress entry and it is an IP address."""
    ingress = service.status.load_balancer.ingress
    return _parse(ingress[0].ip) if len(ingress) == 1 else None


def terms_of(service: Service) -> Terms:
    """On which terms the service shares its address.

    The backend key keeps services under externalTrafficPolicy Local apart unless they select the same pods.
    """
    spec = service.spec
    backend = ""
    if spec.external_traffic_policy == "Local":
        backend = ",".join(f"{key}={value}" for key, value in sorted(spec.selector.items()))
    return Terms(
        ports=frozenset((port.protocol, port.port) for port in spec.ports),
        sharing_key=_annotation(service, SHARING_ANNOTATIONS),
        backend_key=backend,
    )


def reassert(service: Service, current: Address, allocator: Allocator) -> None:
    """Take the address that a service has in the allocator, if it may have one and may keep this one for now."""
    if is_ours(service) and not _obstacle(service) and current.version == _version(service):
        with contextlib.suppress(AllocationError):
            allocator.assign(service.metadata.key, current, terms_of(service))


def converge(service: Service, current: Address | None, allocator: Allocator) -> Outcome:
    """Give the service the address it should have, given the one it has.

    `current` is the address in its status, or the one that is about to be written there. Only the allocator is
    changed. Every address in some status must have been taken by `reassert` before the first call, or it could be
    given to another.
    """
    key = service.metadata.key
    obstacle = _obstacle(service)
    if obstacle:
        allocator.release(key)
        held = current is not None or bool(service.status.load_balancer.ingress)
        return Outcome(None, obstacle=obstacle, facts=(_cleared(key, obstacle),) if held else ())
    facts: list[LogFact] = []
    if current is not None:
        reason = _unfit(service, current, allocator)
        if not reason:
            return Outcome(current, allocator.pool_of(key))
        if reason != "familyMismatch":
            facts.append(_cleared(key, reason))
    allocator.release(key)
    try:
        address = _allocate(service, allocator)
    except AllocationError as error:
        text = str(error)
        facts.append(LogFact("allocation failed", {"service": key, "error": text}, op="allocateIP"))
        event = EventFact("Warning", "AllocationFailed", f'Failed to allocate IP for "{key}": {text}')
        return Outcome(None, error=text, events=(event,), facts=tuple(facts))
    pool = allocator.pool_of(key) or ""
    facts.append(LogFact("ipAllocated", {"service": key, "ip": str(address), "pool": pool}))
    return Outcome(
        address,
        pool,
        events=(EventFact("Normal", "IPAllocated", f'Assigned IP "{address}"'),),
        facts=tuple(facts),
    )


def _obstacle(service: Service) -> str:
    """Why the service must not have any address, in MetalLB's words; empty if it may."""
    if service.spec.type != "LoadBalancer":
        return "notLoadBalancer"
    return "" if _parse(service.spec.cluster_ip) else "noClusterIP"


def _unfit(service: Service, current: Address, allocator: Allocator) -> str:
    """Why the service cannot keep its address; empty, and the address taken in the allocator, if it can."""
    key = service.metadata.key
    if current.version != _version(service):
        return "familyMismatch"
    try:
        allocator.assign(key, current, terms_of(service))
    except AllocationError:
        return "notAllowedByConfig"
    requested = service.spec.load_balancer_ip
    if requested:
        return "" if _parse(requested) == current else "differentIPRequested"
    pool = _annotation(service, POOL_ANNOTATIONS)
    return "differentPoolRequested" if pool and pool != allocator.pool_of(key) else ""


def _allocate(service: Service, allocator: Allocator) -> Address:
    """Find an address. A requested one is the only choice, whatever pool is asked for."""
    key = service.metadata.key
    terms = terms_of(service)
    version = _version(service)
    requested = service.spec.load_balancer_ip
    if not requested:
        return allocator.allocate(key, version, terms, _annotation(service, POOL_ANNOTATIONS) or None)
    address = _parse(requested)
    if address is None:
        raise AllocationError(f'invalid spec.loadBalancerIP "{requested}"')
    if address.version != version:
        raise AllocationError(
            f'requested spec.loadBalancerIP "{requested}" does not match the ipFamily of the service'
        )
    allocator.assign(key, address, terms)
    return address


def _version(service: Service) -> Version:
    return 6 if ":" in service.spec.cluster_ip else 4


def _annotation(service: Service, keys: tuple[str, ...]) -> str:
    annotations = service.metadata.annotations
    return next((annotations[key] for key in keys if key in annotations), "")


def _parse(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _cleared(key: str, reason: str) -> LogFact:
    return LogFact("clearAssignment", {"service": key, "reason": reason})
