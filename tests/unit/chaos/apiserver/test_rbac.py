"""What Roles allow service accounts."""

from __future__ import annotations

import pytest

from chaos.lab.apiserver.errors import StatusError
from chaos.lab.apiserver.rbac import authorize
from chaos.lab.apiserver.route import resolve
from chaos.lab.apiserver.store import Store
from tests.unit.chaos.apiserver.builders import Obj, create, kind, make_store

SPEAKER = "system:serviceaccount:ns:speaker"
_GROUP = "rbac.authorization.k8s.io"
_SUBJECTS = [{"kind": "ServiceAccount", "namespace": "ns", "name": "speaker"}]


def _allowed(store: Store, method: str, path: str, user: str = SPEAKER, **query: str) -> bool:
    try:
        authorize(store, user, resolve(store.kinds, method, path, query))
    except StatusError as refusal:
        if refusal.code != 403:
            raise
        return False
    return True


def _cluster_role(store: Store, *rules: Obj) -> None:
    role = {"metadata": {"name": "r"}, "rules": list(rules)}
    store.create(kind(store, f"clusterroles.{_GROUP}"), "", role)
    reference = {"kind": "ClusterRole", "name": "r"}
    binding = {"metadata": {"name": "b"}, "roleRef": reference, "subjects": _SUBJECTS}
    store.create(kind(store, f"clusterrolebindings.{_GROUP}"), "", binding)


def test_nothing_is_allowed_without_a_rule() -> None:
    store = make_store()
    assert not _allowed(store, "GET", "/api/v1/services")
    assert _allowed(store, "GET", "/api/v1/services", "lab-admin")
    with pytest.raises(StatusError) as refused:
        authorize(store, SPEAKER, resolve(store.kinds, "GET", "/api/v1/services", {}))
    assert refused.value.message == (
        f'services is forbidden: User "{SPEAKER}" cannot list resource "services" in API group "" '
        "at the cluster scope"
    )


def test_verbs_groups_and_subresources_are_apart() -> None:
    store = make_store()
    _cluster_role(
        store,
        {"apiGroups": [""], "resources": ["services"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["services/status"], "verbs": ["update"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["*"], "verbs": ["*"]},
    )
    one = "/api/v1/namespaces/ns/services/s"
    assert _allowed(store, "GET", "/api/v1/services")
    assert not _allowed(store, "GET", "/api/v1/services", watch="true")
    assert _allowed(store, "GET", one)
    assert not _allowed(store, "PUT", one)
    assert _allowed(store, "PUT", f"{one}/status")
    assert not _allowed(store, "PATCH", f"{one}/status")
    assert _allowed(store, "GET", "/apis/discovery.k8s.io/v1/endpointslices", watch="true")
    assert not _allowed(store, "GET", "/api/v1/endpoints")
    assert not _allowed(store, "GET", "/api/v1/services", "system:serviceaccount:ns:controller")


def test_a_role_is_for_its_namespace_and_its_names() -> None:
    store = make_store()
    rule = {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": ["config"],
        "verbs": ["get", "watch"],
    }
    create(store, f"roles.{_GROUP}", "r", rules=[rule])
    group = [{"kind": "Group", "name": "system:serviceaccounts:ns"}]
    create(store, f"rolebindings.{_GROUP}", "b", roleRef={"kind": "Role", "name": "r"}, subjects=group)
    assert _allowed(store, "GET", "/api/v1/namespaces/ns/configmaps/config")
    assert not _allowed(store, "GET", "/api/v1/namespaces/ns/configmaps/other")
    assert not _allowed(store, "GET", "/api/v1/namespaces/ns/configmaps", watch="true")
    by_name = {"watch": "true", "fieldSelector": "metadata.name=config"}
    assert _allowed(store, "GET", "/api/v1/namespaces/ns/configmaps", **by_name)
    assert not _allowed(store, "GET", "/api/v1/namespaces/default/configmaps/config")
