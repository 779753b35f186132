"""What a configuration says, after validation: immutable values without any trace of their spelling."""

from __future__ import annotations

import types
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import accumulate
from typing import Literal, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network
PoolProtocol: TypeAlias = Literal["layer2", "bgp"]


@dataclass(frozen=True, slots=True)
class BgpAdvertisement:
    """How each address of a bgp pool becomes a route.

    `aggregation_length` is the prefix length of the route, `communities` are 32-bit values (upper half the
    AS number, RFC 1997), `localpref` is sent to internal peers only.
    """

    aggregation_length: int = 32
    localpref: int = 0
    communities: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Pool:
    """One named set of addresses, in the order in which they are handed out.

    `priority` is 32 bits, signed: a pool of a lower one is preferred, and 0 comes last (MetalLB's
    `serviceAllocation.priority`).
    """

    name: str
    protocol: PoolProtocol
    networks: tuple[Network, ...]
    auto_assign: bool = True
    avoid_buggy_ips: bool = False
    bgp_advertisements: tuple[BgpAdvertisement, ...] = ()
    priority: int = 0
    _first: tuple[tuple[int, int], ...] = field(init=False, repr=False, compare=False)
    _last: tuple[tuple[int, int], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Sort the bounds of the networks, for `contains`."""
        bounds = sorted(((n.version, int(n[0])), (n.version, int(n[-1]))) for n in self.networks)
        object.__setattr__(self, "_first", tuple(first for first, _ in bounds))
        object.__setattr__(self, "_last", tuple(accumulate((last for _, last in bounds), max)))

    def contains(self, address: Address) -> bool:
        """Whether the address lies in one of the networks; `avoid_buggy_ips` is not looked at.

        The cost grows with the logarithm of the number of networks.
        """
        value = (address.version, int(address))
        before = bisect_right(self._first, value)
        return before > 0 and value <= self._last[before - 1]

    def allows(self, address: Address) -> bool:
        """Whether the pool may hand the address out: contained, and not one that `avoid_buggy_ips` bars."""
        return self.contains(address) and not (self.avoid_buggy_ips and is_buggy(address))


def is_buggy(address: Address) -> bool:
    """Whether old home routers take the address for that of a network or a broadcast (x.x.x.0, x.x.x.255)."""
    return isinstance(address, IPv4Address) and int(address) & 0xFF in {0, 255}


@dataclass(frozen=True, slots=True)
class LabelRequirement:
    """One matchExpressions entry of a Kubernetes label selector."""

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels satisfy it. NotIn also holds where the label is absent, as in Kubernetes."""
        match self.operator:
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values


@dataclass(frozen=True, slots=True)
class NodeSelector:
    """A label selector: every label and every requirement must match; an empty one matches all nodes."""

    match_labels: tuple[tuple[str, str], ...] = ()
    match_expressions: tuple[LabelRequirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether a node with these labels is selected."""
        return all(labels.get(key) == value for key, value in self.match_labels) and all(
            requirement.matches(labels) for requirement in self.match_expressions
        )


@dataclass(frozen=True, slots=True)
class Peer:
    """A BGP router.

    `hold_time_s` is 0 or 3 to 65535 seconds (RFC 4271 section 4.2), `password` the key of TCP MD5 (RFC 2385).
    """

    my_asn: int
    peer_asn: int
    peer_address: Address
    peer_port: int = 179
    hold_time_s: int = 90
    router_id: IPv4Address | None = None
    node_selectors: tuple[NodeSelector, ...] = (NodeSelector(),)
    password: str = field(default="", repr=False)

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether a node with these labels opens a session to this router: any selector suffices."""
        return any(selector.matches(labels) for selector in self.node_selectors)


@dataclass(frozen=True, slots=True)
class Config:
    """A whole configuration. The empty one is valid: no pools, no peers.

    `communities` are the named aliases, 32-bit values.
    """

    pools: tuple[Pool, ...] = ()
    peers: tuple[Peer, ...] = ()
    communities: Mapping[str, int] = field(default_factory=lambda: types.MappingProxyType({}))

    def pool(self, name: str) -> Pool | None:
        """The pool of that name."""
        return next((pool for pool in self.pools if pool.name == name), None)

    def pool_of(self, address: Address) -> Pool | None:
        """The pool whose networks hold the address (at most one does: pools never overlap)."""
        return next((pool for pool in self.pools if pool.contains(address)), None)
