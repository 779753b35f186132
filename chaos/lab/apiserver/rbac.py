"""May a service account do this? Role-based access control as in kubernetes pkg/registry/rbac/validation/rule.go.

Only service accounts are asked; the lab's own users (administrator, nodes) may do everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chaos.lab.apiserver.errors import Obj, StatusError
from chaos.lab.apiserver.kinds import Kind
from chaos.lab.apiserver.route import ResourceRequest
from chaos.lab.apiserver.store import Store

_PREFIX = "system:serviceaccount:"
_GROUP = "rbac.authorization.k8s.io"


def _subject_is(subject: Any, user: str) -> bool:
    if not isinstance(subject, dict):
        return False
    _, _, namespace, name = user.split(":", 3)
    match subject.get("kind"):
        case "ServiceAccount":
            return (subject.get("namespace"), subject.get("name")) == (namespace, name)
        case "User":
            return subject.get("name") == user
        case "Group":
            groups = ("system:authenticated", "system:serviceaccounts", f"system:serviceaccounts:{namespace}")
            return subject.get("name") in groups
        case _:
            return False


def _rules_of(store: Store, binding: Obj, namespace: str) -> list[Any]:
    reference = binding.get("roleRef") or {}
    if reference.get("kind") == "ClusterRole":
        role = store.revisions.get(f"clusterroles.{_GROUP}", ("", str(reference.get("name"))))
    else:
        role = store.revisions.get(f"roles.{_GROUP}", (namespace, str(reference.get("name"))))
    return list(role.obj.get("rules") or ()) if role is not None else []


def _rules_for(store: Store, user: str, namespace: str | None) -> Iterator[Any]:
    """Rules that are bound to a user for a namespace, or for the whole cluster."""
    for record in store.revisions.records(f"clusterrolebindings.{_GROUP}"):
        if any(_subject_is(subject, user) for subject in record.obj.get("subjects") or ()):
            yield from _rules_of(store, record.obj, "")
    if namespace is None:
        return
    for record in store.revisions.records(f"rolebindings.{_GROUP}", namespace):
        if any(_subject_is(subject, user) for subject in record.obj.get("subjects") or ()):
            yield from _rules_of(store, record.obj, namespace)


def _covers(rule: Any, asked: ResourceRequest) -> bool:
    plural, sub = asked.kind.plural, asked.subresource
    resource = f"{plural}/{sub}" if sub else plural
    names = rule.get("resourceNames") or ()
    return (
        any(verb in ("*", asked.verb) for verb in rule.get("verbs") or ())
        and any(group in ("*", asked.kind.group) for group in rule.get("apiGroups") or ())
        and any(r in ("*", resource, f"*/{sub}") for r in rule.get("resources") or ())
        and (not names or (asked.name or asked.only) in names)
    )


def _namespace(asked: ResourceRequest) -> str | None:
    # Roles bound inside a namespace also speak of the Namespace object of that name.
    return asked.name or None if asked.kind.resource == "namespaces" else asked.namespace


def authorize(store: Store, user: str, asked: ResourceRequest) -> None:
    """Raises StatusError 403 where no rule allows the request."""
    if not user.startswith(_PREFIX):
        return
    if any(isinstance(r, dict) and _covers(r, asked) for r in _rules_for(store, user, _namespace(asked))):
        return
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    raise StatusError(
        403,
        "Forbidden",
        f"{asked.kind.resource}{_named(asked)} is forbidden: User {_quoted(user)} cannot {asked.verb} "
        f"resource {_quoted(_resource(asked.kind, asked.subresource))} in API group {_quoted(asked.kind.group)} {where}",
        {"name": asked.name, "kind": asked.kind.plural, "group": asked.kind.group},
    )


def _resource(kind: Kind, subresource: str) -> str:
    return f"{kind.plural}/{subresource}" if subresource else kind.plural


def _named(asked: ResourceRequest) -> str:
    return f" {_quoted(asked.name)}" if asked.name else ""


def _quoted(text: str) -> str:
    return f'"{text}"'
