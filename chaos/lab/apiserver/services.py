"""What the API server itself decides about a Service: cluster addresses, node ports, defaults.

Behaviour of kubernetes pkg/registry/core/service (alloc.go, strategy.go) as far as the lab needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

from chaos.lab.apiserver.errors import Obj, StatusError, invalid
from chaos.lab.apiserver.kinds import Kind
from chaos.lab.apiserver.revisions import Key

_NODE_PORTS = range(30000, 32768)
_WITH_NODE_PORTS = ("NodePort", "LoadBalancer")


class ServiceAllocator:
    """Cluster addresses (first network: the default family) and node ports, in ascending order."""

    def __init__(self, networks: Sequence[IPv4Network | IPv6Network]) -> None:
        self._networks = {f"IPv{net.version}": net for net in networks}
        self._families = [f"IPv{net.version}" for net in networks]
        self._addresses: dict[IPv4Address | IPv6Address, Key] = {}
        self._next_address = dict.fromkeys(self._families, 1)
        self._ports: dict[int, Key] = {}
        self._next_port = _NODE_PORTS.start

    # -- allocation ---------------------------------------------------------------------------------------

    def _free_address(self, family: str) -> IPv4Address | IPv6Address:
        network = self._networks[family]
        usable = network.num_addresses - 2
        for step in range(usable):
            offset = (self._next_address[family] - 1 + step) % usable + 1
            address = network[offset]
            if address not in self._addresses:
                self._next_address[family] = offset + 1
                return address
        raise StatusError(
            500, "InternalError", f"failed to allocate a serviceIP: {network} is full: range is full"
        )

    def _free_port(self) -> int:
        for step in range(len(_NODE_PORTS)):
            port = _NODE_PORTS[(self._next_port - _NODE_PORTS.start + step) % len(_NODE_PORTS)]
            if port not in self._ports:
                self._next_port = port + 1
                return port
        raise StatusError(
            422, "Invalid", "spec.ports[0].nodePort: failed to allocate a nodePort: range is full"
        )

    def release(self, key: Key) -> None:
        """Forget what a Service held."""
        self._addresses = {a: k for a, k in self._addresses.items() if k != key}
        self._ports = {p: k for p, k in self._ports.items() if k != key}

    def commit(self, key: Key, service: Obj, before: Obj | None) -> None:
        """Book what a stored Service holds and free what its version before held beyond that."""
        if before is not None:
            for address in _addresses_of(before):
                self._addresses.pop(address, None)
            for port in _ports_of(before):
                self._ports.pop(port, None)
        self._addresses.update(dict.fromkeys(_addresses_of(service), key))
        self._ports.update(dict.fromkeys(_ports_of(service), key))

    def free(self, service: Obj) -> None:
        """Free what a removed Service held."""
        self.commit(("", ""), {"spec": {}}, service)

    # -- filling in ---------------------------------------------------------------------------------------

    def fill(self, kind: Kind, service: Obj, old: Obj | None) -> None:
        """Set the defaults and allocate what a Service to be stored is lacking.

        Raises StatusError 422 for a taken address or port, or a family that is not served.
        """
        spec = service["spec"]
        _defaults(spec)
        if old is not None:
            _carry_over(spec, old["spec"])
        key = (service["metadata"].get("namespace", ""), service["metadata"]["name"])
        if spec["type"] == "ExternalName":
            for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
                spec.pop(field, None)
        else:
            self._fill_addresses(kind, key, spec)
        self._fill_ports(kind, key, spec)
        status = service.get("status") or {}
        balanced = spec["type"] == "LoadBalancer"
        service["status"] = {**status, "loadBalancer": status.get("loadBalancer", {}) if balanced else {}}

    def _fill_addresses(self, kind: Kind, key: Key, spec: Obj) -> None:
        families = list(spec.get("ipFamilies") or [])
        given = list(spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else []))
        policy = spec.setdefault("ipFamilyPolicy", "SingleStack" if len(families) < 2 else "RequireDualStack")
        if not families:
            families = (
                [f"IPv{ip_address(a).version}" for a in given] if given and given != ["None"] else []
            ) or self._families[:1]
        if policy != "SingleStack":
            families += [family for family in self._families if family not in families]
        unserved = [family for family in families if family not in self._networks]
        if unserved or (policy == "RequireDualStack" and len(families) < 2):
            text = "may not be specified: this cluster is not configured for it"
            raise invalid(kind, key[1], [("spec.ipFamilies", "FieldValueInvalid", f"{families}: {text}")])
        spec["ipFamilies"] = families
        if given == ["None"]:
            spec["clusterIP"], spec["clusterIPs"] = "None", ["None"]
            return
        given += [str(self._free_address(family)) for family in families[len(given) :]]
        for text in given:
            holder = self._addresses.get(ip_address(text))
            if holder not in (None, key):
                why = f'"{text}": failed to allocate IP {text}: provided IP is already allocated'
                raise invalid(kind, key[1], [("spec.clusterIPs", "FieldValueInvalid", why)])
        spec["clusterIP"], spec["clusterIPs"] = given[0], given

    def _fill_ports(self, kind: Kind, key: Key, spec: Obj) -> None:
        if spec["type"] not in _WITH_NODE_PORTS:
            for port in spec.get("ports") or []:
                port.pop("nodePort", None)
            for field in ("externalTrafficPolicy", "healthCheckNodePort", "allocateLoadBalancerNodePorts"):
                spec.pop(field, None)
            return
        wanted = spec["type"] == "NodePort" or spec.get("allocateLoadBalancerNodePorts", True)
        taken: dict[tuple[str, int], int] = {}
        for at, port in enumerate(spec.get("ports") or []):
            number = port.get("nodePort")
            if number:
                if self._ports.get(number, key) != key:
                    why = f"{number}: provided port is already allocated"
                    raise invalid(kind, key[1], [(f"spec.ports[{at}].nodePort", "FieldValueInvalid", why)])
            elif wanted:
                # One number serves TCP and UDP of the same port, as in the API server.
                other = next((n for (proto, p), n in taken.items() if p == port["port"]), None)
                port["nodePort"] = number = other or self._free_port()
            if number:
                taken[port["protocol"], port["port"]] = number
        local = spec["type"] == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"
        if local and not spec.get("healthCheckNodePort"):
            spec["healthCheckNodePort"] = self._free_port()
        elif not local:
            spec.pop("healthCheckNodePort", None)


def _addresses_of(service: Obj) -> list[IPv4Address | IPv6Address]:
    return [ip_address(a) for a in service["spec"].get("clusterIPs") or [] if a != "None"]


def _ports_of(service: Obj) -> list[int]:
    spec = service["spec"]
    ports = [p["nodePort"] for p in spec.get("ports") or [] if p.get("nodePort")]
    return [*ports, spec["healthCheckNodePort"]] if spec.get("healthCheckNodePort") else ports


def _defaults(spec: Obj) -> None:
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    if spec["sessionAffinity"] == "ClientIP":
        spec.setdefault("sessionAffinityConfig", {"clientIP": {"timeoutSeconds": 10800}})
    if spec["type"] != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if spec["type"] in _WITH_NODE_PORTS:
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    for port in spec.get("ports") or []:
        port.setdefault("protocol", "TCP")
        if port.get("targetPort") in (None, "", 0):
            port["targetPort"] = port["port"]


_OF_TYPE = {
    "externalTrafficPolicy": _WITH_NODE_PORTS,
    "healthCheckNodePort": ("LoadBalancer",),
    "allocateLoadBalancerNodePorts": ("LoadBalancer",),
    "loadBalancerClass": ("LoadBalancer",),
}


def drop_fields_of_other_types(spec: Obj, old: Obj) -> None:
    """A change of type takes along the fields that only the type before had, where they were left as they were."""
    for field, types in _OF_TYPE.items():
        if spec.get("type", "ClusterIP") not in types and spec.get(field) == old.get(field):
            spec.pop(field, None)


def _carry_over(spec: Obj, old: Obj) -> None:
    """An update that leaves out what the server allocated keeps it (patchAllocatedValues)."""
    if "ExternalName" not in (spec["type"], old["type"]):
        if spec.get("clusterIP") and spec["clusterIP"] != old.get("clusterIP"):
            spec["clusterIPs"] = [spec["clusterIP"], *(spec.get("clusterIPs") or [])[1:]]
        for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if not spec.get(field) and old.get(field):
                spec[field] = old[field]
    if spec["type"] in _WITH_NODE_PORTS and old["type"] in _WITH_NODE_PORTS:
        _carry_node_ports(spec.get("ports") or [], old.get("ports") or [])
        if spec["type"] == "LoadBalancer" and not spec.get("healthCheckNodePort"):
            spec["healthCheckNodePort"] = old.get("healthCheckNodePort", 0)


def _carry_node_ports(ports: list[Any], old: list[Any]) -> None:
    used = {port["nodePort"] for port in ports if port.get("nodePort")}
    had = {port.get("name", ""): port["nodePort"] for port in old if port.get("nodePort")}
    for port in ports:
        number = had.get(port.get("name", ""))
        if not port.get("nodePort") and number is not None and number not in used:
            port["nodePort"] = number
