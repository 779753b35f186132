"""Creating, reading, replacing and deleting objects."""

from __future__ import annotations

import base64
import copy

import httpx2
import pytest

from tests.contract.client import APPS, CORE, Api, config_map, deployment, eventually, service


def test_a_created_object_carries_what_the_server_adds(api: Api, ns: str, namespace: str) -> None:
    made = api.post(f"{ns}/configmaps", config_map("made", {"k": "v"}))
    meta = made["metadata"]
    assert (made["apiVersion"], made["kind"], made["data"]) == ("v1", "ConfigMap", {"k": "v"})
    assert (meta["name"], meta["namespace"]) == ("made", namespace)
    assert len(meta["uid"]) == 36
    assert meta["creationTimestamp"].endswith("Z")
    assert meta["resourceVersion"].isdigit()
    assert api.get(f"{ns}/configmaps/made") == made


def test_a_generated_name_starts_with_its_prefix(api: Api, ns: str) -> None:
    names = {
        api.post(f"{ns}/configmaps", {"metadata": {"generateName": "gen-"}})["metadata"]["name"]
        for _ in range(3)
    }
    assert len(names) == 3
    assert all(name.startswith("gen-") and len(name) == len("gen-") + 5 for name in names)


def test_a_taken_name_is_a_conflict(api: Api, ns: str) -> None:
    api.post(f"{ns}/configmaps", config_map("taken"))
    status = api.refused("POST", f"{ns}/configmaps", config_map("taken"), code=409, reason="AlreadyExists")
    assert status["message"] == 'configmaps "taken" already exists'


def test_what_is_not_there_is_not_found(api: Api, ns: str) -> None:
    status = api.refused("GET", f"{ns}/configmaps/none", code=404, reason="NotFound")
    assert status["details"]["name"] == "none"
    api.refused("PUT", f"{ns}/configmaps/none", config_map("none"), code=404, reason="NotFound")
    api.refused("DELETE", f"{ns}/configmaps/none", code=404, reason="NotFound")
    group = f"/apis/apps/v1/namespaces/{ns.rpartition('/')[2]}/deployments/none"
    assert api.refused("GET", group, code=404, reason="NotFound")["details"]["group"] == "apps"


def test_a_put_brings_a_deleted_service_back_unless_it_names_the_uid(api: Api, ns: str) -> None:
    made = api.post(f"{ns}/services", service("ghost", type="LoadBalancer"))
    api.delete(f"{ns}/services/ghost")
    for path in (f"{ns}/services/ghost", f"{ns}/services/ghost/status"):
        api.refused("PUT", path, made, code=409, reason="Conflict")
    nameless = {**made, "metadata": {k: v for k, v in made["metadata"].items() if k != "uid"}}
    for path in (f"{ns}/services/ghost", f"{ns}/services/ghost/status"):
        back = api.call("PUT", path, nameless, expect=201)
        assert back["metadata"]["uid"] != made["metadata"]["uid"]
        api.delete(f"{ns}/services/ghost")


def test_a_body_for_another_place_is_refused(api: Api, ns: str) -> None:
    other = config_map("elsewhere")
    other["metadata"]["namespace"] = "default"
    api.refused("POST", f"{ns}/configmaps", other, code=400, reason="BadRequest")
    api.refused("POST", f"{ns}/configmaps", service("wrong-kind"), code=400, reason="BadRequest")
    api.post(f"{ns}/configmaps", config_map("named"))
    api.refused("PUT", f"{ns}/configmaps/named", config_map("renamed"), code=400, reason="BadRequest")


def test_bad_fields_are_named(api: Api, ns: str) -> None:
    status = api.refused("POST", f"{ns}/configmaps", config_map("Bad_Name"), code=422, reason="Invalid")
    assert {cause["field"] for cause in status["details"]["causes"]} == {"metadata.name"}
    broken = service("broken", type="Nonsense")
    broken["spec"]["ports"][0]["port"] = 70000
    status = api.refused("POST", f"{ns}/services", broken, code=422, reason="Invalid")
    fields = {cause["field"] for cause in status["details"]["causes"]}
    assert {"spec.type", "spec.ports[0].port"} <= fields
    assert status["message"].startswith('Service "broken" is invalid: ')
    status = api.refused("POST", f"{ns}/services", service("5digit"), code=422, reason="Invalid")
    assert status["details"]["causes"][0]["field"] == "metadata.name"


