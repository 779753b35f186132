"""What the election is told, as plain immutable values."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address


@dataclasses.dataclass(frozen=True, slots=True)
class EndpointView:
    """One endpoint of a Service: the node it runs on (None if unknown) and its conditions.

    `ready`: takes traffic. `serving`: still answers although it may be terminating.
    """

    node: str | None
    ready: bool
    serving: bool


@dataclasses.dataclass(frozen=True, slots=True)
class ServiceView:
    """A Service with at least one address.

    `key` is `namespace/name`; `local` is externalTrafficPolicy Local; `weights` are the summed preference
    weights of nodes (0 where absent), used under Order.CURRENT only.
    """

    key: str
    addresses: tuple[Address, ...]
    local: bool
    endpoints: tuple[EndpointView, ...]
    weights: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class NodeView:
    """A Kubernetes node: condition NetworkUnavailable, and label
    `node.kubernetes.io/exclude-from-external-load-balancers`."""

    name: str
    network_unavailable: bool = False
    excluded: bool = False


class Reason(enum.StrEnum):
    """Why a node does not announce an address; MetalLB's words where it has them."""

    NOT_OWNER = "notOwner"
    """A candidate, but another one ranks higher."""
    SPEAKER_NOT_ALIVE = "speakerNotAlive"
    """No live speaker of the ring runs there."""
    NODE_UNKNOWN = "nodeUnknown"
    """A member of the ring that is no Kubernetes node, such as a foreign agent (Order.CURRENT only)."""
    NODE_NETWORK_UNAVAILABLE = "nodeNetworkUnavailable"
    """The node's condition NetworkUnavailable is True (Order.CURRENT only)."""
    NODE_EXCLUDED = "nodeLabeledExcludeBalancers"
    """The node carries the exclude label (Order.CURRENT only)."""
    NO_READY_ENDPOINT = "noReadyEndpoint"
    """Endpoints exist where the rule looks for them (on the node, or anywhere), but none is usable."""
    NO_LOCAL_ENDPOINTS = "noLocalEndpoints"
    """The rule wants an endpoint on the node itself, and there is none."""
    NO_ENDPOINTS = "noEndpoints"
    """The Service has no endpoints at all."""


@dataclasses.dataclass(frozen=True, slots=True)
class Ranking:
    """Who would announce an address, best first, and why every other node would not.

    `nodes` and `excluded` together name every node exactly once; `owner` is the first of `nodes`.
    """

    address: Address
    owner: str | None
    nodes: tuple[str, ...]
    excluded: Mapping[str, Reason]

    def reason(self, node: str) -> Reason | None:
        """Why `node` does not announce the address; None for the owner. KeyError for an unknown node."""
        if node == self.owner:
            return None
        return Reason.NOT_OWNER if node in self.nodes else self.excluded[node]
