"""The order of candidates as MetalLB computes it: same key, same winner."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from election.election import Election
from election.model import EndpointView, NodeView, ServiceView
from election.order import Order, digest

VECTORS = [
    ("test1", "iris2 iris1", "node-b node-a node-c"),
    ("test2", "iris2 iris1", "node-c node-b node-a"),
    ("default/nginx", "iris2 iris1", "node-b node-c node-a"),
    ("default/web", "iris2 iris1", "node-a node-b node-c"),
    ("10.20.30.1", "iris2 iris1", "node-b node-c node-a"),
    ("10.20.30.2", "iris1 iris2", "node-c node-a node-b"),
    ("192.168.1.240", "iris1 iris2", "node-a node-c node-b"),
    ("1000::1", "iris1 iris2", "node-a node-b node-c"),
    ("fc00:f853:ccd:e799::1", "iris1 iris2", "node-b node-a node-c"),
]
CASES = [(text, tuple(order.split())) for text, *orders in VECTORS for order in orders]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_digest_orders_candidates_as_metallb(text: str, expected: tuple[str, ...]) -> None:
    assert tuple(sorted(expected, key=lambda node: digest(node, text))) == expected


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_ranking_follows_the_key_of_its_order(text: str, expected: tuple[str, ...]) -> None:
    by_address = text[0].isdigit() or ":" in text
    election = Election(Order.CURRENT if by_address else Order.V09)
    address = ip_address(text if by_address else "198.18.1.0")
    for name in expected:
        election.set_node(NodeView(name))
    election.set_members(expected)
    endpoints = tuple(EndpointView(name, ready=True, serving=True) for name in expected)
    election.set_service(ServiceView("x/y" if by_address else text, (address,), False, endpoints))
    ranking = election.ranking(address)
    assert ranking.nodes == expected
    assert ranking.owner == election.owner(address) == expected[0]
    assert ranking.excluded == {}
