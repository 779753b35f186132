"""What the write of one object does to others: namespaces, owners, pods on nodes, custom kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.lab.apiserver.defaults import apply_schema_defaults
from chaos.lab.apiserver.errors import Obj
from chaos.lab.apiserver.kinds import Kind, PrinterColumn
from chaos.lab.apiserver.revisions import Key, Record

if TYPE_CHECKING:
    from chaos.lab.apiserver.store import Store

CRD = "customresourcedefinitions.apiextensions.k8s.io"


class Owners:
    """Which objects name which uid as their owner."""

    def __init__(self) -> None:
        self._alive: set[str] = set()
        self._dependents: dict[str, set[tuple[str, Key]]] = {}

    def note(self, resource: str, record: Record, old: Record | None) -> None:
        """Book a stored version."""
        self._alive.add(record.obj["metadata"]["uid"])
        if old is not None:
            self._drop(resource, old)
        for uid in owner_uids(record.obj):
            self._dependents.setdefault(uid, set()).add((resource, record.key))

    def forget(self, resource: str, record: Record) -> None:
        """Book a removal."""
        self._alive.discard(record.obj["metadata"]["uid"])
        self._drop(resource, record)

    def _drop(self, resource: str, record: Record) -> None:
        for uid in owner_uids(record.obj):
            held = self._dependents.get(uid, set())
            held.discard((resource, record.key))
            if not held:
                self._dependents.pop(uid, None)

    def dependents(self, uid: str) -> list[tuple[str, Key]]:
        """Objects that name `uid` as an owner."""
        return sorted(self._dependents.get(uid, ()))

    def alive(self, uid: str) -> bool:
        """Is there an object of this uid?"""
        return uid in self._alive


def owner_uids(obj: Obj) -> list[str]:
    """The uids an object names as its owners."""
    return [
        str(o.get("uid", "")) for o in obj["metadata"].get("ownerReferences") or [] if isinstance(o, dict)
    ]


def terminating(record: Record) -> bool:
    """Is this object being deleted?"""
    return "deletionTimestamp" in record.obj["metadata"]


def finished(record: Record) -> bool:
    """Has an object that is being deleted nothing left to wait for?"""
    meta = record.obj["metadata"]
    if record.obj["kind"] == "Namespace":
        return False
    return terminating(record) and not meta.get("finalizers") and not meta.get("deletionGracePeriodSeconds")


def grace_period(kind: Kind, record: Record, asked: int | None) -> int:
    """Seconds that a DELETE leaves an object: none but for a Pod that runs on a node (pod strategy.go)."""
    if kind.resource != "pods":
        return 0
    spec, status = record.obj.get("spec") or {}, record.obj.get("status") or {}
    if not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
        return 0
    own = spec.get("terminationGracePeriodSeconds")
    return asked if asked is not None else own if isinstance(own, int) and own >= 0 else 30


# -- namespaces -------------------------------------------------------------------------------------------


def delete_namespace(store: Store, kind: Kind, record: Record) -> Record:
    """Mark a namespace, delete its content; it goes when the last object of it has gone."""
    if not terminating(record):
        record = store.mark_deleted(kind, record, 0)
        ending = {**record.obj, "status": {**record.obj.get("status", {}), "phase": "Terminating"}}
        record = store.revisions.put("namespaces", {**ending, "metadata": dict(record.obj["metadata"])})
    name = record.key[1]
    for inner in store.kinds.stored():
        if not inner.namespaced:
            continue
        for key in store.revisions.keys(inner.resource, name):
            if store.revisions.get(inner.resource, key) is not None:
                store.delete(inner, *key)
    return _finish_namespace(store, name) or record


def _finish_namespace(store: Store, name: str) -> Record | None:
    record = store.revisions.get("namespaces", ("", name))
    if record is None or not terminating(record):
        return None
    if any(k.namespaced and store.revisions.keys(k.resource, name) for k in store.kinds.stored()):
        return None
    return store.remove(store.kinds.by_resource("namespaces"), record)


def _fill_namespace(store: Store, name: str) -> None:
    """What the controller manager puts into every namespace."""
    for resource, obj in (
        ("serviceaccounts", {"metadata": {"name": "default"}}),
        ("configmaps", {"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": store.root_ca}}),
    ):
        store.create(store.kinds.by_resource(resource), name, obj)


# -- owners -----------------------------------------------------------------------------------------------


def orphan(store: Store, record: Record) -> None:
    """Take this owner out of its dependents, so that they outlive it."""
    uid = record.obj["metadata"]["uid"]
    for resource, key in store.owners.dependents(uid):
        dependent = store.revisions.get(resource, key)
        if dependent is None:
            continue
        meta = dependent.obj["metadata"]
        kept = [o for o in meta["ownerReferences"] if o.get("uid") != uid]
        changed = {**dependent.obj, "metadata": {**meta, "ownerReferences": kept}}
        store.update(store.kinds.by_resource(resource), *key, changed)


def _collect(store: Store, record: Record) -> None:
    for resource, key in store.owners.dependents(record.obj["metadata"]["uid"]):
        dependent = store.revisions.get(resource, key)
        if dependent is not None and not any(store.owners.alive(uid) for uid in owner_uids(dependent.obj)):
            store.delete(store.kinds.by_resource(resource), *key)


# -- custom kinds -----------------------------------------------------------------------------------------


def complete_definition(crd: Obj, now: str) -> None:
    """Accept a CustomResourceDefinition at once: its status says Established."""
    spec = crd["spec"]
    names = spec["names"]
    names.setdefault("singular", names["kind"].lower())
    names.setdefault("listKind", names["kind"] + "List")
    spec.setdefault("conversion", {"strategy": "None"})
    if crd["metadata"]["name"] != _defined(crd) or not custom_kinds(crd):
        raise ValueError(f"metadata.name must be {_defined(crd)!r}, and one version at least must be served")
    stored = [version["name"] for version in spec["versions"] if version.get("storage")]
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": now, "reason": reason, "message": text}
        for kind, reason, text in (
            ("NamesAccepted", "NoConflicts", "no conflicts found"),
            ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        )
    ]
    status = crd.get("status") or {}
    crd["status"] = {
        "conditions": status.get("conditions") or conditions,
        "acceptedNames": dict(names),
        "storedVersions": status.get("storedVersions") or stored,
    }


def custom_kinds(crd: Obj) -> list[Kind]:
    """The kinds that a definition asks to serve, the stored version first. Raises KeyError, TypeError …"""
    spec = crd["spec"]
    names = spec["names"]
    return [
        Kind(
            spec["group"],
            version["name"],
            names["kind"],
            names["plural"],
            namespaced=spec.get("scope", "Namespaced") == "Namespaced",
            short_names=tuple(names.get("shortNames") or ()),
            status="status" in (version.get("subresources") or {}),
            generation=True,
            categories=tuple(names.get("categories") or ()),
            custom=True,
            singular=names.get("singular", ""),
            list_kind=names.get("listKind", ""),
            columns=tuple(
                PrinterColumn(c["name"], c["type"], c["jsonPath"], int(c.get("priority", 0)))
                for c in version.get("additionalPrinterColumns") or []
            ),
        )
        for version in sorted(spec["versions"], key=lambda v: not v.get("storage"))
        if version.get("served")
    ]


def _serve(store: Store, crd: Obj) -> None:
    store.kinds.unregister(_defined(crd))
    for kind in custom_kinds(crd):
        store.kinds.register(kind)


def _defined(crd: Obj) -> str:
    return f"{crd['spec']['names']['plural']}.{crd['spec']['group']}"


def custom_defaults(store: Store, kind: Kind, obj: Obj) -> None:
    """Fill in the defaults that the schema of a custom kind names."""
    if not kind.custom:
        return
    record = store.revisions.get(CRD, ("", kind.resource))
    for version in record.obj["spec"]["versions"] if record is not None else ():
        if version["name"] == kind.version:
            schema = (version.get("schema") or {}).get("openAPIV3Schema") or {}
            for field, inner in (schema.get("properties") or {}).items():
                if field not in ("apiVersion", "kind", "metadata"):
                    apply_schema_defaults({"properties": {field: inner}}, obj)


# -- after a write ----------------------------------------------------------------------------------------


def after_write(store: Store, kind: Kind, record: Record, old: Record | None) -> None:
    """Consequences of a stored version."""
    if kind.resource == CRD:
        _serve(store, record.obj)
    elif kind.resource == "namespaces" and old is None:
        _fill_namespace(store, record.key[1])


def after_remove(store: Store, kind: Kind, record: Record) -> None:
    """Consequences of a removal."""
    if kind.resource == CRD:
        resource = _defined(record.obj)
        for custom in [k for k in store.kinds.stored() if k.resource == resource]:
            for key in store.revisions.keys(resource):
                store.delete(custom, *key)
        store.kinds.unregister(resource)
    _collect(store, record)
    if kind.namespaced:
        _finish_namespace(store, record.key[0])
