"""The four kinds of patches."""

from __future__ import annotations

import pytest

from tests.contract.client import (
    APPLY,
    APPS,
    JSON_PATCH,
    MERGE,
    STRATEGIC,
    Api,
    config_map,
    deployment,
    service,
)


@pytest.fixture
def deployments(namespace: str) -> str:
    return f"{APPS}/namespaces/{namespace}/deployments"


def test_merge_patch(api: Api, ns: str) -> None:
    api.post(f"{ns}/configmaps", config_map("merged", {"keep": "1", "drop": "1"}, {"l": "1"}))
    patch = {"data": {"drop": None, "add": "2"}, "metadata": {"annotations": {"a": "b"}}}
    found = api.patch(f"{ns}/configmaps/merged", patch, MERGE)
    assert found["data"] == {"keep": "1", "add": "2"}
    assert found["metadata"]["annotations"] == {"a": "b"}
    assert found["metadata"]["labels"] == {"l": "1"}


def test_merge_patch_replaces_lists(api: Api, ns: str) -> None:
    api.post(f"{ns}/services", service("list-merge"))
    ports = [{"name": "other", "port": 81}]
    found = api.patch(f"{ns}/services/list-merge", {"spec": {"ports": ports}}, MERGE)
    assert [port["name"] for port in found["spec"]["ports"]] == ["other"]


def test_a_patch_may_name_the_version_it_is_for(api: Api, ns: str) -> None:
    made = api.post(f"{ns}/configmaps", config_map("versioned"))
    version = made["metadata"]["resourceVersion"]
    api.patch(f"{ns}/configmaps/versioned", {"metadata": {"resourceVersion": version}, "data": {"b": "1"}})
    stale = {"metadata": {"resourceVersion": version}, "data": {"b": "2"}}
    api.refused("PATCH", f"{ns}/configmaps/versioned", stale, code=409, reason="Conflict", media=MERGE)


def test_an_empty_patch_makes_no_version(api: Api, ns: str) -> None:
    made = api.post(f"{ns}/configmaps", config_map("untouched"))
    for media in (MERGE, STRATEGIC):
        found = api.patch(f"{ns}/configmaps/untouched", {}, media)
        assert found["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


def test_json_patch(api: Api, ns: str) -> None:
    body = config_map("jsonp", {"a": "1", "b": "2"})
    body["metadata"]["annotations"] = {"example.com/escaped": "3"}
    api.post(f"{ns}/configmaps", body)
    operations = [
        {"op": "test", "path": "/data/a", "value": "1"},
        {"op": "replace", "path": "/data/a", "value": "9"},
        {"op": "remove", "path": "/data/b"},
        {"op": "add", "path": "/data/c", "value": "4"},
        {"op": "copy", "from": "/data/c", "path": "/data/d"},
        {"op": "move", "from": "/metadata/annotations/example.com~1escaped", "path": "/data/e"},
    ]
    found = api.patch(f"{ns}/configmaps/jsonp", operations, JSON_PATCH)
    assert found["data"] == {"a": "9", "c": "4", "d": "4", "e": "3"}


def test_json_patch_on_lists(api: Api, ns: str) -> None:
    api.post(f"{ns}/services", service("jsonlist"))
    operations = [
        {"op": "add", "path": "/spec/ports/-", "value": {"name": "last", "port": 82}},
        {"op": "add", "path": "/spec/ports/0", "value": {"name": "first", "port": 81}},
        {"op": "replace", "path": "/spec/ports/1/targetPort", "value": 9},
    ]
    found = api.patch(f"{ns}/services/jsonlist", operations, JSON_PATCH)
    ports = found["spec"]["ports"]
    assert [(port["name"], port["targetPort"]) for port in ports] == [
        ("first", 81),
        ("http", 9),
        ("last", 82),
    ]


@pytest.mark.parametrize(
    "operations",
    [
        [{"op": "test", "path": "/data/a", "value": "2"}],
        [{"op": "remove", "path": "/data/none"}],
        [{"op": "replace", "path": "/none/none", "value": 1}],
    ],
)
def test_a_json_patch_that_does_not_fit_changes_nothing(
    api: Api, ns: str, operations: list[dict[str, object]]
) -> None:
    name = f"unfit-{operations[0]['op']}"
    made = api.post(f"{ns}/configmaps", config_map(name, {"a": "1"}))
    body = [{"op": "add", "path": "/data/z", "value": "1"}, *operations]
    api.refused("PATCH", f"{ns}/configmaps/{name}", body, code=422, reason="Invalid", media=JSON_PATCH)
    assert api.get(f"{ns}/configmaps/{name}") == made


def test_bodies_that_are_no_patch_are_refused(api: Api, ns: str) -> None:
    api.post(f"{ns}/configmaps", config_map("nopatch"))
    for media, body in (
        (JSON_PATCH, {"a": 1}),
        (JSON_PATCH, [{"op": "nonsense", "path": "/a"}]),
        (MERGE, [1]),
    ):
        answer = api.call("PATCH", f"{ns}/configmaps/nopatch", body, media=media, expect=(400, 422))
        assert answer["status"] == "Failure"
    api.refused(
        "PATCH",
        f"{ns}/configmaps/nopatch",
        {},
        code=415,
        reason="UnsupportedMediaType",
        media="application/json",
    )


def test_strategic_patch_merges_lists_by_their_key(api: Api, deployments: str) -> None:
    api.post(deployments, deployment("strategic"))
    patch = {
        "spec": {
            "template": {
                "spec": {
                    "containers": [
                        {"name": "main", "env": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}]},
                        {"name": "side", "image": "example.invalid/side:1"},
                    ]
                }
            }
        }
    }
    found = api.patch(f"{deployments}/strategic", patch, STRATEGIC)
    main, side = sorted(found["spec"]["template"]["spec"]["containers"], key=lambda c: c["name"])
    assert sorted((e["name"], e["value"]) for e in main["env"]) == [("A", "1"), ("B", "3"), ("C", "4")]
    assert main["image"] == "example.invalid/main:1"
    assert main["ports"][0]["containerPort"] == 8080
    assert side["image"] == "example.invalid/side:1"


