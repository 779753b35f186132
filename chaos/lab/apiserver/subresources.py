"""Subresources that are views or actions: scale, binding, eviction, token."""

from __future__ import annotations

from typing import Any

from chaos.lab.apiserver.errors import Obj, StatusError, bad_request, method_not_allowed
from chaos.lab.apiserver.kinds import Kind
from chaos.lab.apiserver.patch import json_patch, merge_patch
from chaos.lab.apiserver.revisions import Record
from chaos.lab.apiserver.store import DeleteOptions, PatchType, Store


def _selector_text(obj: Obj) -> str:
    labels = ((obj.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    return ",".join(f"{k}={v}" for k, v in sorted(labels.items()))


def get_scale(record: Record) -> Obj:
    """The autoscaling/v1 Scale of a Deployment or ReplicaSet."""
    meta, spec, status = record.obj["metadata"], record.obj["spec"], record.obj.get("status") or {}
    names = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: meta[name] for name in names},
        "spec": {"replicas": spec.get("replicas", 0)},
        "status": {"replicas": status.get("replicas", 0), "selector": _selector_text(record.obj)},
    }


def set_scale(store: Store, kind: Kind, record: Record, scale: Any, *, dry_run: bool) -> Record:
    """PUT of a Scale. Raises StatusError 400 or 409."""
    replicas = (scale.get("spec") or {}).get("replicas", 0) if isinstance(scale, dict) else None
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
        raise bad_request(f"spec.replicas: {replicas!r} must be a whole number, 0 or greater")
    version = (scale.get("metadata") or {}).get("resourceVersion")
    changed = {**record.obj, "spec": {**record.obj["spec"], "replicas": replicas}}
    changed["metadata"] = {**record.obj["metadata"], "resourceVersion": version or record.version}
    return store.update(kind, *record.key, changed, dry_run=dry_run)


def patch_scale(
    store: Store, kind: Kind, record: Record, patch: Any, how: PatchType, *, dry_run: bool
) -> Record:
    """PATCH of a Scale."""
    before = get_scale(record)
    after = json_patch(before, patch) if how == "json" else merge_patch(before, patch)
    return set_scale(store, kind, record, after, dry_run=dry_run)


def bind(store: Store, kind: Kind, record: Record, binding: Any) -> None:
    """POST of a Binding: the scheduler's word on where a Pod runs."""
    target = ((binding.get("target") or {}) if isinstance(binding, dict) else {}).get("name")
    if not isinstance(target, str) or not target:
        raise bad_request("target.name: the name of a node is required")
    bound = {**record.obj, "spec": {**record.obj["spec"], "nodeName": target}}
    store.update(kind, *record.key, bound)


def act(store: Store, kind: Kind, record: Record, subresource: str, body: Any) -> Obj:
    """POST to a subresource that is an action on an object. Raises StatusError 405 for any other."""
    if subresource == "binding":
        bind(store, kind, record, body)
    elif subresource == "eviction":
        store.delete(kind, *record.key, delete_options((body or {}).get("deleteOptions"), {}))
    else:
        raise method_not_allowed()
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


def delete_options(body: Any, query: dict[str, str]) -> DeleteOptions:
    """The options of a DELETE, from its body or its parameters. Raises StatusError 400."""
    given = body if isinstance(body, dict) else {}
    grace = given.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
    if isinstance(grace, str):
        grace = int(grace) if grace.isdigit() else -1
    if grace is not None and (not isinstance(grace, int) or grace < 0):
        raise bad_request("gracePeriodSeconds must be a whole number, 0 or greater")
    policy = given.get("propagationPolicy") or query.get("propagationPolicy") or ""
    if given.get("orphanDependents") is True:
        policy = "Orphan"
    if policy not in ("", "Background", "Foreground", "Orphan"):
        raise StatusError(
            422, "Invalid", f"propagationPolicy: {policy!r} must be Background, Foreground or Orphan"
        )
    preconditions = given.get("preconditions") or {}
    return DeleteOptions(
        grace_s=grace,
        propagation=policy or "Background",
        uid=preconditions.get("uid"),
        version=preconditions.get("resourceVersion"),
        dry_run=bool(given.get("dryRun") or query.get("dryRun")),
    )
