"""The meaning of the API verbs: what a create, update, patch or delete does to the stored objects.

Pure: the clock, the source of uids and the random numbers for generated names are handed in.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Literal

from chaos.lab.apiserver import lifecycle
from chaos.lab.apiserver.defaults import DEFAULTERS
from chaos.lab.apiserver.errors import (
    Obj,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    not_found,
)
from chaos.lab.apiserver.kinds import Kind, KindTable
from chaos.lab.apiserver.patch import json_patch, merge_patch
from chaos.lab.apiserver.revisions import Key, Record, Revisions, encode
from chaos.lab.apiserver.services import ServiceAllocator, drop_fields_of_other_types
from chaos.lab.apiserver.strategic import apply_merge, strategic_merge
from chaos.lab.apiserver.validate import validate, validate_change

PatchType = Literal["json", "merge", "strategic", "apply"]
_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
_SYSTEM_FIELDS = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds")
SERVICE_NETWORK = IPv4Network("198.19.128.0/17")


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """What a DELETE may ask for. `grace_s` None: the object's own grace period."""

    grace_s: int | None = None
    propagation: str = "Background"
    uid: str | None = None
    version: str | None = None
    dry_run: bool = False


class Store:
    """All objects of the cluster. Every refusal is a StatusError."""

    def __init__(
        self,
        *,
        clock: Callable[[], str],
        uid: Callable[[], str],
        rng: random.Random,
        service_networks: Sequence[IPv4Network | IPv6Network] = (SERVICE_NETWORK,),
        history: int = 4096,
        root_ca: str = "",
    ) -> None:
        self.kinds = KindTable()
        self.revisions = Revisions(history=history)
        self.root_ca = root_ca
        self.services = ServiceAllocator(service_networks)
        self.owners = lifecycle.Owners()
        self._clock = clock
        self._uid = uid
        self._rng = rng
        self._applied: dict[tuple[str, Key], dict[str, Obj]] = {}

    # -- reading ------------------------------------------------------------------------------------------

    def get(self, kind: Kind, namespace: str, name: str) -> Record:
        """One object. Raises StatusError 404."""
        record = self.revisions.get(kind.resource, (namespace, name))
        if record is None:
            raise not_found(kind, name)
        return record

    # -- creating -----------------------------------------------------------------------------------------

    def create(self, kind: Kind, namespace: str, obj: Obj, *, dry_run: bool = False) -> Record:
        """POST. `obj` is copied; `namespace` is that of the path ("" for a cluster-wide kind)."""
        new = self._typed(kind, obj)
        meta = new["metadata"]
        if kind.namespaced:
            if meta.setdefault("namespace", namespace) != namespace:
                raise bad_request(
                    f"the namespace of the provided object does not match the namespace sent on the request: "
                    f"{meta['namespace']!r} != {namespace!r}"
                )
            self._check_namespace(kind, namespace, meta.get("name") or meta.get("generateName", ""))
        else:
            meta.pop("namespace", None)
        if meta.get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = f"{meta['generateName'][:58]}{''.join(self._rng.choices(_SUFFIX, k=5))}"
        for field in (*_SYSTEM_FIELDS, "managedFields", "selfLink"):
            meta.pop(field, None)
        if kind.status:
            new.pop("status", None)
        self._complete(kind, new, None)
        if self.revisions.get(kind.resource, (namespace, meta["name"])) is not None:
            raise already_exists(kind, meta["name"])
        meta["uid"] = self._uid()
        meta["creationTimestamp"] = self._clock()
        if kind.generation:
            meta["generation"] = 1
        return self._write(kind, None, new, dry_run=dry_run)

    def _typed(self, kind: Kind, obj: Any) -> Obj:
        if not isinstance(obj, dict):
            raise bad_request("the body of the request must be an object")
        for field, expected in (("apiVersion", kind.api_version), ("kind", kind.kind)):
            given = obj.get(field) or expected
            if given != expected:
                raise bad_request(
                    f"the {field} in the data ({given}) does not match the expected one ({expected})"
                )
        rest = {k: copy.deepcopy(v) for k, v in obj.items() if k not in ("apiVersion", "kind", "metadata")}
        meta = copy.deepcopy(obj.get("metadata") or {})
        if not isinstance(meta, dict) or not all(
            isinstance(meta.get(f, ""), str) for f in ("name", "namespace", "generateName")
        ):
            raise bad_request("metadata must be an object; its name, namespace and generateName strings")
        for field in ("spec", "status"):
            if rest.get(field) is not None and not isinstance(rest[field], dict):
                raise bad_request(f"{field} must be an object")
        return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": meta, **rest}

    def _check_namespace(self, kind: Kind, namespace: str, name: str) -> None:
        record = self.revisions.get("namespaces", ("", namespace))
        if record is None:
            raise not_found(self.kinds.by_resource("namespaces"), namespace)
        if lifecycle.terminating(record):
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            causes = [{"reason": "NamespaceTerminating", "message": why, "field": "metadata.namespace"}]
            raise forbidden(kind, name, why, {"causes": causes})

    def _complete(self, kind: Kind, new: Obj, old: Obj | None) -> None:
        """Defaults, then validation, then allocation."""
        try:
            default = DEFAULTERS.get(kind.resource)
            if default is not None:
                default(new)
            lifecycle.custom_defaults(self, kind, new)
            if kind.resource == "services" and old is not None:
                drop_fields_of_other_types(new["spec"], old["spec"])
            validate(kind, new)
            if kind.resource == "services":
                self.services.fill(kind, new, old)
            if old is not None:
                validate_change(kind, new, old)
            if kind.resource == "customresourcedefinitions.apiextensions.k8s.io":
                lifecycle.complete_definition(new, self._clock())
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise bad_request(
                f"{kind.kind} in version {kind.version!r} cannot be handled as a {kind.kind}: {error!r}"
            ) from error

    # -- changing -----------------------------------------------------------------------------------------

    def update(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        obj: Obj,
        *,
        status: bool = False,
        dry_run: bool = False,
    ) -> Record:
        """PUT of the object, or of its /status. An empty resourceVersion overwrites unconditionally.

        A PUT to a name that is not there creates, for some kinds, unless the body has a uid. This holds for
        /status too, whatever resourceVersion says (registry/generic/registry/store.go): a writer of status that
        leaves out the uid brings deleted Services back.
        """
        new = self._typed(kind, obj)
        if kind.create_on_put and self.revisions.get(kind.resource, (namespace, name)) is None:
            return self._create_by_put(kind, namespace, name, new, dry_run=dry_run)
        old = self.get(kind, namespace, name)
        return self._replace(kind, old, new, status=status, dry_run=dry_run)

    def _create_by_put(self, kind: Kind, namespace: str, name: str, new: Obj, *, dry_run: bool) -> Record:
        uid = new["metadata"].get("uid")
        if uid:
            raise conflict(
                kind, name, f"Precondition failed: UID in precondition: {uid}, UID in object meta: "
            )
        new["metadata"].pop("resourceVersion", None)
        if new["metadata"].setdefault("name", name) != name:
            raise bad_request(f"the name of the object does not match the name on the URL ({name})")
        return self.create(kind, namespace, new, dry_run=dry_run)

    def _replace(self, kind: Kind, old: Record, new: Obj, *, status: bool, dry_run: bool) -> Record:
        name = old.key[1]
        meta, before = new["metadata"], old.obj["metadata"]
        for field in ("name", "namespace"):
            given = meta.get(field) or before.get(field)
            if given != before.get(field):
                raise bad_request(
                    f"the {field} of the object ({given}) does not match the {field} on the URL ({before.get(field)})"
                )
        if meta.get("resourceVersion") and meta["resourceVersion"] != before["resourceVersion"]:
            raise conflict(kind, name)
        if meta.get("uid") and meta["uid"] != before["uid"]:
            why = f"Precondition failed: UID in precondition: {meta['uid']}, UID in object meta: {before['uid']}"
            raise conflict(kind, name, why)
        if status:
            rest = {k: v for k, v in old.obj.items() if k != "status"}
            new = {**copy.deepcopy(rest), "status": new.get("status") or {}}
            if kind.resource == "services" and new["spec"].get("type") != "LoadBalancer":
                new["status"] = {**new["status"], "loadBalancer": {}}
        else:
            new["metadata"] = meta = {k: v for k, v in meta.items() if k not in ("managedFields", "selfLink")}
            for field in ("name", "namespace", *_SYSTEM_FIELDS):
                meta.pop(field, None)
                if field in before:
                    meta[field] = before[field]
            if kind.status:
                new.pop("status", None)
                if "status" in old.obj:
                    new["status"] = copy.deepcopy(old.obj["status"])
            self._complete(kind, new, old.obj)
            if kind.generation and _content(new) != _content(old.obj):
                meta["generation"] = before.get("generation", 0) + 1
        new["metadata"]["resourceVersion"] = before["resourceVersion"]
        record = self._write(kind, old, new, dry_run=dry_run)
        if not dry_run and lifecycle.finished(record):
            return self.remove(kind, record)
        return record

    def patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        patch: Any,
        how: PatchType,
        *,
        status: bool = False,
        manager: str = "",
        dry_run: bool = False,
    ) -> Record:
        """PATCH of the object, or of its /status. `manager` is the fieldManager of an apply."""
        key = (namespace, name)
        old = self.revisions.get(kind.resource, key)
        if how == "apply":
            return self._apply(kind, key, old, patch, status=status, manager=manager, dry_run=dry_run)
        if old is None:
            raise not_found(kind, name)
        if how == "json":
            new = json_patch(old.obj, patch)
        elif how == "merge":
            if not isinstance(patch, dict):
                raise bad_request("merge patch: the body must be an object")
            new = merge_patch(old.obj, patch)
        else:
            new = strategic_merge(kind, old.obj, patch)
        return self._replace(kind, old, self._retyped(kind, new, patch), status=status, dry_run=dry_run)

    def _retyped(self, kind: Kind, new: Obj, patch: Any) -> Obj:
        """A patched object. Its version is a precondition only where the patch itself names one."""
        new = self._typed(kind, new)
        named = isinstance(patch, list) or "resourceVersion" in (patch.get("metadata") or {})
        if not named:
            new["metadata"].pop("resourceVersion", None)
        return new

    def _apply(
        self,
        kind: Kind,
        key: Key,
        old: Record | None,
        wanted: Any,
        *,
        status: bool,
        manager: str,
        dry_run: bool,
    ) -> Record:
        if not manager:
            raise bad_request("fieldManager is required for apply patch")
        wanted = self._typed(kind, wanted)
        wanted["metadata"].pop("managedFields", None)
        if old is None:
            if status:
                raise not_found(kind, key[1])
            wanted["metadata"].setdefault("name", key[1])
            record = self.create(kind, key[0], wanted, dry_run=dry_run)
        else:
            slot = f"{manager}/status" if status else manager
            last = self._applied.get((kind.resource, key), {}).get(slot)
            new = self._retyped(kind, apply_merge(kind, old.obj, last, wanted), wanted)
            record = self._replace(kind, old, new, status=status, dry_run=dry_run)
        if not dry_run:
            slots = self._applied.setdefault((kind.resource, key), {})
            slots[f"{manager}/status" if status else manager] = wanted
        return record

    def _write(self, kind: Kind, old: Record | None, new: Obj, *, dry_run: bool) -> Record:
        if old is not None and new == old.obj:
            return old
        if dry_run:
            return encode(new)
        record = self.revisions.put(kind.resource, new)
        if kind.resource == "services":
            self.services.commit(record.key, record.obj, old.obj if old else None)
        self.owners.note(kind.resource, record, old)
        lifecycle.after_write(self, kind, record, old)
        return record

    # -- deleting -----------------------------------------------------------------------------------------

    def delete(
        self, kind: Kind, namespace: str, name: str, options: DeleteOptions = DeleteOptions()
    ) -> Record:
        """DELETE. The record is the last version, or the one that waits for its finalizers or its node.

        A Pod on a node waits for a second DELETE with grace 0, which its node sends when it has stopped.
        """
        record = self.get(kind, namespace, name)
        meta = record.obj["metadata"]
        if options.uid and options.uid != meta["uid"]:
            raise conflict(
                kind,
                name,
                f"Precondition failed: UID in precondition: {options.uid}, UID in object meta: {meta['uid']}",
            )
        if options.version and options.version != record.version:
            raise conflict(kind, name, "Precondition failed: resourceVersion does not match")
        if kind.resource == "namespaces" and name in ("default", "kube-system", "kube-public"):
            raise forbidden(kind, name, "this namespace may not be deleted")
        if options.dry_run:
            return record
        if options.propagation == "Orphan":
            lifecycle.orphan(self, record)
        if kind.resource == "namespaces":
            return lifecycle.delete_namespace(self, kind, record)
        grace = lifecycle.grace_period(kind, record, options.grace_s)
        if grace or meta.get("finalizers"):
            return self.mark_deleted(kind, record, grace)
        return self.remove(kind, record)

    def mark_deleted(self, kind: Kind, record: Record, grace_s: int) -> Record:
        """Set the deletion timestamp; a later, shorter grace period shortens."""
        meta = record.obj["metadata"]
        if "deletionTimestamp" in meta and meta.get("deletionGracePeriodSeconds", 0) <= grace_s:
            return record
        new = {**record.obj, "metadata": {**meta, "deletionGracePeriodSeconds": grace_s}}
        new["metadata"].setdefault("deletionTimestamp", self._clock())
        return self._write(kind, record, new, dry_run=False)

    def remove(self, kind: Kind, record: Record) -> Record:
        """Take an object away at once, then what it owned and what waited for it."""
        last = self.revisions.remove(kind.resource, record.key)
        self._applied.pop((kind.resource, record.key), None)
        if kind.resource == "services":
            self.services.free(record.obj)
        self.owners.forget(kind.resource, record)
        lifecycle.after_remove(self, kind, record)
        return last


def _content(obj: Obj) -> Obj:
    return {k: v for k, v in obj.items() if k not in ("metadata", "status")}
