"""`vipring plan` as the black box of everything that decides."""

from __future__ import annotations

import msgspec
import pytest

from election.order import Order
from vipring.objectfiles import load
from vipring.plan import Allocation, OwnerPlan, PlanResult, plan

CONFIG = """
kind: ConfigMap
metadata: {{name: config, namespace: {namespace}}}
data:
  config: |
    address-pools:
    - name: default
      protocol: layer2
      addresses: [10.20.30.1-10.20.30.2]
    - name: routed
      protocol: bgp
      auto-assign: false
      addresses: [198.18.5.0/24]
"""
NODES = "---\n".join(f"kind: Node\nmetadata: {{name: node-{letter}}}\n" for letter in "abc")


def service(name: str, rest: str = "", *nodes: str) -> str:
    """A Service, and an EndpointSlice with a ready endpoint on each of `nodes`."""
    endpoints = ", ".join(f"{{nodeName: {node}, conditions: {{ready: true}}}}" for node in nodes)
    text = (
        f"kind: Service\nmetadata: {{name: {name}, namespace: default}}\nspec: {{type: LoadBalancer{rest}}}\n"
    )
    if nodes:
        text += f"""---
kind: EndpointSlice
metadata: {{name: {name}-1, namespace: default, labels: {{kubernetes.io/service-name: {name}}}}}
endpoints: [{endpoints}]
"""
    return text


def run(
    *texts: str,
    members: list[str] | None = None,
    order: Order = Order.CURRENT,
    config: str = CONFIG.format(namespace="metallb-system"),
) -> PlanResult:
    return plan(load([("x", "\n---\n".join([config, NODES, *texts]))]), members, order)


def test_allocations_and_owners_of_the_current_order() -> None:
    result = run(service("one", "", "node-a"), service("two", "", "node-a"))
    assert result.errors == []
    assert result.allocations == {
        "default/one": Allocation(["10.20.30.1"], "default", None),
        "default/two": Allocation(["10.20.30.2"], "default", None),
    }
    assert result.owners == {
        "10.20.30.1": OwnerPlan("node-b", ["node-b", "node-c", "node-a"], {}),
        "10.20.30.2": OwnerPlan("node-c", ["node-c", "node-a", "node-b"], {}),
    }


def test_the_order_of_v09_hashes_the_name_and_wants_endpoints() -> None:
    result = run(service("nginx", "", "node-a", "node-c"), order=Order.V09)
    assert result.owners == {
        "10.20.30.1": OwnerPlan("node-c", ["node-c", "node-a"], {"node-b": "noLocalEndpoints"})
    }


def test_v1_endpoints_of_the_v09_generation() -> None:
    endpoints = """
kind: Endpoints
metadata: {name: nginx, namespace: default}
subsets: [{addresses: [{ip: 10.1.0.1, nodeName: node-c}], notReadyAddresses: [{ip: 10.1.0.2, nodeName: node-a}]}]
"""
    result = run(service("nginx"), endpoints, order=Order.V09)
    assert result.owners["10.20.30.1"] == OwnerPlan(
        "node-c", ["node-c"], {"node-a": "noReadyEndpoint", "node-b": "noLocalEndpoints"}
    )


def test_members_say_who_is_alive() -> None:
    result = run(service("one", "", "node-a"), members=["node-a", "node-c"])
    assert result.owners["10.20.30.1"] == OwnerPlan(
        "node-c", ["node-c", "node-a"], {"node-b": "speakerNotAlive"}
    )


def test_a_service_without_slices_has_an_address_and_no_owner() -> None:
    result = run(service("one"))
    assert result.allocations["default/one"].ips == ["10.20.30.1"]
    assert result.owners["10.20.30.1"] == OwnerPlan(
        None, [], dict.fromkeys(["node-a", "node-b", "node-c"], "noEndpoints")
    )
    assert result.errors == []


def test_addresses_in_a_status_are_kept_before_any_is_given() -> None:
    kept = service("z", "", "node-a") + "---\nkind: Node\nmetadata: {name: node-d}\n"
    kept = kept.replace("spec:", "status: {loadBalancer: {ingress: [{ip: 10.20.30.1}]}}\nspec:", 1)
    result = run(service("a"), kept)
    assert result.allocations["default/z"].ips == ["10.20.30.1"]
    assert result.allocations["default/a"].ips == ["10.20.30.2"]


def test_a_lost_address_says_why() -> None:
    moved = service("a").replace("spec:", "status: {loadBalancer: {ingress: [{ip: 1.2.3.4}]}}\nspec:")
    result = run(moved)
    assert result.allocations["default/a"] == Allocation(["10.20.30.1"], "default", "notAllowedByConfig")


def test_failures_are_reasons_and_errors() -> None:
    result = run(
        service("a"),
        service("b"),
        service("c"),
        service("none", ", clusterIP: None"),
        service("other", ", type: ClusterIP"),
    )
    assert result.allocations["default/c"] == Allocation([], None, "no available IPs")
    assert result.allocations["default/none"] == Allocation([], None, "noClusterIP")
    assert "default/other" not in result.allocations
    assert result.errors == ['Failed to allocate IP for "default/c": no available IPs']


def test_bgp_pools_have_addresses_and_no_layer2_owner() -> None:
    result = run(service("a", ", loadBalancerIP: 198.18.5.7", "node-a"))
    assert result.allocations["default/a"] == Allocation(["198.18.5.7"], "routed", None)
    assert result.owners == {}


def test_another_load_balancer_class_is_left_alone() -> None:
    result = run(service("a", ", loadBalancerClass: example.org/x"))
    assert result.allocations["default/a"].ips == []
    assert result.allocations["default/a"].reason == "loadBalancerClass example.org/x is another's"
    assert result.errors == []


@pytest.mark.parametrize(
    ("config", "part"),
    [
        ("kind: Node\nmetadata: {name: n}", "no ConfigMap metallb-system/config"),
        (CONFIG.format(namespace="a") + "---" + CONFIG.format(namespace="b"), "in several namespaces"),
        (CONFIG.format(namespace="a").replace("protocol: bgp", "protocol: x"), "unknown protocol"),
    ],
)
def test_without_a_usable_config_nothing_is_decided(config: str, part: str) -> None:
    result = run(service("a", "", "node-a"), config=config)
    (error,) = result.errors
    assert part in error
    assert result.allocations == {"default/a": Allocation([], None, "noConfig")}
    assert result.owners == {}


def test_a_config_map_elsewhere_or_without_a_namespace_does() -> None:
    for namespace in ("other", '""'):
        assert run(service("a"), config=CONFIG.format(namespace=namespace)).errors == []


def test_the_result_is_json() -> None:
    document = msgspec.json.decode(msgspec.json.encode(run(service("a", "", "node-a"))))
    assert set(document) == {"allocations", "owners", "errors"}
    assert document["allocations"]["default/a"] == {"ips": ["10.20.30.1"], "pool": "default", "reason": None}
    assert set(document["owners"]["10.20.30.1"]) == {"node", "ranking", "excluded"}
