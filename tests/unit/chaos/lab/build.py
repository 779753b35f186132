"""Short ways to objects for the tests of the lab."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from chaos.lab.objects import DaemonSet, Deployment, EndpointSlice, Node, Pod, Service

W = TypeVar("W", DaemonSet, Deployment)

READY = {"conditions": [{"type": "Ready", "status": "True"}]}


def pod(name: str = "p", **fields: object) -> Pod:
    """A Pod; `labels`, `node`, `ready`, `ip`, `owner`, `deleted`, `phase`, `created` or any field of its spec."""
    meta: dict[str, object] = {
        "name": name,
        "namespace": "default",
        "uid": f"uid-{name}",
        "labels": fields.pop("labels", {}),
        "creationTimestamp": fields.pop("created", "2026-01-01T00:00:00Z"),
        "deletionTimestamp": "2026-01-01T00:00:09Z" if fields.pop("deleted", False) else None,
    }
    owner = fields.pop("owner", "")
    if owner:
        meta["ownerReferences"] = [{"kind": "DaemonSet", "name": "o", "uid": owner, "controller": True}]
    status: dict[str, object] = {"podIP": fields.pop("ip", ""), "phase": fields.pop("phase", "Running")}
    status |= READY if fields.pop("ready", False) else {}
    spec = {"nodeName": fields.pop("node", ""), "containers": [{"name": "c"}], **fields}
    return msgspec.convert({"metadata": meta, "spec": spec, "status": status}, Pod)


def node(name: str = "n1", *, ready: bool = True, **spec: object) -> Node:
    """A Node with the usual labels."""
    labels = {"kubernetes.io/os": "linux", "kubernetes.io/hostname": name}
    status = READY if ready else {"conditions": [{"type": "Ready", "status": "Unknown"}]}
    return msgspec.convert(
        {"metadata": {"name": name, "labels": labels}, "spec": spec, "status": status}, Node
    )


def service(name: str = "web", *, ip: str = "", **spec: object) -> Service:
    """A Service in `default` with port 80; `ip` is its load balancer address."""
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]
    status = {"loadBalancer": {"ingress": [{"ip": ip}]}} if ip else {}
    whole = {"clusterIP": "198.19.128.9", "selector": {"app": name}, "ports": ports, **spec}
    meta = {"name": name, "namespace": "default", "uid": f"uid-{name}"}
    return msgspec.convert({"metadata": meta, "spec": whole, "status": status}, Service)


def endpoint_slice(*endpoints: dict[str, object], name: str = "web", protocol: str = "TCP") -> EndpointSlice:
    """An EndpointSlice of Service `name` with port http 8080."""
    return msgspec.convert(
        {
            "metadata": {
                "name": f"{name}-0",
                "namespace": "default",
                "labels": {"kubernetes.io/service-name": name},
            },
            "endpoints": list(endpoints),
            "ports": [{"name": "http", "port": 8080, "protocol": protocol}],
        },
        EndpointSlice,
    )


def endpoint(address: str, on: str, **conditions: bool) -> dict[str, object]:
    """One endpoint."""
    return {"addresses": [address], "nodeName": on, "conditions": conditions}


def daemon_set(image: str = "i:1", **spec: object) -> DaemonSet:
    """A DaemonSet whose template has one container."""
    return _workload(DaemonSet, image, spec)


def deployment(image: str = "i:1", **spec: object) -> Deployment:
    """A Deployment whose template has one container."""
    return _workload(Deployment, image, spec)


def _workload(kind: type[W], image: str, spec: dict[str, object]) -> W:
    template = {"metadata": {"labels": {"app": "w"}}, "spec": {"containers": [{"name": "c", "image": image}]}}
    data = {
        "metadata": {"name": "w", "namespace": "default", "uid": "uid-w"},
        "spec": {"template": template, **spec},
    }
    return msgspec.json.decode(msgspec.json.encode(data), type=kind)
