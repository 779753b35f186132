"""Kubernetes objects and ring views in one line each."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_network

from cluster.config.model import Config, Pool
from cluster.objects import (
    Endpoint,
    EndpointConditions,
    EndpointSlice,
    LoadBalancerIngress,
    LoadBalancerStatus,
    Node,
    ObjectMeta,
    Pod,
    PodSpec,
    PodStatus,
    Service,
    ServiceSpec,
    ServiceStatus,
)
from gossip.member import MemberState, MemberView, Versions
from gossip.meta import Meta

CONFIG = Config(
    pools=(
        Pool("lan", "layer2", (ip_network("198.18.1.0/24"),)),
        Pool("six", "layer2", (ip_network("2001:2::/64"),)),
        Pool("wan", "bgp", (ip_network("198.18.2.0/24"),)),
    )
)

VIP = IPv4Address("198.18.1.1")


def service(name: str, *ips: str, kind: str = "LoadBalancer", policy: str = "Cluster") -> Service:
    return Service(
        metadata=ObjectMeta(name=name, namespace="default"),
        spec=ServiceSpec(type=kind, cluster_ip="198.19.128.1", external_traffic_policy=policy),
        status=ServiceStatus(
            load_balancer=LoadBalancerStatus(ingress=[LoadBalancerIngress(ip=ip) for ip in ips])
        ),
    )


def piece(of: str, *nodes: str, ready: bool = True) -> EndpointSlice:
    return EndpointSlice(
        metadata=ObjectMeta(name=f"{of}-x", namespace="default", labels={"kubernetes.io/service-name": of}),
        endpoints=[
            Endpoint(["198.19.64.2"], EndpointConditions(ready=ready, serving=ready), node_name=node)
            for node in nodes
        ],
    )


def node(name: str) -> Node:
    return Node(metadata=ObjectMeta(name=name))


def pod(name: str, on: str, address: str, phase: str = "Running") -> Pod:
    return Pod(
        metadata=ObjectMeta(name=name, namespace="metallb-system"),
        spec=PodSpec(node_name=on),
        status=PodStatus(phase=phase, pod_ip=address),
    )


def view(
    name: str,
    address: str,
    state: MemberState = MemberState.ALIVE,
    *,
    meta: bytes = b"",
    incarnation: int = 1,
) -> MemberView:
    return MemberView(name, address, 7946, state, incarnation, meta, Versions(1, 5, 2, 0, 0, 0), 10.0)


def our_meta(*, eligible: bool = True, draining: bool = False) -> bytes:
    return Meta(software="vipring", version="0.1.0", eligible=eligible, draining=draining).encode()
