"""Namespaces, owners, pods on nodes, services, custom kinds."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

import pytest

from chaos.lab.apiserver.errors import StatusError
from chaos.lab.apiserver.store import DeleteOptions
from tests.unit.chaos.apiserver.builders import create, kind, make_store, names, owned_by, pod


def test_a_pod_on_a_node_waits_for_it() -> None:
    store = make_store()
    pod(store, "p", node="n1")
    marked = store.delete(kind(store, "pods"), "ns", "p")
    assert marked.obj["metadata"]["deletionGracePeriodSeconds"] == 10
    assert store.delete(kind(store, "pods"), "ns", "p").version == marked.version
    shorter = store.delete(kind(store, "pods"), "ns", "p", DeleteOptions(grace_s=3))
    assert shorter.obj["metadata"]["deletionGracePeriodSeconds"] == 3
    store.delete(kind(store, "pods"), "ns", "p", DeleteOptions(grace_s=0))
    assert names(store, "pods") == []


def test_a_pod_without_a_node_or_that_has_ended_goes_at_once() -> None:
    store = make_store()
    pod(store, "free")
    record = pod(store, "done", node="n1")
    store.update(
        kind(store, "pods"), "ns", "done", {**record.obj, "status": {"phase": "Succeeded"}}, status=True
    )
    store.delete(kind(store, "pods"), "ns", "free")
    store.delete(kind(store, "pods"), "ns", "done")
    assert names(store, "pods") == []


def test_a_namespace_waits_for_its_pods() -> None:
    store = make_store()
    pod(store, "p", node="n1")
    create(store, "configmaps", "c")
    store.delete(kind(store, "namespaces"), "", "ns")
    assert names(store, "configmaps") == []
    assert store.get(kind(store, "namespaces"), "", "ns").obj["status"]["phase"] == "Terminating"
    store.delete(kind(store, "pods"), "ns", "p", DeleteOptions(grace_s=0))
    with pytest.raises(StatusError, match="not found"):
        store.get(kind(store, "namespaces"), "", "ns")


def test_a_dependent_lives_as_long_as_one_owner() -> None:
    store = make_store()
    owners = [create(store, "configmaps", name) for name in ("a", "b")]
    create(store, "configmaps", "child", meta={"ownerReferences": owned_by(*owners)})
    store.delete(kind(store, "configmaps"), "ns", "a")
    assert "child" in names(store, "configmaps")
    store.delete(kind(store, "configmaps"), "ns", "b")
    assert "child" not in names(store, "configmaps")


def test_grandchildren_go_too_and_orphans_stay() -> None:
    store = make_store()
    top = create(store, "configmaps", "top")
    middle = create(store, "configmaps", "middle", meta={"ownerReferences": owned_by(top)})
    create(store, "configmaps", "low", meta={"ownerReferences": owned_by(middle)})
    store.delete(kind(store, "configmaps"), "ns", "top")
    assert names(store, "configmaps") == ["kube-root-ca.crt"]

    top = create(store, "configmaps", "top")
    create(store, "configmaps", "kept", meta={"ownerReferences": owned_by(top)})
    store.delete(kind(store, "configmaps"), "ns", "top", DeleteOptions(propagation="Orphan"))
    kept = store.get(kind(store, "configmaps"), "ns", "kept")
    assert kept.obj["metadata"]["ownerReferences"] == []


def test_an_adopted_object_follows_its_present_owner() -> None:
    store = make_store()
    first, second = (create(store, "configmaps", name) for name in ("first", "second"))
    child = create(store, "configmaps", "child", meta={"ownerReferences": owned_by(first)})
    meta = {**child.obj["metadata"], "ownerReferences": owned_by(second)}
    store.update(kind(store, "configmaps"), "ns", "child", {**child.obj, "metadata": meta})
    store.delete(kind(store, "configmaps"), "ns", "first")
    assert "child" in names(store, "configmaps")


def _service(name: str, **spec: object) -> dict[str, object]:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}


def test_cluster_addresses_are_unique_and_come_back() -> None:
    store = make_store(service_networks=(IPv4Network("198.19.128.0/29"),))
    services = kind(store, "services")
    made = [store.create(services, "ns", _service(f"s{at}")) for at in range(6)]
    addresses = [record.obj["spec"]["clusterIP"] for record in made]
    assert addresses == [f"198.19.128.{at}" for at in range(1, 7)]
    with pytest.raises(StatusError, match="is full"):
        store.create(services, "ns", _service("more"))
    store.delete(services, "ns", "s2")
    assert store.create(services, "ns", _service("more")).obj["spec"]["clusterIP"] == "198.19.128.3"
    with pytest.raises(StatusError, match="already allocated"):
        store.update(services, "ns", "s1", _service("s1", clusterIP="198.19.128.3"))


def test_a_refused_service_holds_nothing() -> None:
    store = make_store(service_networks=(IPv4Network("198.19.128.0/30"),))
    services = kind(store, "services")
    with pytest.raises(StatusError, match="provided port is not in the valid range"):
        store.create(services, "ns", _service("bad", ports=[{"port": 80, "nodePort": 1}], type="NodePort"))
    store.create(services, "ns", _service("dry"), dry_run=True)
    for name in ("a", "b"):
        store.create(services, "ns", _service(name))
    assert names(store, "services") == ["a", "b"]


def test_node_ports() -> None:
    store = make_store()
    services = kind(store, "services")
    both = [{"name": "t", "port": 53, "protocol": "TCP"}, {"name": "u", "port": 53, "protocol": "UDP"}]
    made = store.create(services, "ns", _service("dns", type="LoadBalancer", ports=both))
    first, second = made.obj["spec"]["ports"]
    assert first["nodePort"] == second["nodePort"]
    taken = [{"port": 80, "nodePort": first["nodePort"]}]
    with pytest.raises(StatusError, match="provided port is already allocated"):
        store.create(services, "ns", _service("thief", type="NodePort", ports=taken))
    local = store.create(services, "ns", _service("l", type="LoadBalancer", externalTrafficPolicy="Local"))
    assert local.obj["spec"]["healthCheckNodePort"] >= 30000


def test_two_families() -> None:
    networks = (IPv4Network("198.19.128.0/24"), IPv6Network("2001:2::/112"))
    store = make_store(service_networks=networks)
    services = kind(store, "services")
    spec = store.create(services, "ns", _service("two", ipFamilyPolicy="PreferDualStack")).obj["spec"]
    assert (spec["ipFamilies"], spec["clusterIPs"]) == (["IPv4", "IPv6"], ["198.19.128.1", "2001:2::1"])
    spec = store.create(services, "ns", _service("six", ipFamilies=["IPv6"])).obj["spec"]
    assert spec["clusterIPs"] == ["2001:2::2"]
    single = make_store()
    with pytest.raises(StatusError, match="not configured"):
        single.create(kind(single, "services"), "ns", _service("two", ipFamilyPolicy="RequireDualStack"))


def _definition(*versions: str) -> dict[str, object]:
    served = [
        {"name": name, "served": True, "storage": name == versions[0], "schema": {}} for name in versions
    ]
    names_ = {"plural": "pools", "kind": "Pool"}
    spec = {"group": "example.com", "names": names_, "scope": "Namespaced", "versions": served}
    return {"metadata": {"name": "pools.example.com"}, "spec": spec}


def test_a_definition_is_served_in_all_its_versions_and_taken_back() -> None:
    store = make_store()
    crds = kind(store, "customresourcedefinitions.apiextensions.k8s.io")
    store.create(crds, "", _definition("v1", "v1beta1"))
    found = store.get(crds, "", "pools.example.com").obj["status"]
    assert [c["status"] for c in found["conditions"] if c["type"] == "Established"] == ["True"]
    assert store.kinds.find("example.com", "v1beta1", "pools") is not None
    create(store, "pools.example.com", "p", spec={})
    store.delete(crds, "", "pools.example.com")
    assert store.kinds.find("example.com", "v1", "pools") is None
    assert store.revisions.keys("pools.example.com") == []


def test_a_definition_that_is_none_is_refused_whole() -> None:
    store = make_store()
    crds = kind(store, "customresourcedefinitions.apiextensions.k8s.io")
    broken = _definition("v1")
    broken["metadata"] = {"name": "other.example.com"}
    with pytest.raises(StatusError, match=r"must be 'pools\.example\.com'"):
        store.create(crds, "", broken)
    with pytest.raises(StatusError, match="cannot be handled"):
        store.create(crds, "", {"metadata": {"name": "pools.example.com"}, "spec": {"names": 3}})
    assert store.revisions.keys(crds.resource) == []