def test_strategic_directives(api: Api, deployments: str) -> None:
    api.post(deployments, deployment("directed"))
    env = [{"name": "A", "$patch": "delete"}, {"name": "C", "value": "3"}]
    containers = [{"name": "main", "env": env, "$setElementOrder/env": [{"name": "C"}, {"name": "B"}]}]
    patch = {"spec": {"template": {"spec": {"containers": containers}}}}
    found = api.patch(f"{deployments}/directed", patch, STRATEGIC)
    main = found["spec"]["template"]["spec"]["containers"][0]
    assert [e["name"] for e in main["env"]] == ["C", "B"]
    replaced = {"spec": {"template": {"spec": {"containers": [{"name": "main", "$patch": "delete"},
                                                              {"name": "only", "image": "i"}]}}}}  # fmt: skip
    found = api.patch(f"{deployments}/directed", replaced, STRATEGIC)
    assert [c["name"] for c in found["spec"]["template"]["spec"]["containers"]] == ["only"]


def test_strategic_patch_of_service_ports(api: Api, ns: str) -> None:
    made = api.post(f"{ns}/services", service("ports", type="LoadBalancer"))
    patch = {"spec": {"ports": [{"port": 80, "targetPort": 9090}, {"port": 443, "name": "https"}]}}
    found = api.patch(f"{ns}/services/ports", patch, STRATEGIC)
    by_port = {port["port"]: port for port in found["spec"]["ports"]}
    assert by_port[80]["targetPort"] == 9090
    assert by_port[80]["nodePort"] == made["spec"]["ports"][0]["nodePort"]
    assert by_port[443]["name"] == "https"


def test_strategic_patch_of_finalizers_adds_and_removes(api: Api, ns: str) -> None:
    body = config_map("finalized")
    body["metadata"]["finalizers"] = ["vipring.test/a"]
    api.post(f"{ns}/configmaps", body)
    added = api.patch(
        f"{ns}/configmaps/finalized", {"metadata": {"finalizers": ["vipring.test/b"]}}, STRATEGIC
    )
    assert sorted(added["metadata"]["finalizers"]) == ["vipring.test/a", "vipring.test/b"]
    gone = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["vipring.test/a", "vipring.test/b"]}}
    found = api.patch(f"{ns}/configmaps/finalized", gone, STRATEGIC)
    assert "finalizers" not in found["metadata"] or found["metadata"]["finalizers"] == []


def test_apply_creates_merges_and_takes_back(api: Api, ns: str) -> None:
    path = f"{ns}/configmaps/applied"
    made = api.call(
        "PATCH",
        path,
        config_map("applied", {"a": "1", "b": "1"}),
        media=APPLY,
        fieldManager="suite",
        expect=201,
    )
    assert made["data"] == {"a": "1", "b": "1"}
    api.patch(path, {"data": {"foreign": "1"}}, MERGE)
    found = api.patch(path, config_map("applied", {"a": "2"}), APPLY, fieldManager="suite")
    assert found["data"] == {"a": "2", "foreign": "1"}
    again = api.patch(path, config_map("applied", {"a": "2"}), APPLY, fieldManager="suite")
    assert again["metadata"]["resourceVersion"] == found["metadata"]["resourceVersion"]


def test_apply_needs_a_manager(api: Api, ns: str) -> None:
    answer = api.call("PATCH", f"{ns}/configmaps/x", config_map("x"), media=APPLY, expect=(400, 422))
    assert "fieldManager" in answer["message"]


def test_a_patch_cannot_rename(api: Api, ns: str) -> None:
    api.post(f"{ns}/configmaps", config_map("firm"))
    patch = {"metadata": {"name": "soft"}}
    answer = api.call("PATCH", f"{ns}/configmaps/firm", patch, media=MERGE, expect=(400, 422))
    assert answer["status"] == "Failure"


def test_a_patch_of_what_is_not_there_is_not_found(api: Api, ns: str) -> None:
    for media in (MERGE, STRATEGIC):
        api.refused("PATCH", f"{ns}/configmaps/none", {}, code=404, reason="NotFound", media=media)
