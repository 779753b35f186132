"""Kubernetes objects, reduced to the fields that vipring reads.

Field names are the API's own (camelCase on the wire, snake_case here). Unknown fields are dropped at
decoding, so that a watch of 10,000 objects holds only what is used. Every Struct is immutable.
"""

from __future__ import annotations

import msgspec

_WIRE_NAMES = {
    "cluster_ip": "clusterIP",
    "cluster_ips": "clusterIPs",
    "load_balancer_ip": "loadBalancerIP",
    "pod_ip": "podIP",
    "host_ip": "hostIP",
}


def _rename(name: str) -> str:
    if name in _WIRE_NAMES:
        return _WIRE_NAMES[name]
    head, *tail = name.split("_")
    return head + "".join(part.title() for part in tail)


class Object(msgspec.Struct, frozen=True, rename=_rename, omit_defaults=True):
    """Base of all Structs here: immutable, camelCase on the wire, defaults left out when encoded."""


class ObjectMeta(Object, frozen=True):
    """metadata of any object. `resource_version` is opaque: compare for equality only."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    deletion_timestamp: str | None = None

    @property
    def key(self) -> str:
        """`namespace/name`, or the bare name of an object without a namespace."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class ServicePort(Object, frozen=True):
    """One entry of Service.spec.ports."""

    port: int = 0
    protocol: str = "TCP"
    name: str = ""
    node_port: int = 0


class ServiceSpec(Object, frozen=True):
    """Service.spec."""

    type: str = "ClusterIP"
    cluster_ip: str = ""
    cluster_ips: list[str] = []
    load_balancer_ip: str = ""
    load_balancer_class: str | None = None
    external_traffic_policy: str = ""
    selector: dict[str, str] = {}
    ports: list[ServicePort] = []
    ip_families: list[str] = []
    ip_family_policy: str | None = None


class LoadBalancerIngress(Object, frozen=True):
    """One entry of Service.status.loadBalancer.ingress."""

    ip: str = ""
    hostname: str = ""


class LoadBalancerStatus(Object, frozen=True):
    """Service.status.loadBalancer."""

    ingress: list[LoadBalancerIngress] = []


class ServiceStatus(Object, frozen=True):
    """Service.status."""

    load_balancer: LoadBalancerStatus = LoadBalancerStatus()


class Service(Object, frozen=True):
    """A v1 Service."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


class EndpointConditions(Object, frozen=True):
    """EndpointSlice.endpoints[].conditions; None means unknown, which readers treat as ready."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class Endpoint(Object, frozen=True):
    """One entry of EndpointSlice.endpoints."""

    addresses: list[str] = []
    conditions: EndpointConditions = EndpointConditions()
    node_name: str | None = None


class EndpointSlice(Object, frozen=True):
    """A discovery.k8s.io/v1 EndpointSlice. Its service is named by label `kubernetes.io/service-name`."""

    metadata: ObjectMeta = ObjectMeta()
    address_type: str = "IPv4"
    endpoints: list[Endpoint] | None = None

    @property
    def service_key(self) -> str | None:
        """`namespace/name` of the Service this slice belongs to, None without the label."""
        name = self.metadata.labels.get("kubernetes.io/service-name")
        return f"{self.metadata.namespace}/{name}" if name else None


class NodeCondition(Object, frozen=True):
    """One entry of Node.status.conditions; status is True, False or Unknown."""

    type: str = ""
    status: str = ""


class NodeAddress(Object, frozen=True):
    """One entry of Node.status.addresses; type is InternalIP, ExternalIP, Hostname …"""

    type: str = ""
    address: str = ""


class NodeStatus(Object, frozen=True):
    """Node.status."""

    conditions: list[NodeCondition] = []
    addresses: list[NodeAddress] = []


class NodeSpec(Object, frozen=True):
    """Node.spec."""

    unschedulable: bool = False


class Node(Object, frozen=True):
    """A v1 Node."""

    metadata: ObjectMeta = ObjectMeta()
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class ConfigMap(Object, frozen=True):
    """A v1 ConfigMap."""

    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, str] | None = None


class PodStatus(Object, frozen=True):
    """Pod.status."""

    phase: str = ""
    pod_ip: str = ""
    host_ip: str = ""


class PodSpec(Object, frozen=True):
    """Pod.spec."""

    node_name: str = ""


class Pod(Object, frozen=True):
    """A v1 Pod."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()
