"""From a request's method and path to what it means (apiserver requestinfo.go). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from chaos.lab.apiserver.errors import method_not_allowed, no_such_path
from chaos.lab.apiserver.kinds import Kind, KindTable

Verb = Literal["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"]


@dataclass(frozen=True, slots=True)
class ResourceRequest:
    """One request for objects.

    `tail` is the rest of the path behind `…/proxy/`; `only` the name that the field selector of a list or
    watch asks for, which counts as its name where access is decided.
    """

    verb: Verb
    kind: Kind
    namespace: str | None
    name: str
    subresource: str
    tail: str = ""
    only: str = ""

    @property
    def counted_as(self) -> str:
        """`services`, `services/status` …: the name that request counters use."""
        return f"{self.kind.resource}/{self.subresource}" if self.subresource else self.kind.resource


def _verb(method: str, *, one: bool, watch: bool) -> Verb:
    match method, one:
        case (("GET" | "HEAD"), True):
            return "get"
        case (("GET" | "HEAD"), False):
            return "watch" if watch else "list"
        case "POST", _:
            return "create"
        case "PUT", True:
            return "update"
        case "PATCH", True:
            return "patch"
        case "DELETE", True:
            return "delete"
        case "DELETE", False:
            return "deletecollection"
        case _:
            raise method_not_allowed()


def _subresources(kind: Kind) -> set[str]:
    names = {name for name, _ in kind.other}
    return names | ({"status"} if kind.status else set()) | ({"scale"} if kind.scale else set())


def _selected_name(query: Mapping[str, str]) -> str:
    for term in query.get("fieldSelector", "").split(","):
        field, _, value = term.replace("==", "=").partition("=")
        if field.strip() == "metadata.name":
            return value.strip()
    return ""


def resolve(kinds: KindTable, method: str, path: str, query: Mapping[str, str]) -> ResourceRequest:
    """The meaning of a path below /api/v1 or /apis/GROUP/VERSION. Raises StatusError 404 or 405."""
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        raise no_such_path()
    namespace: str | None = None
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    kind = kinds.find(group, version, rest[0])
    if kind is None or (namespace is not None and not kind.namespaced):
        raise no_such_path()
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    one = bool(name)
    if one and kind.namespaced and namespace is None:
        raise no_such_path()
    if subresource and subresource not in _subresources(kind):
        raise no_such_path()
    if len(rest) > 3 and subresource != "proxy":
        raise no_such_path()
    tail = path.split("/proxy", 1)[1] if subresource == "proxy" else ""
    verb = _verb(method, one=one, watch=query.get("watch", "false").lower() in ("1", "true"))
    if verb == "create" and one and not subresource:
        raise method_not_allowed()
    if verb == "create" and not one and kind.namespaced and namespace is None:
        raise method_not_allowed()
    return ResourceRequest(verb, kind, namespace, name, subresource, tail, _selected_name(query))
