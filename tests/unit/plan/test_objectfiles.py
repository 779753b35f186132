"""Files of Kubernetes objects, as the API server would hand them out."""

from __future__ import annotations

import pytest

from vipring.objectfiles import Objects, load


def read(text: str) -> Objects:
    return load([("x.yaml", text)])


def test_documents_and_lists_of_any_depth() -> None:
    objects = read("""
kind: List
items:
- {kind: Node, metadata: {name: n1}}
- kind: ServiceList
  items:
  - {metadata: {name: a}}
  - {metadata: {name: b, namespace: x}}
---
---
{"kind": "Service", "metadata": {"name": "c"}}
---
kind: Deployment
metadata: {name: ignored}
""")
    assert objects.errors == []
    assert set(objects.services) == {"default/a", "x/b", "default/c"}
    assert set(objects.nodes) == {"n1"}


def test_the_last_of_two_counts() -> None:
    objects = read(
        "{kind: Service, metadata: {name: a}}\n---\n{kind: Service, metadata: {name: a, labels: {x: y}}}"
    )
    assert objects.services["default/a"].metadata.labels == {"x": "y"}


def test_nulls_and_timestamps_are_what_kubectl_takes_them_for() -> None:
    objects = read("""
kind: Service
metadata: {name: a, deletionTimestamp: 2026-01-01T00:00:00Z, annotations: null}
spec: {type: LoadBalancer, clusterIP: 10.0.0.1, loadBalancerClass: null}
status: {loadBalancer: {ingress: null}}
""")
    assert objects.errors == []
    service = objects.services["default/a"]
    assert service.metadata.deletion_timestamp == "2026-01-01T00:00:00Z"
    assert service.status.load_balancer.ingress == []


@pytest.mark.parametrize(
    ("rest", "version"),
    [
        ("spec: {type: LoadBalancer}", 4),
        ("spec: {type: LoadBalancer, ipFamilies: [IPv6]}", 6),
        ("spec: {type: LoadBalancer, loadBalancerIP: '2001:2::1'}", 6),
        ("spec: {type: LoadBalancer}\nstatus: {loadBalancer: {ingress: [{ip: '2001:2::1'}]}}", 6),
    ],
)
def test_a_manifest_gets_a_cluster_address(rest: str, version: int) -> None:
    (service,) = read(f"kind: Service\nmetadata: {{name: a}}\n{rest}").services.values()
    assert (":" in service.spec.cluster_ip) == (version == 6)
    assert service.spec.cluster_ip


@pytest.mark.parametrize("given", ["None", '""', "10.0.0.9"])
def test_a_given_cluster_address_is_left_alone(given: str) -> None:
    (service,) = read(
        f"kind: Service\nmetadata: {{name: a}}\nspec: {{type: LoadBalancer, clusterIP: {given}}}"
    ).services.values()
    assert service.spec.cluster_ip == given.strip('"')


def test_endpoints_stand_for_slices_where_there_are_none() -> None:
    objects = read("""
kind: Endpoints
metadata: {name: a}
subsets:
- addresses: [{ip: 10.1.0.1, nodeName: n1}]
  notReadyAddresses: [{ip: 10.1.0.2, nodeName: n2}]
---
kind: Endpoints
metadata: {name: b}
subsets: [{addresses: [{ip: 10.1.0.3, nodeName: n3}]}]
---
kind: EndpointSlice
metadata: {name: b-1, labels: {kubernetes.io/service-name: b}}
endpoints: []
""")
    slices = {piece.service_key: piece.endpoints for piece in objects.service_slices()}
    assert slices["default/b"] == []
    found = [(each.node_name, each.conditions.ready) for each in slices["default/a"] or ()]
    assert found == [("n1", True), ("n2", False)]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("{kind: Service, spec: {}}", ["Service", "metadata.name"]),
        (
            "{kind: Service, metadata: {name: a}, spec: {ports: [{port: x}]}}",
            ["Service a", "$.spec.ports[0].port"],
        ),
        (
            "{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: p}}",
            ["IPAddressPool p", "ConfigMap"],
        ),
        ("just text", ["no kind"]),
        ("a: [", ["not YAML or JSON"]),
        ("{kind: Service, metadata: {name: a}, spec: 7}", ["Service a", "$.spec"]),
        (
            "{kind: Service, metadata: {name: a}, spec: {type: LoadBalancer}, status: 7}",
            ["Service a", "status"],
        ),
    ],
)
def test_what_cannot_be_read_is_one_line(text: str, parts: list[str]) -> None:
    (error,) = read(text).errors
    assert error.startswith("x.yaml: ")
    assert "\n" not in error
    assert all(part in error for part in parts)