def test_a_replacement_needs_the_present_version(api: Api, ns: str) -> None:
    first = api.post(f"{ns}/configmaps", config_map("guarded", {"n": "1"}))
    second = api.put(f"{ns}/configmaps/guarded", {**first, "data": {"n": "2"}})
    assert second["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]
    status = api.refused(
        "PUT", f"{ns}/configmaps/guarded", {**first, "data": {"n": "3"}}, code=409, reason="Conflict"
    )
    assert "the object has been modified" in status["message"]
    assert api.get(f"{ns}/configmaps/guarded")["data"] == {"n": "2"}


def test_a_replacement_without_a_version_overwrites(api: Api, ns: str) -> None:
    made = api.post(f"{ns}/configmaps", config_map("loose", {"n": "1"}, {"l": "1"}))
    replaced = api.put(f"{ns}/configmaps/loose", config_map("loose", {"m": "2"}))
    assert replaced["data"] == {"m": "2"}
    assert "labels" not in replaced["metadata"]
    for field in ("uid", "creationTimestamp"):
        assert replaced["metadata"][field] == made["metadata"][field]


def test_a_replacement_of_another_uid_is_a_conflict(api: Api, ns: str) -> None:
    made = api.post(f"{ns}/configmaps", config_map("another"))
    made["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000"
    api.refused("PUT", f"{ns}/configmaps/another", made, code=409, reason="Conflict")


def test_a_replacement_that_changes_nothing_makes_no_version(api: Api, ns: str) -> None:
    made = api.post(f"{ns}/configmaps", config_map("same"))
    again = api.put(f"{ns}/configmaps/same", made)
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


def test_a_dry_run_stores_nothing(api: Api, ns: str) -> None:
    made = api.call("POST", f"{ns}/configmaps", config_map("dry"), expect=201, dryRun="All")
    assert made["metadata"]["name"] == "dry"
    api.refused("GET", f"{ns}/configmaps/dry", code=404, reason="NotFound")


def test_secrets_encode_clear_text(api: Api, ns: str) -> None:
    body = {"metadata": {"name": "secret"}, "stringData": {"secretkey": "x"}}
    made = api.post(f"{ns}/secrets", body)
    assert (made["type"], made["data"]) == ("Opaque", {"secretkey": base64.b64encode(b"x").decode()})
    assert "stringData" not in made


def test_generation_counts_changes_of_the_spec_alone(api: Api, namespace: str) -> None:
    path = f"{APPS}/namespaces/{namespace}/deployments"
    made = api.post(path, deployment("counted"))
    assert made["metadata"]["generation"] == 1
    labelled = api.patch(f"{path}/counted", {"metadata": {"labels": {"a": "b"}}})
    assert labelled["metadata"]["generation"] == 1
    paused = api.patch(f"{path}/counted", {"spec": {"paused": True}})
    assert paused["metadata"]["generation"] == 2
    observed = api.patch(f"{path}/counted/status", {"status": {"observedGeneration": 2}})
    assert observed["metadata"]["generation"] == 2


def test_the_object_and_its_status_are_apart(api: Api, ns: str) -> None:
    made = api.post(f"{ns}/services", service("apart", type="LoadBalancer"))
    assert made["status"] == {"loadBalancer": {}}
    ingress = {"loadBalancer": {"ingress": [{"ip": "198.18.1.7"}]}}

    through_spec = copy.deepcopy(made)
    through_spec["status"] = ingress
    assert api.put(f"{ns}/services/apart", through_spec)["status"] == {"loadBalancer": {}}
    patched = api.patch(f"{ns}/services/apart", {"status": ingress})
    assert patched["status"] == {"loadBalancer": {}}

    through_status = api.get(f"{ns}/services/apart")
    through_status["status"] = ingress
    through_status["spec"]["ports"][0]["port"] = 4711
    written = api.put(f"{ns}/services/apart/status", through_status)
    assert written["status"]["loadBalancer"]["ingress"][0]["ip"] == "198.18.1.7"
    assert written["spec"]["ports"][0]["port"] == 80
    renewed = api.patch(f"{ns}/services/apart", {"spec": {"sessionAffinity": "ClientIP"}})
    assert renewed["status"]["loadBalancer"]["ingress"][0]["ip"] == "198.18.1.7"
    stale = api.refused("PUT", f"{ns}/services/apart/status", made, code=409, reason="Conflict")
    assert stale["details"]["name"] == "apart"


def test_service_defaults(api: Api, ns: str) -> None:
    spec = api.post(f"{ns}/services", service("plain"))["spec"]
    assert (spec["type"], spec["sessionAffinity"]) == ("ClusterIP", "None")
    assert spec["clusterIPs"] == [spec["clusterIP"]]
    assert (spec["ipFamilyPolicy"], len(spec["ipFamilies"])) == ("SingleStack", 1)
    assert spec["ports"] == [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]
    assert "externalTrafficPolicy" not in spec

    spec = api.post(f"{ns}/services", service("balanced", type="LoadBalancer"))["spec"]
    assert (spec["externalTrafficPolicy"], spec["allocateLoadBalancerNodePorts"]) == ("Cluster", True)
    assert 30000 <= spec["ports"][0]["nodePort"] <= 32767

    body = service("portless", type="LoadBalancer", allocateLoadBalancerNodePorts=False)
    assert "nodePort" not in api.post(f"{ns}/services", body)["spec"]["ports"][0]
    assert api.post(f"{ns}/services", service("headless", clusterIP="None"))["spec"]["clusterIP"] == "None"


def test_what_the_server_allocated_survives_a_replacement(api: Api, ns: str) -> None:
    made = api.post(f"{ns}/services", service("kept", type="LoadBalancer"))
    replaced = api.put(f"{ns}/services/kept", service("kept", type="LoadBalancer"))
    assert replaced["spec"]["clusterIP"] == made["spec"]["clusterIP"]
    assert replaced["spec"]["ports"][0]["nodePort"] == made["spec"]["ports"][0]["nodePort"]
    moved = service("kept", type="LoadBalancer", clusterIP="198.19.129.77")
    api.refused("PUT", f"{ns}/services/kept", moved, code=422, reason="Invalid")


def test_a_service_that_is_no_load_balancer_any_more_loses_its_ingress(api: Api, ns: str) -> None:
    api.post(f"{ns}/services", service("demoted", type="LoadBalancer"))
    status = {"status": {"loadBalancer": {"ingress": [{"ip": "198.18.1.8"}]}}}
    api.patch(f"{ns}/services/demoted/status", status)
    changed = api.patch(f"{ns}/services/demoted", {"spec": {"type": "ClusterIP"}})
    assert changed["status"] == {"loadBalancer": {}}
    assert "externalTrafficPolicy" not in changed["spec"]


def test_delete_tells_what_was_deleted(api: Api, ns: str) -> None:
    made = api.post(f"{ns}/configmaps", config_map("gone"))
    status = api.delete(f"{ns}/configmaps/gone")
    assert (status["kind"], status["status"]) == ("Status", "Success")
    assert status["details"] == {"name": "gone", "kind": "configmaps", "uid": made["metadata"]["uid"]}
    api.refused("GET", f"{ns}/configmaps/gone", code=404, reason="NotFound")


def test_delete_checks_its_preconditions(api: Api, ns: str) -> None:
    api.post(f"{ns}/configmaps", config_map("certain"))
    body = {"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}}
    api.refused("DELETE", f"{ns}/configmaps/certain", body, code=409, reason="Conflict")


def test_a_finalizer_delays_the_end(api: Api, ns: str) -> None:
    body = config_map("held")
    body["metadata"]["finalizers"] = ["vipring.test/hold"]
    api.post(f"{ns}/configmaps", body)
    held = api.delete(f"{ns}/configmaps/held")
    assert "deletionTimestamp" in held["metadata"]
    assert api.get(f"{ns}/configmaps/held")["metadata"]["finalizers"] == ["vipring.test/hold"]
    api.patch(f"{ns}/configmaps/held", {"metadata": {"finalizers": None}})
    api.refused("GET", f"{ns}/configmaps/held", code=404, reason="NotFound")


def test_delete_by_selector(api: Api, ns: str) -> None:
    for name, label in (("a", "x"), ("b", "x"), ("c", "y")):
        api.post(f"{ns}/configmaps", config_map(f"bulk-{name}", labels={"bulk": label}))
    api.call("DELETE", f"{ns}/configmaps", labelSelector="bulk=x")
    left = api.get(f"{ns}/configmaps", labelSelector="bulk")
    assert [item["metadata"]["name"] for item in left["items"]] == ["bulk-c"]


def test_dependents_go_with_their_owner(api: Api, ns: str) -> None:
    owner = api.post(f"{ns}/configmaps", config_map("owner"))
    body = config_map("owned")
    body["metadata"]["ownerReferences"] = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    ]
    api.post(f"{ns}/configmaps", body)
    api.call("DELETE", f"{ns}/configmaps/owner", propagationPolicy="Background")

    def gone() -> bool:
        names = [item["metadata"]["name"] for item in api.get(f"{ns}/configmaps")["items"]]
        return "owned" not in names

    eventually("the dependent has gone", gone)


@pytest.mark.parametrize("token", ["", "Bearer wrong"])
def test_a_stranger_is_not_let_in(api: Api, ns: str, token: str) -> None:
    request = httpx2.Request("GET", f"{api.endpoint.url}{ns}/configmaps", headers={"authorization": token})
    assert api.http.send(request).status_code in (401, 403)


def test_broken_bodies_are_refused(api: Api, ns: str) -> None:
    for content in (b"{", b"[]", b'"text"', b'{"metadata": 3}', b"\xff\xfe", b"[" * 5000):
        answer = api.http.post(
            f"{ns}/configmaps", content=content, headers={"content-type": "application/json"}
        )
        assert answer.status_code in (400, 422), (content[:10], answer.status_code)
    misshapen = {"metadata": {"name": "misshapen"}, "spec": {"ports": [{"port": 80, "protocol": ["TCP"]}]}}
    assert api.call("POST", f"{ns}/services", misshapen, expect=(400, 422))["status"] == "Failure"
    media = {"content-type": "application/x-unknown"}
    assert api.http.post(f"{ns}/configmaps", content=b"x", headers=media).status_code == 415


def test_unknown_paths_are_not_found(api: Api, ns: str) -> None:
    for path in (f"{CORE}/nonsense", "/apis/none.example/v1", f"{ns}/configmaps/a/nonsense", "/nonsense"):
        assert api.http.get(path).status_code == 404, path
    assert api.http.post(f"{CORE}/configmaps", content=b"{}").status_code in (405, 415)
