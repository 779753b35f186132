"""Who may announce, under both orders, and the reason for everybody else."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from election.election import Election
from election.model import EndpointView, NodeView, Reason, ServiceView
from election.order import Order

VIP = ip_address("198.18.1.1")
READY = (True, True)
DEAD = (False, False)
DRAINING = (False, True)


def service(
    *endpoints: tuple[str | None, tuple[bool, bool]],
    key: str = "default/web",
    local: bool = False,
    weights: dict[str, int] | None = None,
) -> ServiceView:
    views = tuple(EndpointView(node, ready, serving) for node, (ready, serving) in endpoints)
    return ServiceView(key, (VIP,), local, views, weights or {})


def election(order: Order, *services: ServiceView, members: str | None = "a b c") -> Election:
    made = Election(order)
    for name in "abc":
        made.set_node(NodeView(name))
    if members is not None:
        made.set_members(members.split())
    for view in services:
        made.set_service(view)
    return made


@pytest.mark.parametrize(
    ("order", "view", "candidates", "reason"),
    [
        (Order.CURRENT, service(("a", READY)), "a b c", None),
        (Order.CURRENT, service((None, READY)), "a b c", None),
        (Order.CURRENT, service(("a", DRAINING)), "a b c", None),
        (Order.CURRENT, service(("a", DEAD)), "", Reason.NO_READY_ENDPOINT),
        (Order.CURRENT, service(), "", Reason.NO_ENDPOINTS),
        (Order.CURRENT, service(("a", READY), local=True), "a", Reason.NO_LOCAL_ENDPOINTS),
        (Order.CURRENT, service(("a", DRAINING), local=True), "a", Reason.NO_LOCAL_ENDPOINTS),
        (Order.CURRENT, service(local=True), "", Reason.NO_ENDPOINTS),
        (Order.V09, service(("a", READY), ("b", READY)), "a b", Reason.NO_LOCAL_ENDPOINTS),
        (Order.V09, service(("a", READY), local=True), "a", Reason.NO_LOCAL_ENDPOINTS),
        (Order.V09, service(("a", READY), ("a", DEAD)), "a", Reason.NO_LOCAL_ENDPOINTS),
        (Order.V09, service(), "", Reason.NO_ENDPOINTS),
    ],
)
def test_endpoints_decide_the_candidates(
    order: Order, view: ServiceView, candidates: str, reason: Reason | None
) -> None:
    ranking = election(order, view).ranking(VIP)
    assert set(ranking.nodes) == set(candidates.split())
    assert set(ranking.excluded.values()) == ({reason} if reason else set())
    assert set(ranking.nodes) | set(ranking.excluded) == {"a", "b", "c"}


def test_a_terminating_endpoint_serves_only_under_the_current_order() -> None:
    view = service(("a", DRAINING), ("b", READY), local=True)
    assert set(election(Order.CURRENT, view).ranking(VIP).nodes) == {"a", "b"}
    old = election(Order.V09, view).ranking(VIP)
    assert old.nodes == ("b",)
    assert old.excluded == {"a": Reason.NO_READY_ENDPOINT, "c": Reason.NO_LOCAL_ENDPOINTS}


def test_node_conditions_exclude_under_the_current_order_only() -> None:
    for order, expected in ((Order.CURRENT, ("c",)), (Order.V09, ("b", "c", "a"))):
        made = election(order, service(("a", READY), ("b", READY), ("c", READY)))
        made.set_node(NodeView("a", network_unavailable=True))
        made.set_node(NodeView("b", excluded=True))
        ranking = made.ranking(VIP)
        assert set(ranking.nodes) == set(expected)
        if order is Order.CURRENT:
            assert ranking.excluded == {"a": Reason.NODE_NETWORK_UNAVAILABLE, "b": Reason.NODE_EXCLUDED}


def test_dead_speakers_are_no_candidates() -> None:
    made = election(Order.CURRENT, service(("a", READY)), members="b")
    assert made.owner(VIP) == "b"
    assert made.ranking(VIP).excluded == dict.fromkeys("ac", Reason.SPEAKER_NOT_ALIVE)
    assert made.set_members([]) == {VIP}
    assert made.owner(VIP) is None
    assert set(made.ranking(VIP).excluded) == {"a", "b", "c"}


def test_without_a_ring_every_known_node_counts() -> None:
    made = election(Order.CURRENT, service(("z", READY)), members=None)
    assert set(made.ranking(VIP).nodes) == {"a", "b", "c"}
    old = election(Order.V09, service(("z", READY)), members=None)
    assert old.owner(VIP) == "z"
    assert old.set_members(["a"]) == {VIP}
    assert old.owner(VIP) is None


def test_a_member_that_is_no_node_is_no_candidate_under_the_current_order() -> None:
    made = election(Order.CURRENT, service(("a", READY)), members="x")
    assert made.owner(VIP) is None
    assert made.ranking(VIP).excluded["x"] is Reason.NODE_UNKNOWN
    assert made.set_node(NodeView("x")) == {VIP}
    assert made.owner(VIP) == "x"
    assert made.remove_node("x") == {VIP}
    assert made.owner(VIP) is None


def test_weights_rank_before_the_hash_under_the_current_order_only() -> None:
    for node in "abc":
        view = service(
            *((name, READY) for name in "abc"), weights={node: 5, "a": 1} if node != "a" else {"a": 5}
        )
        assert election(Order.CURRENT, view).owner(VIP) == node
    owners = {
        election(Order.V09, service(*((name, READY) for name in "abc"), weights={node: 5})).owner(VIP)
        for node in "abc"
    }
    assert len(owners) == 1


def test_a_shared_address_follows_the_first_key_and_unites_candidates() -> None:
    first = service(("a", READY), key="default/a", local=True)
    second = service(("b", READY), key="default/b", local=True)
    for services in ((first, second), (second, first)):
        made = election(Order.V09, *services)
        alone = election(Order.V09, service(("a", READY), ("b", READY), key="default/a"))
        assert made.ranking(VIP).nodes == alone.ranking(VIP).nodes
        assert made.services(VIP) == ("default/a", "default/b")
        made.remove_service("default/a")
        assert made.owner(VIP) == "b"


def test_a_dual_stack_service_has_one_owner() -> None:
    six = ip_address("2001:2::1")
    for order in Order:
        made = election(order)
        endpoints = tuple(EndpointView(name, ready=True, serving=True) for name in "abc")
        made.set_service(ServiceView("default/web", (VIP, six), False, endpoints))
        assert made.ranking(VIP).nodes == made.ranking(six).nodes


def test_reason_names_the_losers() -> None:
    made = election(Order.CURRENT, service(("a", READY)), members="a b")
    ranking = made.ranking(VIP)
    winner, loser = ranking.nodes
    assert ranking.reason(winner) is None
    assert ranking.reason(loser) is Reason.NOT_OWNER
    assert ranking.reason("c") is Reason.SPEAKER_NOT_ALIVE
    with pytest.raises(KeyError):
        ranking.reason("unknown")


def test_changes_name_exactly_the_addresses_whose_owner_changed() -> None:
    made = election(Order.CURRENT)
    view = service(("a", READY))
    assert made.set_service(view) == {VIP}
    assert made.set_service(view) == set()
    assert made.set_service(service(("a", READY), ("b", READY))) == set()
    owner = made.owner(VIP)
    assert made.set_members({"a", "b", "c"} - {owner}) == {VIP}
    assert made.set_members("abc") == {VIP}
    assert made.owner(VIP) == owner
    assert made.set_members(["a", "b", "c", "d-late"]) in (set(), {VIP})
    assert made.remove_service("default/none") == set()
    assert made.remove_service("default/web") == {VIP}
    assert made.owners() == {}
    with pytest.raises(KeyError):
        made.ranking(VIP)


def test_a_service_may_change_its_address() -> None:
    made = election(Order.CURRENT, service(("a", READY)))
    other = ip_address("198.18.1.2")
    assert made.set_service(
        ServiceView("default/web", (other,), False, (EndpointView("a", True, True),))
    ) == {
        VIP,
        other,
    }
    assert set(made.owners()) == {other}


@pytest.mark.parametrize("nodes", [3, 100])
def test_a_death_hashes_only_for_the_dead_nodes_addresses(
    nodes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import election.election as module
    from election.order import digest

    made = Election(Order.CURRENT)
    names = [f"n{index}" for index in range(nodes)]
    for name in names:
        made.set_node(NodeView(name))
    made.set_members(names)
    base = int(VIP)
    for index in range(200):
        view = ServiceView(
            f"d/s{index}", (ip_address(base + index),), False, (EndpointView(None, True, True),)
        )
        made.set_service(view)
    hashes = []

    def counting(node: str, text: str) -> bytes:
        hashes.append(node)
        return digest(node, text)

    monkeypatch.setattr(module, "digest", counting)
    moved = made.set_members(names[1:])
    assert len(hashes) == len(moved) * (nodes - 1)
    hashes.clear()
    assert made.set_members(names) == moved
    assert len(hashes) == 200
