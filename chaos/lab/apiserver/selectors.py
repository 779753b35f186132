"""Label and field selectors (apimachinery labels/selector.go and fields/selector.go).

A selector parses to a predicate over objects.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from chaos.lab.apiserver.errors import Obj, bad_request
from chaos.lab.apiserver.kinds import Kind

Predicate = Callable[[Obj], bool]

_KEY = r"[A-Za-z0-9./_-]+"
_TERM = re.compile(
    rf"""\s*(?:
        (?P<absent>!\s*(?P<absent_key>{_KEY}))
      | (?P<key>{_KEY})\s*(?:
            (?P<op>==|=|!=)\s*(?P<value>[A-Za-z0-9._-]*)
          | (?P<compare>[<>])\s*(?P<number>-?\d+)
          | \s(?P<set>in|notin)\s*\(\s*(?P<values>[A-Za-z0-9._,\s-]*)\)
        )?
    )\s*(?:,|$)""",
    re.VERBOSE,
)


def _labels(obj: Obj) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def _compare(key: str, sign: str, bound: int) -> Predicate:
    def holds(obj: Obj) -> bool:
        text = _labels(obj).get(key, "")
        if not re.fullmatch(r"-?\d+", text):
            return False
        return int(text) < bound if sign == "<" else int(text) > bound

    return holds


def _term(match: re.Match[str]) -> Predicate:
    if match["absent"]:
        absent = match["absent_key"]
        return lambda obj: absent not in _labels(obj)
    key, value = match["key"], match["value"]
    if match["op"] == "!=":
        return lambda obj: _labels(obj).get(key) != value
    if match["op"]:
        return lambda obj: _labels(obj).get(key) == value
    if match["compare"]:
        return _compare(key, match["compare"], int(match["number"]))
    if match["set"]:
        values = {v.strip() for v in match["values"].split(",")}
        if match["set"] == "in":
            return lambda obj: _labels(obj).get(key) in values
        return lambda obj: _labels(obj).get(key) not in values
    return lambda obj: key in _labels(obj)


def label_selector(text: str) -> Predicate | None:
    """Predicate of a `labelSelector` parameter; None selects everything. Raises StatusError 400."""
    if not text.strip():
        return None
    terms: list[Predicate] = []
    at = 0
    while at < len(text):
        match = _TERM.match(text, at)
        if match is None or match.end() == at:
            raise bad_request(f'unable to parse requirement: found {text[at:]!r} in label selector "{text}"')
        terms.append(_term(match))
        at = match.end()
    return lambda obj: all(term(obj) for term in terms)


_EVENT_FIELDS = (
    *(f"involvedObject.{f}" for f in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion")),
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
)
_FIELDS: dict[str, tuple[str, ...]] = {
    "pods": (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ),
    "nodes": ("spec.unschedulable",),
    "events": _EVENT_FIELDS,
    "secrets": ("type",),
    "namespaces": ("status.phase",),
    "services": ("spec.clusterIP", "spec.type"),
    "replicasets.apps": ("status.replicas",),
}
_FALSE_WHEN_ABSENT = ("spec.unschedulable", "spec.hostNetwork")


def _field(obj: Obj, path: str) -> str:
    at: object = obj
    for part in path.split("."):
        at = at.get(part) if isinstance(at, dict) else None
    if path == "source" and isinstance(at, dict):
        at = at.get("component")
    if at is None:
        return "false" if path in _FALSE_WHEN_ABSENT else ""
    if isinstance(at, bool):
        return "true" if at else "false"
    return str(at)


def field_selector(kind: Kind, text: str) -> Predicate | None:
    """Predicate of a `fieldSelector` parameter; None selects everything. Raises StatusError 400."""
    terms: list[tuple[str, bool, str]] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = re.fullmatch(r"([A-Za-z.]+)\s*(==|=|!=)\s*(.*)", part)
        if match is None:
            raise bad_request(
                f"invalid field selector: {part!r} is not of the form FIELD=VALUE or FIELD!=VALUE"
            )
        path = match[1]
        allowed = ("metadata.name", *(["metadata.namespace"] if kind.namespaced else []))
        if path not in allowed and path not in _FIELDS.get(kind.resource, ()):
            raise bad_request(f"field label not supported: {path}")
        terms.append((path, match[2] == "!=", match[3]))
    if not terms:
        return None
    return lambda obj: all((_field(obj, path) == value) is not negated for path, negated, value in terms)


def both(first: Predicate | None, second: Predicate | None) -> Predicate | None:
    """The conjunction of two selectors."""
    if first is None or second is None:
        return first or second
    return lambda obj: first(obj) and second(obj)
