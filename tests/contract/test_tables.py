"""Tables, discovery and the life of a namespace."""

from __future__ import annotations

from tests.contract.client import CORE, TABLE, Api, Obj, config_map, eventually, service


def _columns(table: Obj, *, wide: bool = False) -> list[str]:
    return [c["name"] for c in table["columnDefinitions"] if wide or c["priority"] == 0]


def _row(table: Obj, name: str) -> dict[str, object]:
    for row in table["rows"]:
        if row["object"]["metadata"]["name"] == name:
            return dict(zip(_columns(table, wide=True), row["cells"], strict=True))
    raise AssertionError(f"no row {name} in {table['rows']}")


def test_the_table_of_services(api: Api, ns: str) -> None:
    api.post(f"{ns}/services", service("waiting", type="LoadBalancer"))
    api.post(f"{ns}/services", service("served", type="LoadBalancer"))
    api.post(f"{ns}/services", service("inside"))
    status = {"status": {"loadBalancer": {"ingress": [{"ip": "198.18.1.9"}]}}}
    served = api.patch(f"{ns}/services/served/status", status)
    table = api.call("GET", f"{ns}/services", accept=TABLE)
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert int(table["metadata"]["resourceVersion"]) > 0
    assert _columns(table) == ["Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age"]
    assert _columns(table, wide=True)[-1] == "Selector"
    row = _row(table, "served")
    port = served["spec"]["ports"][0]
    assert row["Name"] == "served"
    assert row["Type"] == "LoadBalancer"
    assert row["Cluster-IP"] == served["spec"]["clusterIP"]
    assert row["External-IP"] == "198.18.1.9"
    assert row["Port(s)"] == f"80:{port['nodePort']}/TCP"
    assert row["Selector"] == "app=served"
    assert _row(table, "waiting")["External-IP"] == "<pending>"
    inside = _row(table, "inside")
    assert (inside["External-IP"], inside["Port(s)"]) == ("<none>", "80/TCP")


def test_the_table_of_one_object(api: Api, ns: str) -> None:
    api.post(f"{ns}/configmaps", config_map("single", {"a": "1", "b": "2"}))
    table = api.call("GET", f"{ns}/configmaps/single", accept=TABLE)
    assert _columns(table) == ["Name", "Data", "Age"]
    assert [row["cells"][:2] for row in table["rows"]] == [["single", 2]]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


def test_kubectls_accept_header_is_understood(api: Api, ns: str) -> None:
    accept = f"{TABLE},application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
    assert api.call("GET", f"{ns}/configmaps", accept=accept)["kind"] == "Table"


def test_a_table_may_hold_whole_objects_or_none(api: Api, ns: str) -> None:
    api.post(f"{ns}/configmaps", config_map("whole"))
    name = "metadata.name=whole"
    table = api.call("GET", f"{ns}/configmaps", accept=TABLE, includeObject="Object", fieldSelector=name)
    assert table["rows"][0]["object"]["data"] == {"a": "1"}
    table = api.call("GET", f"{ns}/configmaps", accept=TABLE, includeObject="None", fieldSelector=name)
    assert not table["rows"][0].get("object")


def test_what_a_client_cannot_be_given_is_not_acceptable(api: Api, ns: str) -> None:
    assert api.http.get(f"{ns}/configmaps", headers={"accept": "text/html"}).status_code == 406


def test_discovery_names_the_kinds(api: Api) -> None:
    assert "v1" in api.get("/api")["versions"]
    core = {entry["name"]: entry for entry in api.get(CORE)["resources"]}
    assert core["services"]["shortNames"] == ["svc"]
    assert core["services"]["namespaced"] is True
    assert core["nodes"]["namespaced"] is False
    assert {"services/status", "pods/log", "pods/proxy"} <= set(core)
    assert {"get", "list", "watch", "create", "update", "patch", "delete"} <= set(core["services"]["verbs"])
    groups = {group["name"] for group in api.get("/apis")["groups"]}
    assert {"apps", "discovery.k8s.io", "rbac.authorization.k8s.io", "apiextensions.k8s.io"} <= groups
    assert api.get("/apis/apps")["preferredVersion"]["groupVersion"] == "apps/v1"
    scale = {e["name"]: e for e in api.get("/apis/apps/v1")["resources"]}["deployments/scale"]
    assert (scale["group"], scale["version"], scale["kind"]) == ("autoscaling", "v1", "Scale")


def test_aggregated_discovery_says_the_same(api: Api) -> None:
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
    found = api.call("GET", "/apis", accept=accept)
    assert found["kind"] == "APIGroupDiscoveryList"
    groups = {item["metadata"]["name"]: item["versions"] for item in found["items"]}
    kinds = {entry["resource"]: entry for entry in groups["apps"][0]["resources"]}
    assert kinds["deployments"]["responseKind"]["kind"] == "Deployment"
    assert "status" in {sub["subresource"] for sub in kinds["deployments"]["subresources"]}


def test_openapi_tells_which_parameters_a_patch_takes(api: Api) -> None:
    index = api.get("/openapi/v3")["paths"]
    document = api.call("GET", index["apis/apps/v1"]["serverRelativeURL"])
    operation = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert operation["x-kubernetes-group-version-kind"]["kind"] == "Deployment"
    assert {"dryRun", "fieldValidation"} <= {p.get("name") for p in operation["parameters"]}


def test_the_server_has_a_version_and_says_that_it_lives(api: Api) -> None:
    assert int(api.get("/version")["major"]) >= 1
    for path in ("/livez", "/readyz", "/healthz"):
        answer = api.http.get(path)
        assert (answer.status_code, answer.text) == (200, "ok"), path


def test_the_life_of_a_namespace(api: Api, namespace: str) -> None:
    name = f"{namespace}-life"
    path = f"{CORE}/namespaces/{name}"
    api.refused("POST", f"{path}/configmaps", config_map("early"), code=404, reason="NotFound")
    made = api.post(f"{CORE}/namespaces", {"metadata": {"name": name}})
    assert made["status"]["phase"] == "Active"
    assert made["metadata"]["labels"]["kubernetes.io/metadata.name"] == name
    held = config_map("held")
    held["metadata"]["finalizers"] = ["vipring.test/hold"]
    api.post(f"{path}/configmaps", held)
    api.post(f"{path}/configmaps", config_map("free"))
    api.delete(path)
    assert api.get(path)["status"]["phase"] == "Terminating"
    refused = api.refused("POST", f"{path}/configmaps", config_map("late"), code=403, reason="Forbidden")
    assert refused["details"]["causes"][0]["reason"] == "NamespaceTerminating"

    def emptied() -> bool:
        found = api.get(f"{path}/configmaps")["items"]
        return [item["metadata"]["name"] for item in found] == ["held"]

    eventually("only the held object is left", emptied)
    api.patch(f"{path}/configmaps/held", {"metadata": {"finalizers": None}})
    eventually("the namespace has gone", lambda: api.http.get(path).status_code == 404)
    assert api.http.get(f"{path}/configmaps").json()["items"] == []
