"""Short ways to say a service, a pool and a configuration."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import msgspec

from cluster.config.model import Pool
from cluster.objects import ConfigMap, Service


def pool(name: str, *networks: str, auto: bool = True, avoid_buggy: bool = False) -> Pool:
    return Pool(
        name=name,
        protocol="layer2",
        networks=tuple(ip_network(text) for text in networks),
        auto_assign=auto,
        avoid_buggy_ips=avoid_buggy,
    )


def service(
    name: str = "web",
    *,
    ingress: Any = (),
    ports: Any = ("TCP/80",),
    annotations: dict[str, str] | None = None,
    uid: str = "",
    version: str = "",
    **spec: Any,
) -> Service:
    entries = [{"ip": entry} if isinstance(entry, str) else entry for entry in ingress]
    split = [port.split("/") for port in ports]
    return msgspec.convert(
        {
            "metadata": {
                "name": name,
                "namespace": "default",
                "uid": uid or f"uid-{name}",
                "resourceVersion": version,
                "annotations": annotations or {},
            },
            "spec": {
                "type": "LoadBalancer",
                "clusterIP": "10.0.0.1",
                "ports": [{"protocol": protocol, "port": int(number)} for protocol, number in split],
                **spec,
            },
            "status": {"loadBalancer": {"ingress": entries}},
        },
        Service,
    )


def config_map(*pools: str) -> ConfigMap:
    """A ConfigMap with pools given as `name: addresses`, or text as it is."""
    text = "address-pools:\n" + "".join(
        f"- name: {name}\n  protocol: layer2\n  addresses: ['{addresses.strip()}']\n"
        for name, addresses in (each.split(":", 1) for each in pools)
    )
    return ConfigMap(data={"config": text})
