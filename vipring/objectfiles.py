"""Kubernetes objects from YAML and JSON files, as the API server would hand them out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

import msgspec
import yaml

from cluster.objects import (
    ConfigMap,
    Endpoint,
    EndpointConditions,
    EndpointSlice,
    Node,
    Object,
    ObjectMeta,
    Service,
)

T = TypeVar("T", bound=Object)
Tree = Mapping[str, object]

SERVICE_NAME_LABEL: Final = "kubernetes.io/service-name"

_UNREAD = {"IPAddressPool", "L2Advertisement", "BGPAdvertisement", "BGPPeer", "BFDProfile", "Community"}
_IN_NAMESPACE = {"Service", "EndpointSlice", "Endpoints"}
# A Service read from the API always has a cluster address; these stand for the one it would get.
_CLUSTER_IPS = {4: "0.0.0.1", 6: "::1"}


class EndpointAddress(Object, frozen=True):
    """One address of an Endpoints subset."""

    ip: str = ""
    node_name: str | None = None


class EndpointSubset(Object, frozen=True):
    """One entry of Endpoints.subsets."""

    addresses: list[EndpointAddress] | None = None
    not_ready_addresses: list[EndpointAddress] | None = None


class Endpoints(Object, frozen=True):
    """A v1 Endpoints object; it has the name of its Service."""

    metadata: ObjectMeta = ObjectMeta()
    subsets: list[EndpointSubset] | None = None


@dataclass(slots=True)
class Objects:
    """What was found, by `namespace/name` (nodes by name); of an object given twice the last one counts.

    `errors` are one line each and name the file and the object.
    """

    services: dict[str, Service] = field(default_factory=dict)
    slices: dict[str, EndpointSlice] = field(default_factory=dict)
    endpoints: dict[str, Endpoints] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    config_maps: dict[str, ConfigMap] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def add(self, tree: object, where: str) -> None:
        """Take over one document: an object or a List of objects. Kinds that vipring does not read are passed over."""
        for kind, item in _items(tree):
            name = _name(kind, item)
            if kind == "" or (kind in _UNREAD and str(item.get("apiVersion", "")).startswith("metallb.io/")):
                text = "this kind is not read; pools are taken from the ConfigMap" if kind else "no kind"
                self.errors.append(f"{where}: {name}: {text}")
                continue
            try:
                self._store(kind, item)
            except msgspec.ValidationError as error:
                self.errors.append(f"{where}: {name}: {error}")

    def service_slices(self) -> Iterator[EndpointSlice]:
        """All EndpointSlices; for a Service that has none, those that its Endpoints object stands for."""
        yield from self.slices.values()
        served = {piece.service_key for piece in self.slices.values()}
        yield from (_as_slice(each) for key, each in self.endpoints.items() if key not in served)

    def _store(self, kind: str, tree: Tree) -> None:
        match kind:
            case "Service":
                _put(self.services, _with_cluster_ip(tree), Service, "default")
            case "EndpointSlice":
                _put(self.slices, tree, EndpointSlice, "default")
            case "Endpoints":
                _put(self.endpoints, tree, Endpoints, "default")
            case "Node":
                _put(self.nodes, tree, Node, "")
            case "ConfigMap":
                _put(self.config_maps, tree, ConfigMap, "")
            case _:
                pass


def load(documents: Iterable[tuple[str, str]]) -> Objects:
    """The objects in YAML or JSON texts, each given as (name of the file, text). Never raises for what they hold."""
    objects = Objects()
    for where, text in documents:
        try:
            for tree in yaml.load_all(text, Loader=_Loader):
                if tree is not None:
                    objects.add(tree, where)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            objects.errors.append(f"{where}: not YAML or JSON: {' '.join(str(error).split())}")
    return objects


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Kubernetes has no date type: a timestamp without quotes is text."""

    yaml_implicit_resolvers: Final = {
        first: [rule for rule in rules if rule[0] != "tag:yaml.org,2002:timestamp"]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _items(tree: object) -> Iterator[tuple[str, Tree]]:
    """(kind, object) of a document; the items of a ServiceList may leave their kind out."""
    if not isinstance(tree, dict):
        yield "", {}
        return
    kind = str(tree.get("kind", ""))
    items = tree.get("items")
    if not kind.endswith("List") or not isinstance(items, list):
        yield kind, tree
        return
    for item in items:
        for inner, found in _items(item):
            yield inner or kind.removesuffix("List"), found


def _name(kind: str, tree: Tree) -> str:
    metadata = tree.get("metadata")
    names = [metadata.get(part) for part in ("namespace", "name")] if isinstance(metadata, dict) else []
    return f"{kind or 'object'} {'/'.join(str(name) for name in names if name)}".rstrip()


def _put(store: dict[str, T], tree: Tree, model: type[T], namespace: str) -> None:
    """Decode one object into a store. Raises msgspec.ValidationError that names the field."""
    metadata = tree.get("metadata")
    if not isinstance(metadata, dict) or not metadata.get("name"):
        raise msgspec.ValidationError("metadata.name is missing")
    whole = {**tree, "metadata": {"namespace": namespace, **metadata}}
    decoded = msgspec.convert(_without_nulls(whole), model)
    meta = msgspec.convert(_without_nulls(whole["metadata"]), ObjectMeta)
    store[meta.key] = decoded


def _without_nulls(value: object) -> object:
    """A null in a manifest means the default, as for the API server."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _with_cluster_ip(tree: Tree) -> Tree:
    """A Service from a manifest, with the cluster address that the API server would give it.

    Its family is that of spec.ipFamilies, else of an address already in the status, else of
    spec.loadBalancerIP, else IPv4.
    """
    spec = tree.get("spec")
    if not isinstance(spec, dict) or spec.get("type") != "LoadBalancer" or "clusterIP" in spec:
        return tree
    families = spec.get("ipFamilies")
    if isinstance(families, list) and families:
        version = 6 if families[0] == "IPv6" else 4
    else:
        texts = [str(spec.get("loadBalancerIP", "")), *_ingress_texts(tree)]
        version = 6 if any(":" in text for text in texts) else 4
    return {**tree, "spec": {**spec, "clusterIP": _CLUSTER_IPS[version]}}


def _ingress_texts(tree: Tree) -> list[str]:
    """The addresses in the status of an object not yet decoded; none if it is malformed."""
    try:
        ingress = msgspec.convert(_without_nulls(tree), Service).status.load_balancer.ingress
    except msgspec.ValidationError:
        return []
    return [entry.ip for entry in ingress]


def _as_slice(endpoints: Endpoints) -> EndpointSlice:
    """What the API server mirrors an Endpoints object into."""
    found = [
        Endpoint([address.ip], EndpointConditions(ready=ready), address.node_name)
        for subset in endpoints.subsets or ()
        for ready, addresses in ((True, subset.addresses), (False, subset.not_ready_addresses))
        for address in addresses or ()
    ]
    metadata = msgspec.structs.replace(
        endpoints.metadata, labels={**endpoints.metadata.labels, SERVICE_NAME_LABEL: endpoints.metadata.name}
    )
    return EndpointSlice(metadata=metadata, endpoints=found)
