"""Strategic merge patch and server-side apply: merging that knows which lists are really maps.

The list keys are those of the patchMergeKey tags of k8s.io/api; directives are those of apimachinery's
strategicpatch/patch.go.
"""

from __future__ import annotations

import copy
from typing import Any

from chaos.lab.apiserver.errors import Obj, StatusError, bad_request
from chaos.lab.apiserver.kinds import Kind

_CONTAINER_LISTS = ("containers", "initContainers", "ephemeralContainers")
_ORDER = "$setElementOrder/"
_DELETE_PRIMITIVES = "$deleteFromPrimitiveList/"
_MERGE_KEYS = {
    **dict.fromkeys(_CONTAINER_LISTS, "name"),
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "podIPs": "ip",
    "conditions": "type",
    "ownerReferences": "uid",
    "topologySpreadConstraints": "topologyKey",
    "secrets": "name",
    "webhooks": "name",
}


def merge_key(kind: Kind, path: tuple[str, ...]) -> str | None:
    """Field that identifies the elements of the list at `path`; None for a list that is replaced whole."""
    name = path[-1]
    if name == "ports":
        if len(path) > 1 and path[-2] in _CONTAINER_LISTS:
            return "containerPort"
        return "port" if kind.kind == "Service" and path == ("spec", "ports") else None
    if name == "addresses":
        return "type" if kind.kind == "Node" else None
    return _MERGE_KEYS.get(name)


def _merges_primitives(path: tuple[str, ...]) -> bool:
    return path in (("metadata", "finalizers"), ("spec", "podCIDRs"))


def _ordered(items: list[Any], order: list[Any], key: str | None) -> list[Any]:
    """Items named by `order` in its order, each of the others behind the item it stood behind."""

    def ident(item: Any) -> Any:
        return item.get(key) if key is not None and isinstance(item, dict) else item

    wanted = [ident(item) for item in order]
    named = sorted(
        (item for item in items if ident(item) in wanted), key=lambda item: wanted.index(ident(item))
    )
    at = 0
    result: list[Any] = []
    for item in items:
        if ident(item) in wanted:
            result.append(named[at])
            at += 1
        else:
            result.append(item)
    return result


class StrategicMerge:
    """Merges patches into objects of one kind."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    def merge(self, target: Any, patch: Obj, path: tuple[str, ...] = ()) -> Any:
        """`target` with `patch` merged in; neither is changed. Raises StatusError 400 for a bad directive."""
        directive = patch.get("$patch")
        if directive == "replace":
            return copy.deepcopy({k: v for k, v in patch.items() if k != "$patch"})
        if directive == "delete":
            return {}
        if directive not in (None, "merge"):
            raise bad_request(f"strategic merge patch: unknown $patch directive {directive!r}")
        result: Obj = dict(target) if isinstance(target, dict) else {}
        retained = patch.get("$retainKeys")
        if isinstance(retained, list):
            result = {k: v for k, v in result.items() if k in retained}
        for name, value in patch.items():
            if name.startswith("$"):
                continue
            here = (*path, name)
            if value is None:
                result.pop(name, None)
            elif isinstance(value, dict):
                result[name] = self.merge(result.get(name), value, here)
            elif isinstance(value, list):
                result[name] = self._merge_list(result.get(name), value, here)
            else:
                result[name] = value
        self._finish_lists(result, patch, path)
        return result

    def _finish_lists(self, result: Obj, patch: Obj, path: tuple[str, ...]) -> None:
        for name, value in patch.items():
            if name.startswith(_DELETE_PRIMITIVES) and isinstance(value, list):
                field = name.removeprefix(_DELETE_PRIMITIVES)
                if isinstance(result.get(field), list):
                    added = patch.get(field) or []
                    result[field] = [v for v in result[field] if v not in value or v in added]
        for name, value in patch.items():
            if name.startswith(_ORDER) and isinstance(value, list):
                field = name.removeprefix(_ORDER)
                if isinstance(result.get(field), list):
                    result[field] = _ordered(result[field], value, merge_key(self._kind, (*path, field)))

    def _merge_list(self, target: Any, patch: list[Any], path: tuple[str, ...]) -> list[Any]:
        old = list(target) if isinstance(target, list) else []
        key = merge_key(self._kind, path)
        if key is None or not all(isinstance(item, dict) for item in patch):
            if _merges_primitives(path):
                return old + [item for item in patch if item not in old]
            return copy.deepcopy(patch)
        if any(item.get("$patch") == "replace" for item in patch):
            return copy.deepcopy([item for item in patch if "$patch" not in item])
        for item in patch:
            ident = item.get(key)
            if ident is None:
                raise bad_request(f"map: {item} does not contain declared merge key: {key}")
            at = next(
                (i for i, had in enumerate(old) if isinstance(had, dict) and had.get(key) == ident), None
            )
            if item.get("$patch") == "delete":
                old = [had for had in old if not (isinstance(had, dict) and had.get(key) == ident)]
            elif at is None:
                old.append(self.merge({}, item, path))
            else:
                old[at] = self.merge(old[at], item, path)
        return old


def strategic_merge(kind: Kind, target: Obj, patch: Any) -> Obj:
    """`application/strategic-merge-patch+json`. Raises StatusError 400, or 415 for a custom resource."""
    if kind.custom:
        raise StatusError(
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: "
            "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
        )
    if not isinstance(patch, dict):
        raise bad_request("strategic merge patch: the body must be an object")
    merged: Obj = StrategicMerge(kind).merge(target, patch)
    return merged


def _removals(kind: Kind, last: Obj, wanted: Obj, path: tuple[str, ...] = ()) -> Obj:
    """A strategic patch that removes what `last` held and `wanted` does not."""
    patch: Obj = {}
    for name, was in last.items():
        now = wanted.get(name)
        here = (*path, name)
        if name not in wanted:
            patch[name] = None
        elif isinstance(was, dict) and isinstance(now, dict):
            if inner := _removals(kind, was, now, here):
                patch[name] = inner
        elif isinstance(was, list) and isinstance(now, list) and (key := merge_key(kind, here)) is not None:
            kept = {item.get(key): item for item in now}
            gone = [{key: item[key], "$patch": "delete"} for item in was if item.get(key) not in kept]
            changed = [
                {key: item[key], **inner}
                for item in was
                if item.get(key) in kept and (inner := _removals(kind, item, kept[item[key]], here))
            ]
            if gone or changed:
                patch[name] = [*gone, *changed]
    return patch


def apply_merge(kind: Kind, live: Obj, last: Obj | None, wanted: Obj) -> Obj:
    """Server-side apply: what the manager applied last and no longer wants goes, what it wants is merged in.

    Fields are not tracked by owner, so there are no conflicts: the last applier wins.
    """
    merge = StrategicMerge(kind)
    if last is not None:
        live = merge.merge(live, _removals(kind, last, wanted))
    merged: Obj = merge.merge(live, wanted)
    return merged
