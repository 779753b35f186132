"""A store with a clock and uids that tests know."""

from __future__ import annotations

import itertools
import random
from typing import Any

from chaos.lab.apiserver.kinds import Kind
from chaos.lab.apiserver.revisions import Record
from chaos.lab.apiserver.store import Store

Obj = dict[str, Any]
NOW = "2026-01-02T03:04:05Z"


def make_store(**options: Any) -> Store:
    """A store with one namespace, `ns`."""
    numbers = itertools.count(1)
    store = Store(clock=lambda: NOW, uid=lambda: f"uid-{next(numbers)}", rng=random.Random(1), **options)
    store.create(store.kinds.by_resource("namespaces"), "", {"metadata": {"name": "ns"}})
    return store


def kind(store: Store, resource: str) -> Kind:
    """A served kind by its resource."""
    return store.kinds.by_resource(resource)


def create(store: Store, resource: str, name: str, **fields: Any) -> Record:
    """Create an object in `ns`; `meta` holds further metadata."""
    meta = {"name": name, **fields.pop("meta", {})}
    return store.create(kind(store, resource), "ns", {"metadata": meta, **fields})


def names(store: Store, resource: str) -> list[str]:
    """Names of the objects of a resource in `ns`."""
    return [name for _, name in store.revisions.keys(resource, "ns")]


def pod(store: Store, name: str, node: str = "", **meta: Any) -> Record:
    """A Pod with one container."""
    spec: Obj = {"containers": [{"name": "main", "image": "nginx:1"}], "terminationGracePeriodSeconds": 10}
    if node:
        spec["nodeName"] = node
    return create(store, "pods", name, spec=spec, meta=meta)


def owned_by(*owners: Record) -> list[Obj]:
    """ownerReferences."""
    return [
        {
            "apiVersion": owner.obj["apiVersion"],
            "kind": owner.obj["kind"],
            "name": owner.key[1],
            "uid": owner.obj["metadata"]["uid"],
        }
        for owner in owners
    ]
