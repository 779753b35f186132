"""What the speaker and the controller know of the cluster: objects by key, indexes between them, and what
changed.

One task feeds it; the objects in it are immutable. The cost of a change does not depend on the number of
objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias, TypeVar, assert_never

import msgspec

from cluster.objects import EndpointSlice, Node, Service
from cluster.watch import Deleted, Synced, Upserted

Known: TypeAlias = Service | EndpointSlice | Node
S = TypeVar("S", Service, EndpointSlice, Node)


@dataclass(frozen=True, slots=True)
class Changes:
    """Keys to look at again, changed or gone: Services (themselves or their EndpointSlices) and Nodes."""

    services: frozenset[str] = frozenset()
    nodes: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.services or self.nodes)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All objects at one moment; later changes of the World do not show in it."""

    services: Mapping[str, Service]
    slices: Mapping[str, tuple[EndpointSlice, ...]]
    nodes: Mapping[str, Node]


class World:
    """Services, EndpointSlices by Service, and Nodes.

    A new resourceVersion alone (a node's heartbeat, another writer's field that nobody here reads) is no
    change.
    """

    def __init__(self) -> None:
        self._services: dict[str, Service] = {}
        self._nodes: dict[str, Node] = {}
        self._slices: dict[str, dict[str, EndpointSlice]] = {}
        self._slice_owner: dict[str, str] = {}
        self._changed_services: set[str] = set()
        self._changed_nodes: set[str] = set()

    @property
    def services(self) -> Mapping[str, Service]:
        """Services by `namespace/name`, a live read-only view."""
        return MappingProxyType(self._services)

    @property
    def nodes(self) -> Mapping[str, Node]:
        """Nodes by name, a live read-only view."""
        return MappingProxyType(self._nodes)

    def slices(self, service_key: str) -> tuple[EndpointSlice, ...]:
        """The EndpointSlices of a Service, ordered by name."""
        by_key = self._slices.get(service_key, {})
        return tuple(by_key[key] for key in sorted(by_key))

    def apply(self, change: Synced | Upserted[S] | Deleted[S]) -> None:
        """Take over one change of a reflector; `Synced` changes nothing here."""
        match change:
            case Upserted(obj=obj):
                self.put(obj)
            case Deleted(obj=obj):
                self.remove(obj)
            case Synced():
                pass

    def put(self, obj: Known) -> None:
        """The object is there, in this version."""
        key = obj.metadata.key
        match obj:
            case Service():
                if not _same(self._services.get(key), obj):
                    self._changed_services.add(key)
                self._services[key] = obj
            case Node():
                if not _same(self._nodes.get(key), obj):
                    self._changed_nodes.add(key)
                self._nodes[key] = obj
            case EndpointSlice():
                self._put_slice(key, obj)
            case _:
                assert_never(obj)

    def remove(self, obj: Known) -> None:
        """The object is gone."""
        key = obj.metadata.key
        match obj:
            case Service():
                if self._services.pop(key, None) is not None:
                    self._changed_services.add(key)
            case Node():
                if self._nodes.pop(key, None) is not None:
                    self._changed_nodes.add(key)
            case EndpointSlice():
                self._remove_slice(key)
            case _:
                assert_never(obj)

    def take_changes(self) -> Changes:
        """What changed since the last call."""
        changes = Changes(frozenset(self._changed_services), frozenset(self._changed_nodes))
        self._changed_services.clear()
        self._changed_nodes.clear()
        return changes

    def snapshot(self) -> Snapshot:
        """A copy that stays as it is."""
        return Snapshot(
            MappingProxyType(dict(self._services)),
            MappingProxyType({key: self.slices(key) for key in self._slices}),
            MappingProxyType(dict(self._nodes)),
        )

    def _put_slice(self, key: str, obj: EndpointSlice) -> None:
        owner = obj.service_key
        if self._slice_owner.get(key) != owner:
            self._remove_slice(key)
        if owner is None:
            return
        by_key = self._slices.setdefault(owner, {})
        if not _same(by_key.get(key), obj):
            self._changed_services.add(owner)
        by_key[key] = obj
        self._slice_owner[key] = owner

    def _remove_slice(self, key: str) -> None:
        owner = self._slice_owner.pop(key, None)
        if owner is None:
            return
        by_key = self._slices[owner]
        del by_key[key]
        if not by_key:
            del self._slices[owner]
        self._changed_services.add(owner)


def _same(old: S | None, obj: S) -> bool:
    """Whether two versions differ in nothing but their version numbers."""
    if old is None:
        return False
    metadata = msgspec.structs.replace(
        old.metadata, resource_version=obj.metadata.resource_version, generation=obj.metadata.generation
    )
    return msgspec.structs.replace(old, metadata=metadata) == obj
