"""Endpoints and EndpointSlices of a Service, from the Pods that its selector finds. Pure.

Rules of the endpointslice controller (staging/src/k8s.io/endpointslice utils.go): ready means the Pod's Ready condition and
not terminating, serving means the condition alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chaos.lab.objects import Pod, Service, ServicePort

_MAX_ENDPOINTS = 100
MANAGED_BY = "endpointslice-controller.k8s.io"

Ports = tuple[tuple[str, str, int], ...]
"""Name, protocol and number of each port."""


def selects(service: Service, pod: Pod) -> bool:
    """Is the Pod one of the Service's?"""
    return (
        bool(service.spec.selector)
        and pod.metadata.namespace == service.metadata.namespace
        and all(pod.metadata.labels.get(k) == v for k, v in service.spec.selector.items())
    )


def target(port: ServicePort, pod: Pod) -> int | None:
    """The Pod's port that a service port leads to; None when the Pod has no port of that name."""
    if isinstance(port.target_port, int):
        return port.target_port or port.port
    for container in pod.spec.containers:
        for found in container.ports:
            if found.name == port.target_port and found.protocol == port.protocol:
                return found.container_port
    return int(port.target_port) if port.target_port.isdigit() else None


def _ports(service: Service, pod: Pod) -> Ports:
    found = ((port.name, port.protocol, target(port, pod)) for port in service.spec.ports)
    return tuple((name, protocol, number) for name, protocol, number in found if number is not None)


def _grouped(service: Service, pods: Sequence[Pod]) -> dict[Ports, list[Pod]]:
    groups: dict[Ports, list[Pod]] = {}
    for pod in sorted(pods, key=lambda p: p.metadata.name):
        if selects(service, pod) and pod.status.pod_ip and not pod.finished:
            groups.setdefault(_ports(service, pod), []).append(pod)
    return groups


def _target_ref(pod: Pod) -> dict[str, str]:
    meta = pod.metadata
    return {"kind": "Pod", "namespace": meta.namespace, "name": meta.name, "uid": meta.uid}


def _owner(service: Service) -> list[dict[str, object]]:
    meta = service.metadata
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "name": meta.name,
            "uid": meta.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]


def slices(service: Service, pods: Sequence[Pod]) -> dict[str, dict[str, object]]:
    """The EndpointSlices that there should be, by name."""
    wanted: dict[str, dict[str, object]] = {}
    for ports, members in sorted(_grouped(service, pods).items()) or [((), [])]:
        for start in range(0, max(len(members), 1), _MAX_ENDPOINTS):
            name = f"{service.metadata.name}-{len(wanted)}"
            wanted[name] = {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": name,
                    "namespace": service.metadata.namespace,
                    "labels": {
                        "kubernetes.io/service-name": service.metadata.name,
                        "endpointslice.kubernetes.io/managed-by": MANAGED_BY,
                    },
                    "ownerReferences": _owner(service),
                },
                "addressType": "IPv4",
                "endpoints": [_endpoint(service, p) for p in members[start : start + _MAX_ENDPOINTS]],
                "ports": [{"name": n, "protocol": proto, "port": number} for n, proto, number in ports],
            }
    return wanted


def _endpoint(service: Service, pod: Pod) -> dict[str, object]:
    serving = pod.ready or service.spec.publish_not_ready_addresses
    terminating = pod.metadata.deletion_timestamp is not None
    ready = serving and (not terminating or service.spec.publish_not_ready_addresses)
    return {
        "addresses": [pod.status.pod_ip],
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "nodeName": pod.spec.node_name,
        "targetRef": _target_ref(pod),
    }


def endpoints(service: Service, pods: Sequence[Pod]) -> Mapping[str, object]:
    """The Endpoints object, for readers of the former generation. Terminating Pods are not in it."""
    subsets = []
    for ports, members in sorted(_grouped(service, pods).items()):
        living = [p for p in members if p.metadata.deletion_timestamp is None]
        ready = [p for p in living if p.ready or service.spec.publish_not_ready_addresses]
        waiting = [p for p in living if p not in ready]
        if living:
            subsets.append(
                {
                    **({"addresses": [_address(p) for p in ready]} if ready else {}),
                    **({"notReadyAddresses": [_address(p) for p in waiting]} if waiting else {}),
                    "ports": [{"name": n, "protocol": proto, "port": number} for n, proto, number in ports],
                }
            )
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": service.metadata.name,
            "namespace": service.metadata.namespace,
            "labels": dict(service.metadata.labels),
        },
        "subsets": subsets,
    }


def _address(pod: Pod) -> dict[str, object]:
    return {"ip": pod.status.pod_ip, "nodeName": pod.spec.node_name, "targetRef": _target_ref(pod)}
