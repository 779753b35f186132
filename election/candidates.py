"""Candidate rules: on which nodes an address may be announced, judged by its Services alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from election.model import EndpointView, Reason, ServiceView
from election.order import Order


def usable(endpoint: EndpointView, order: Order) -> bool:
    """Whether an endpoint counts: ready, or (Order.CURRENT) still serving while it terminates."""
    return endpoint.ready or (order is Order.CURRENT and endpoint.serving)


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """How the nodes of one address are ranked.

    `text` goes into the hash; `nodes` are the nodes admitted by the Services, None for all of them;
    `weights` rank before the hash.
    """

    text: str
    nodes: frozenset[str] | None
    weights: Mapping[str, int]


def rule_of(services: Sequence[ServiceView], order: Order) -> Rule:
    """The rule of an address used by `services` (not empty, sorted by key).

    Key text and weights are those of the first Service; its admitted nodes are those of all together.
    MetalLB hashes the first address of a Service for all of them, so a dual-stack Service has one owner.
    """
    first = services[0]
    current = order is Order.CURRENT
    text = str(first.addresses[0]) if current else first.key
    weights = first.weights if current else {}
    nodes: set[str] = set()
    for service in services:
        serving = [endpoint for endpoint in service.endpoints if usable(endpoint, order)]
        if current and not service.local and serving:
            return Rule(text, None, weights)
        if service.local or not current:
            nodes.update(endpoint.node for endpoint in serving if endpoint.node is not None)
    return Rule(text, frozenset(nodes), weights)


def refusal(services: Iterable[ServiceView], node: str, order: Order) -> Reason:
    """Why none of `services` admits `node`: the reason that comes closest to admission."""
    found = {_refusal(service, node, order) for service in services}
    for reason in (Reason.NO_READY_ENDPOINT, Reason.NO_LOCAL_ENDPOINTS):
        if reason in found:
            return reason
    return Reason.NO_ENDPOINTS


def _refusal(service: ServiceView, node: str, order: Order) -> Reason:
    if not service.endpoints:
        return Reason.NO_ENDPOINTS
    anywhere = order is Order.CURRENT and not service.local
    if anywhere or any(endpoint.node == node for endpoint in service.endpoints):
        return Reason.NO_READY_ENDPOINT
    return Reason.NO_LOCAL_ENDPOINTS
