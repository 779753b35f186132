"""Kubernetes objects as the election sees them."""

from __future__ import annotations

from ipaddress import ip_address

import msgspec
import pytest

from cluster.objects import EndpointSlice, Node, Service
from election.model import EndpointView
from speaker.views import EXCLUDE_LABEL, node_view, service_view


def service(ingress: list[dict[str, str]], **spec: object) -> Service:
    return msgspec.convert(
        {
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"type": "LoadBalancer", **spec},
            "status": {"loadBalancer": {"ingress": ingress}},
        },
        Service,
    )


def piece(*endpoints: dict[str, object]) -> EndpointSlice:
    return msgspec.convert({"metadata": {"namespace": "default"}, "endpoints": endpoints}, EndpointSlice)


@pytest.mark.parametrize(
    ("conditions", "ready", "serving"),
    [
        ({}, True, False),
        ({"ready": True}, True, False),
        ({"ready": False}, False, False),
        ({"ready": False, "serving": True, "terminating": True}, False, True),
        ({"ready": True, "serving": True}, True, True),
    ],
)
def test_conditions_of_an_endpoint(conditions: dict[str, bool], ready: bool, serving: bool) -> None:
    view = service_view(
        service([{"ip": "198.18.1.0"}]), [piece({"nodeName": "n1", "conditions": conditions})]
    )
    assert view is not None
    assert view.endpoints == (EndpointView("n1", ready, serving),)


def test_equal_endpoints_are_folded_whatever_their_order() -> None:
    one = service_view(
        service([{"ip": "198.18.1.0"}]), [piece({"nodeName": "n2"}, {"nodeName": "n1"}), piece({})]
    )
    two = service_view(
        service([{"ip": "198.18.1.0"}]),
        [piece({"nodeName": "n1"}, {"nodeName": "n1"}, {}, {"nodeName": "n2"})],
    )
    assert one == two
    assert one is not None
    assert [endpoint.node for endpoint in one.endpoints] == [None, "n1", "n2"]


def test_addresses_policy_and_key() -> None:
    view = service_view(
        service(
            [{"ip": "198.18.1.0"}, {"hostname": "x"}, {"ip": "no"}, {"ip": "2001:2::1"}],
            externalTrafficPolicy="Local",
        ),
        [],
    )
    assert view is not None
    assert (view.key, view.local) == ("default/web", True)
    assert view.addresses == (ip_address("198.18.1.0"), ip_address("2001:2::1"))


@pytest.mark.parametrize(
    "other",
    [
        service([]),
        service([{"ip": "nonsense"}]),
        service([{"ip": "198.18.1.0"}], type="ClusterIP"),
        service([{"ip": "198.18.1.0"}], loadBalancerClass="example.org/other"),
    ],
)
def test_services_without_a_view(other: Service) -> None:
    assert service_view(other, []) is None


def test_node_view() -> None:
    node = msgspec.convert(
        {
            "metadata": {"name": "n1", "labels": {EXCLUDE_LABEL: ""}},
            "status": {"conditions": [{"type": "NetworkUnavailable", "status": "True"}]},
        },
        Node,
    )
    assert (node_view(node).name, node_view(node).network_unavailable, node_view(node).excluded) == (
        "n1",
        True,
        True,
    )
    plain = msgspec.convert(
        {
            "metadata": {"name": "n2"},
            "status": {"conditions": [{"type": "NetworkUnavailable", "status": "Unknown"}]},
        },
        Node,
    )
    assert (node_view(plain).network_unavailable, node_view(plain).excluded) == (False, False)
