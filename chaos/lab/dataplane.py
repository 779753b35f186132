"""The data path of a node: nftables rules from Services and EndpointSlices, as kube-proxy would write them.

`rules` is a pure function. Under externalTrafficPolicy Cluster every endpoint is used and the source address is
replaced; under Local only the node's own endpoints are, the source stays, and without one the packet is dropped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import anyio

from chaos.lab.conntrack import forget_stale
from chaos.lab.errors import LabError
from chaos.lab.objects import EndpointSlice, Service, ServicePort
from chaos.lab.plan import MGMT_NETWORK, NodePlan
from chaos.lab.tools import nft
from cluster.watch import Change, Deleted, Synced, Upserted
from cluster.wire import KubeObject

K = TypeVar("K", bound=KubeObject)

TABLE = "vipring-lab"
_MARK = "0x4000"
# Many changes come together; one transaction serves them all.
_SETTLE_S = 0.05
_RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class Backend:
    """One endpoint of a service port."""

    address: str
    port: int
    node: str | None


def backends(port: ServicePort, slices: Iterable[EndpointSlice]) -> list[Backend]:
    """Ready endpoints of a service port, in a stable order; terminating ones only where nothing else serves."""
    ready: set[Backend] = set()
    fading: set[Backend] = set()
    for found in slices:
        for endpoint_port in found.ports or ():
            if (endpoint_port.name or "") != port.name or endpoint_port.protocol != port.protocol:
                continue
            for endpoint in found.endpoints or ():
                conditions = endpoint.conditions
                where = ready if conditions.ready is not False else fading
                if where is fading and not (conditions.serving and conditions.terminating):
                    continue
                if endpoint_port.port is not None and endpoint.addresses:
                    where.add(Backend(endpoint.addresses[0], endpoint_port.port, endpoint.node_name))
    return sorted(ready or fading, key=lambda b: (b.address, b.port))


def _chain(prefix: str, service: Service, port: ServicePort) -> str:
    text = f"{service.metadata.key}/{port.protocol}/{port.port}"
    return f"{prefix}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _spread(name: str, found: Sequence[Backend], *, masquerade: bool) -> list[str]:
    """A chain that sends a connection to one of the backends."""
    choice = ", ".join(f"{i} : {b.address} . {b.port}" for i, b in enumerate(found))
    return [
        f"  chain {name} {{",
        *([f"    meta mark set meta mark | {_MARK}"] if masquerade else []),
        f"    meta l4proto {{ tcp, udp }} dnat to numgen random mod {len(found)} map {{ {choice} }}",
        "  }",
    ]


def rules(services: Iterable[Service], slices: Iterable[EndpointSlice], node: NodePlan) -> str:
    """The nft script that replaces all rules of a node."""
    by_service: dict[str, list[EndpointSlice]] = {}
    for found in slices:
        name = found.metadata.labels.get("kubernetes.io/service-name")
        if name and found.address_type == "IPv4":
            by_service.setdefault(f"{found.metadata.namespace}/{name}", []).append(found)
    chains: list[str] = []
    inside: list[str] = []
    outside: list[str] = []
    for service in sorted(services, key=lambda s: s.metadata.key):
        if service.spec.type == "ExternalName":
            continue
        for port in service.spec.ports:
            if port.protocol in ("TCP", "UDP"):
                more = _service_port(service, port, by_service.get(service.metadata.key, []), node)
                chains += more[0]
                inside += more[1]
                outside += more[2]
    return _script(chains, inside, outside, node)


def service_addresses(service: Service) -> list[str]:
    """Addresses of a Service that come from outside of the cluster: load balancer and external ones."""
    found = [i.ip for i in service.status.load_balancer.ingress if ":" not in i.ip and i.ip]
    return found + [ip for ip in service.spec.external_ips if ":" not in ip]


def udp_targets(
    services: Iterable[Service], slices: Sequence[EndpointSlice], node: NodePlan
) -> dict[tuple[str, int], frozenset[tuple[str, int]]]:
    """For each UDP service address and port: the endpoints it may lead to."""
    targets: dict[tuple[str, int], frozenset[tuple[str, int]]] = {}
    for service in services:
        own = [
            s for s in slices if s.metadata.labels.get("kubernetes.io/service-name") == service.metadata.name
        ]
        own = [s for s in own if s.metadata.namespace == service.metadata.namespace]
        for port in service.spec.ports:
            if port.protocol != "UDP":
                continue
            allowed = frozenset((b.address, b.port) for b in backends(port, own))
            for address in (service.spec.cluster_ip, *service_addresses(service)):
                targets[address, port.port] = allowed
            if port.node_port:
                targets[str(node.address), port.node_port] = allowed
    return targets


def _service_port(
    service: Service, port: ServicePort, slices: Sequence[EndpointSlice], node: NodePlan
) -> tuple[list[str], list[str], list[str]]:
    """Chains of one service port, and the map elements that lead to them from inside and outside of the cluster."""
    everyone = backends(port, slices)
    own = [b for b in everyone if b.node == node.name]
    local = service.spec.external_traffic_policy == "Local"
    protocol = port.protocol.lower()
    cluster_ip = service.spec.cluster_ip
    targets = [f"{ip} . {protocol} . {port.port}" for ip in service_addresses(service)]
    if port.node_port:
        targets.append(f"{node.address} . {protocol} . {port.node_port}")
    internal = [f"{cluster_ip} . {protocol} . {port.port}"] if cluster_ip not in ("", "None") else []
    all_targets = internal + targets
    if not everyone:
        return [], [f"{t} : goto refuse" for t in all_targets], [f"{t} : goto refuse" for t in all_targets]
    inner = _chain("in", service, port)
    chains = _spread(inner, everyone, masquerade=False)
    # From the cluster itself every endpoint will do, whatever the external policy (kube-proxy, KEP-1669).
    inside = [f"{t} : goto {inner}" for t in all_targets]
    outside = [f"{t} : goto {inner}" for t in internal]
    if not targets:
        return chains, inside, outside
    outer = _chain("ext", service, port)
    if local and not own:
        outside += [f"{t} : goto lose" for t in targets]
    else:
        chains += _spread(outer, own if local else everyone, masquerade=not local)
        outside += [f"{t} : goto {outer}" for t in targets]
    return chains, inside, outside


def _map(name: str, elements: Sequence[str]) -> list[str]:
    content = [f"    elements = {{ {', '.join(sorted(set(elements)))} }}"] if elements else []
    return [
        f"  map {name} {{",
        "    type ipv4_addr . inet_proto . inet_service : verdict",
        *content,
        "  }",
    ]


def _script(chains: Sequence[str], inside: Sequence[str], outside: Sequence[str], node: NodePlan) -> str:
    # A packet that must be refused or lost carries a mark through nat, which cannot do either, to the filter.
    lines = [
        f"table ip {TABLE} {{}}",
        f"delete table ip {TABLE}",
        f"table ip {TABLE} {{",
        "  chain refuse { meta mark set meta mark | 0x1000; }",
        "  chain lose { meta mark set meta mark | 0x2000; }",
        *chains,
        *_map("inside", inside),
        *_map("outside", outside),
        "  chain prerouting {",
        "    type nat hook prerouting priority dstnat",
        f"    ip saddr {node.pod_network} ip daddr . meta l4proto . th dport vmap @inside",
        "    ip daddr . meta l4proto . th dport vmap @outside",
        "  }",
        "  chain output {",
        "    type nat hook output priority -100",
        "    ip daddr . meta l4proto . th dport vmap @inside",
        "  }",
        "  chain filter_forward { type filter hook forward priority filter; jump verdicts; }",
        "  chain filter_input { type filter hook input priority filter; jump verdicts; }",
        "  chain filter_output { type filter hook output priority filter; jump verdicts; }",
        "  chain verdicts {",
        "    meta mark & 0x2000 == 0x2000 drop",
        "    meta mark & 0x1000 == 0x1000 reject",
        "  }",
        "  chain postrouting {",
        "    type nat hook postrouting priority srcnat",
        f"    meta mark & {_MARK} == {_MARK} masquerade",
        # A pod that reaches itself through its Service would otherwise answer itself directly.
        f"    ip saddr {node.pod_network} ct status dnat ip daddr {node.pod_network} masquerade",
        f'    ip saddr {node.pod_network} oifname "mgmt0" ip daddr {MGMT_NETWORK} masquerade',
        "  }",
        "}",
    ]
    return "\n".join(lines) + "\n"


class Applier:
    """Keeps a node's rules equal to what the API says: one transaction for each batch of changes."""

    def __init__(self, node: NodePlan, *, note: Callable[[str], None]) -> None:
        self._node = node
        self._note = note
        self._services: dict[str, Service] = {}
        self._slices: dict[str, EndpointSlice] = {}
        self._synced = 0
        self._changed = anyio.Event()
        self._written = ""

    def on_service(self, change: Change[Service]) -> None:
        """Handler of the Service reflector."""
        self._take(change, self._services)

    def on_slice(self, change: Change[EndpointSlice]) -> None:
        """Handler of the EndpointSlice reflector."""
        self._take(change, self._slices)

    def _take(self, change: Change[K], store: dict[str, K]) -> None:
        match change:
            case Upserted(obj=found):
                store[found.metadata.key] = found
            case Deleted(obj=found):
                store.pop(found.metadata.key, None)
            case Synced():
                self._synced += 1
        self._changed.set()

    async def run(self) -> None:
        """Apply changes until cancelled. Nothing is applied before both lists are known."""
        while True:
            await self._changed.wait()
            await anyio.sleep(_SETTLE_S)
            self._changed = anyio.Event()
            if self._synced < 2:
                continue
            text = rules(self._services.values(), self._slices.values(), self._node)
            if text == self._written:
                continue
            try:
                await nft(text)
                self._written = text
                targets = udp_targets(self._services.values(), list(self._slices.values()), self._node)
                if targets:
                    forget_stale(targets)
            except (LabError, OSError) as error:
                self._note(f"data path: {error}")
                self._changed.set()
                await anyio.sleep(_RETRY_S)
