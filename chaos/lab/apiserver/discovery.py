"""What clients ask to learn which kinds there are: /version, /api, /apis and their aggregated form."""

from __future__ import annotations

import platform

from chaos.lab.apiserver.errors import Obj
from chaos.lab.apiserver.kinds import Kind, KindTable

GIT_VERSION = "v1.32.0"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_POST_ONLY = ("binding", "eviction", "token")
_FOREIGN = {
    "scale": ("autoscaling", "v1", "Scale"),
    "token": ("authentication.k8s.io", "v1", "TokenRequest"),
    "eviction": ("policy", "v1", "Eviction"),
}


def version() -> Obj:
    """GET /version. The minor version is the one whose behaviour this server follows."""
    return {
        "major": "1",
        "minor": "32",
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none",
        "compiler": f"python{platform.python_version()}",
        "platform": "linux/amd64",
    }


def api_versions() -> Obj:
    """GET /api."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def _group(name: str, versions: list[str]) -> Obj:
    entries = [{"groupVersion": f"{name}/{v}", "version": v} for v in versions]
    return {"name": name, "versions": entries, "preferredVersion": entries[0]}


def groups(kinds: KindTable) -> Obj:
    """GET /apis."""
    found = [_group(name, versions) for name, versions in kinds.group_versions().items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": found}


def group(kinds: KindTable, name: str) -> Obj | None:
    """GET /apis/GROUP."""
    versions = kinds.group_versions().get(name) if name else None
    return None if versions is None else {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)}


def _subresource_kinds(kind: Kind) -> list[tuple[str, tuple[str, str, str], tuple[str, ...]]]:
    """(name, (group, version, kind), verbs) of each subresource."""
    names = [
        *(["status"] if kind.status else []),
        *(["scale"] if kind.scale else []),
        *(n for n, _ in kind.other),
    ]
    own = dict(kind.other)
    found = []
    for name in names:
        gvk = _FOREIGN.get(name, (kind.group, kind.version, own.get(name, kind.kind)))
        if name in _POST_ONLY:
            verbs: tuple[str, ...] = ("create",)
        elif name == "log":
            verbs = ("get",)
        elif name == "proxy":
            verbs = ("create", "delete", "get", "patch", "update")
        else:
            verbs = ("get", "patch", "update")
        found.append((name, gvk, verbs))
    return found


def resources(kinds: KindTable, group_name: str, version_name: str) -> Obj | None:
    """GET /api/v1 or /apis/GROUP/VERSION."""
    served = list(kinds.of_version(group_name, version_name))
    if not served:
        return None
    entries: list[Obj] = []
    for kind in served:
        entry: Obj = {
            "name": kind.plural,
            "singularName": kind.singular or kind.kind.lower(),
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": list(_VERBS),
        }
        if kind.short_names:
            entry["shortNames"] = list(kind.short_names)
        if kind.categories:
            entry["categories"] = list(kind.categories)
        entries.append(entry)
        for name, (sub_group, sub_version, sub_kind), verbs in _subresource_kinds(kind):
            sub: Obj = {
                "name": f"{kind.plural}/{name}",
                "singularName": "",
                "namespaced": kind.namespaced,
                "kind": sub_kind,
                "verbs": list(verbs),
            }
            if (sub_group, sub_version) != (kind.group, kind.version):
                sub |= {"group": sub_group, "version": sub_version}
            entries.append(sub)
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": served[0].api_version,
        "resources": entries,
    }


def _unless_own(kind: Kind, of: tuple[str, str, str]) -> tuple[str, str, str]:
    """Group and version are left empty where they are those of the resource, as the API server does."""
    return ("", "", of[2]) if of[:2] == (kind.group, kind.version) else of


def _aggregated_kind(kind: Kind) -> Obj:
    def gvk(group_name: str, version_name: str, name: str) -> Obj:
        return {"group": group_name, "version": version_name, "kind": name}

    entry: Obj = {
        "resource": kind.plural,
        "responseKind": gvk("", "", kind.kind),
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular or kind.kind.lower(),
        "verbs": list(_VERBS),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    subresources = [
        {"subresource": name, "responseKind": gvk(*_unless_own(kind, of)), "verbs": list(verbs)}
        for name, of, verbs in _subresource_kinds(kind)
    ]
    if subresources:
        entry["subresources"] = subresources
    return entry


def aggregated(kinds: KindTable, *, core: bool) -> Obj:
    """GET /api or /apis in the form that holds everything at once (apidiscovery.k8s.io/v2)."""
    items = [
        {
            "metadata": {"name": name, "creationTimestamp": None},
            "versions": [
                {
                    "version": v,
                    "freshness": "Current",
                    "resources": [_aggregated_kind(kind) for kind in kinds.of_version(name, v)],
                }
                for v in versions
            ],
        }
        for name, versions in kinds.group_versions().items()
        if (name == "") is core
    ]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }
