"""The objects that the demo and the scenarios put into a lab: the shipped manifests, a pool, echo backends."""

from __future__ import annotations

import base64
import io
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec
import yaml

import chaos
from chaos.errors import ChaosError

NAMESPACE: Final = "metallb-system"
POOL: Final = "198.18.1.0/24"
"""The pool of the lab: inside the nodes' /16, so that clients ask for it by ARP."""

WIDE_POOL: Final = "198.18.4.0/22"
"""A pool for scenarios with hundreds of addresses."""

ECHO_PORT: Final = 7
ECHO_IMAGE: Final = "vipring/echo:v0.1.0"
BACKEND_LABEL: Final = "vipring-backend"
"""The echo Pods that carry this label with `yes` are the backends of every echo Service."""


class _Pool(msgspec.Struct):
    name: str
    protocol: str
    addresses: list[str]


class _Pools(msgspec.Struct, rename="kebab"):
    address_pools: list[_Pool]


def manifest(name: str) -> Path:
    """A file of `manifests/`: in the checkout, or where the wheel puts it. Raises ChaosError without it."""
    package = Path(chaos.__file__).parent
    for directory in (package.parent / "manifests", package / "manifests"):
        if (directory / name).is_file():
            return directory / name
    raise ChaosError(f"manifests/{name} is not installed with this vipring")


def vipring(speaker_flags: Iterable[str] = ()) -> str:
    """manifests/vipring.yaml with further flags for the speakers, as YAML."""
    text = manifest("vipring.yaml").read_text(encoding="utf-8")
    before, command, after = text.partition("args: [speaker, ")
    if not command:
        raise ChaosError("manifests/vipring.yaml has no speaker to give flags to")
    return before + command + "".join(f"{flag}, " for flag in speaker_flags) + after


def pool_config(addresses: str = POOL) -> str:
    """manifests/example-config.yaml with these addresses in its (layer2) pool, as YAML."""
    document = yaml.safe_load(manifest("example-config.yaml").read_text(encoding="utf-8"))
    config = msgspec.convert(yaml.safe_load(document["data"]["config"]), _Pools)
    (pool,) = config.address_pools
    pool.addresses = [addresses]
    document["data"]["config"] = yaml.safe_dump(msgspec.to_builtins(config), sort_keys=False)
    return yaml.safe_dump(document, sort_keys=False)


def random_key() -> str:
    """128 random bytes in base64, as `openssl rand -base64 128` makes them."""
    return base64.encodebytes(secrets.token_bytes(128)).decode()


def secret(key: str) -> dict[str, object]:
    """The ring's secret, as `kubectl create secret generic memberlist` makes it."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "memberlist", "namespace": NAMESPACE},
        "type": "Opaque",
        "stringData": {"secretkey": key},
    }


def echo_pod(node: str) -> dict[str, object]:
    """A bare echo Pod on one node."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"echo-{node}", "namespace": "default", "labels": {BACKEND_LABEL: "yes"}},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": "echo",
                    "image": ECHO_IMAGE,
                    "ports": [{"containerPort": ECHO_PORT, "protocol": "UDP"}],
                    "env": [{"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
                }
            ],
        },
    }


def echo_service(name: str, address: str | None = None) -> dict[str, object]:
    """A LoadBalancer Service in front of the echo Pods, with this address where one is given."""
    spec: dict[str, object] = {
        "type": "LoadBalancer",
        "selector": {BACKEND_LABEL: "yes"},
        "ports": [{"name": "echo", "port": ECHO_PORT, "targetPort": ECHO_PORT, "protocol": "UDP"}],
    }
    if address is not None:
        spec["loadBalancerIP"] = address
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


def echo_slice(name: str, nodes: Iterable[str]) -> dict[str, object]:
    """What the endpoints of an echo Service look like with a backend on each node; for planning, not for a lab."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name}-planned",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": [f"192.0.2.{number}"], "nodeName": node, "conditions": {"ready": True}}
            for number, node in enumerate(nodes, 1)
        ],
        "ports": [{"name": "echo", "port": ECHO_PORT, "protocol": "UDP"}],
    }


def echo_objects(nodes: Iterable[str], services: Mapping[str, str | None]) -> list[dict[str, object]]:
    """One echo Pod on each node and the Services in front of them, by name, each with its address or with any."""
    return [
        *(echo_pod(node) for node in nodes),
        *(echo_service(name, address) for name, address in services.items()),
    ]


def documents(text: str) -> list[dict[str, object]]:
    """The objects of a YAML text, empty documents left out."""
    return [document for document in yaml.safe_load_all(io.StringIO(text)) if document]
