"""Endpoints, EndpointSlices and the rules that come from them."""

from __future__ import annotations

import msgspec
import pytest

from chaos.lab import dataplane, endpoints
from chaos.lab.objects import EndpointConditions, EndpointPort, EndpointSlice
from chaos.lab.plan import node_plan
from tests.unit.chaos.lab import build

N1 = node_plan(1)


def test_slices_follow_selector_and_readiness() -> None:
    pods = [
        build.pod("a", labels={"app": "web"}, ip="198.19.65.2", node="n1", ready=True),
        build.pod("b", labels={"app": "web"}, ip="198.19.66.2", node="n2"),
        build.pod("c", labels={"app": "web"}, ip="198.19.66.3", node="n2", ready=True, deleted=True),
        build.pod("d", labels={"app": "other"}, ip="198.19.66.4", node="n2", ready=True),
        build.pod("e", labels={"app": "web"}, ready=True),
    ]
    (found,) = (msgspec.convert(s, EndpointSlice) for s in endpoints.slices(build.service(), pods).values())
    assert [(e.addresses, e.node_name, e.conditions) for e in found.endpoints or ()] == [
        (["198.19.65.2"], "n1", EndpointConditions(True, True, False)),
        (["198.19.66.2"], "n2", EndpointConditions(False, False, False)),
        (["198.19.66.3"], "n2", EndpointConditions(False, True, True)),
    ]
    assert found.ports == [EndpointPort(8080, "http", "TCP")]
    former = msgspec.json.encode(endpoints.endpoints(build.service(), pods)["subsets"]).decode()
    ready, waiting = former.split('"notReadyAddresses"')
    assert ("198.19.65.2" in ready, "198.19.66.2" in waiting, "198.19.66.3" in former) == (True, True, False)


def test_a_service_without_pods_has_an_empty_slice() -> None:
    (found,) = endpoints.slices(build.service(), []).values()
    assert found["endpoints"] == []
    assert endpoints.endpoints(build.service(), [])["subsets"] == []


def test_named_target_ports_may_differ_between_pods() -> None:
    service = build.service(ports=[{"name": "http", "port": 80, "targetPort": "web"}])
    pods = [
        build.pod(name, labels={"app": "web"}, ip=ip, containers=[{"name": "c", "ports": ports}])
        for name, ip, ports in (
            ("a", "198.19.65.2", [{"name": "web", "containerPort": 8080}]),
            ("b", "198.19.65.3", [{"name": "web", "containerPort": 9090}]),
        )
    ]
    found = [msgspec.convert(s, EndpointSlice) for s in endpoints.slices(service, pods).values()]
    assert [s.ports for s in found] == [[EndpointPort(8080, "http")], [EndpointPort(9090, "http")]]


def rules(policy: str, *found: dict[str, object], on: int = 1) -> str:
    service = build.service(type="LoadBalancer", externalTrafficPolicy=policy, ip="198.18.1.0")
    return dataplane.rules([service], [build.endpoint_slice(*found)], node_plan(on))


def element(text: str, chain: str, address: str) -> str:
    """Where a map sends an address."""
    body = text.split(f"map {chain} {{")[1].split("}\n", maxsplit=1)[0]
    return next(e.split("goto ")[1].strip(" }") for e in body.split(",") if address in e)


def targets(text: str, chain: str) -> list[str]:
    """The endpoints of a chain."""
    body = text.split(f"chain {chain} {{")[1].split("map { ")[1].split(" }", maxsplit=1)[0]
    return [choice.split(" : ")[1] for choice in body.split(", ")]


EVERYWHERE = (
    build.endpoint("198.19.65.2", "n1", ready=True),
    build.endpoint("198.19.66.2", "n2", ready=True),
)


def test_policy_cluster_uses_all_endpoints_and_replaces_the_source() -> None:
    text = rules("Cluster", *EVERYWHERE)
    chain = element(text, "outside", "198.18.1.0")
    assert targets(text, chain) == ["198.19.65.2 . 8080", "198.19.66.2 . 8080"]
    assert "0x4000" in text.split(f"chain {chain} {{")[1].split("}")[0]


def test_policy_local_uses_own_endpoints_and_keeps_the_source() -> None:
    text = rules("Local", *EVERYWHERE)
    chain = element(text, "outside", "198.18.1.0")
    assert targets(text, chain) == ["198.19.65.2 . 8080"]
    assert "0x4000" not in text.split(f"chain {chain} {{")[1].split("}")[0]


def test_policy_local_without_own_endpoint_loses_what_comes_from_outside_only() -> None:
    text = rules("Local", EVERYWHERE[1])
    assert element(text, "outside", "198.18.1.0") == "lose"
    inner = element(text, "inside", "198.18.1.0")
    assert targets(text, inner) == ["198.19.66.2 . 8080"]
    assert element(text, "outside", "198.19.128.9") == inner


@pytest.mark.parametrize(
    "conditions", [{"ready": False}, {"ready": False, "serving": False, "terminating": True}]
)
def test_without_endpoints_connections_are_refused(conditions: dict[str, bool]) -> None:
    text = rules("Cluster", build.endpoint("198.19.65.2", "n1", **conditions))
    assert element(text, "outside", "198.18.1.0") == "refuse"
    assert element(text, "inside", "198.19.128.9") == "refuse"


def test_terminating_endpoints_serve_where_nothing_else_does() -> None:
    fading = build.endpoint("198.19.65.2", "n1", ready=False, serving=True, terminating=True)
    text = rules("Cluster", fading)
    assert targets(text, element(text, "outside", "198.18.1.0")) == ["198.19.65.2 . 8080"]
    text = rules("Cluster", fading, EVERYWHERE[1])
    assert targets(text, element(text, "outside", "198.18.1.0")) == ["198.19.66.2 . 8080"]


def test_headless_services_have_no_rules() -> None:
    text = dataplane.rules([build.service(clusterIP="None")], [build.endpoint_slice(*EVERYWHERE)], N1)
    assert "goto" not in text.split("map inside")[1].split("chain")[0]
