"""What this node is to announce, and who owns what."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address, ip_address, ip_network

import pytest

from announcer.layer2.turns import LAST_TURN
from cluster.config.model import Config, Pool
from cluster.objects import EndpointSlice, Node, ObjectMeta, Service
from election.order import Order
from speaker.announced import Announced
from speaker.decide import SERVICES_A_BATCH, Decider, Decisions, Offer
from speaker.pools import turn_of
from speaker.views import EXCLUDE_LABEL
from tests.unit.speaker.builders import CONFIG, VIP, node, piece, service

NODES = ("node-a", "node-b", "node-c")


def decider(on: str = "node-a", *, members: tuple[str, ...] | None = NODES) -> Decider:
    made = Decider(node=on, order=Order.CURRENT)
    for name in NODES:
        made.set_node(node(name))
    made.set_config(CONFIG)
    made.set_members(members, "joined")
    made.take(0.0)
    return made


def owner_of(made: Decider, ip: str) -> str | None:
    return made.owner(ip_address(ip))


def announce(made: Decider, ip: str = "198.18.1.1", now: float = 1.0) -> Decisions:
    made.set_service(service("web", ip))
    made.set_slice(piece("web", "node-a"))
    return made.take(now)


def test_exactly_the_owner_announces() -> None:
    tables = {}
    for name in NODES:
        made = decider(name)
        announce(made)
        tables[name] = made.table
        assert owner_of(made, "198.18.1.1") in NODES
    holders = [name for name, table in tables.items() if VIP in table]
    assert holders == [owner_of(decider_with_service(), "198.18.1.1")]


def decider_with_service(on: str = "node-a") -> Decider:
    made = decider(on)
    announce(made)
    return made


def test_others_count_only_where_they_may_own_addresses() -> None:
    made = decider(members=("node-a", "node-b", "no-node"))
    assert made.others_may_own()
    label = ObjectMeta(name="node-b", labels={EXCLUDE_LABEL: ""})
    made.set_node(Node(metadata=label))
    made.take(1.0)
    assert not made.others_may_own()


def test_first_owner_is_told_once_with_services_and_reason() -> None:
    made = decider()
    change = announce(made).owner_changes[0]
    assert (change.ip, change.services, change.previous, change.reason) == (
        VIP,
        ("default/web",),
        None,
        "serviceAdded",
    )
    assert made.since[VIP] == 1.0
    assert made.take(2.0).owner_changes == ()
    assert not made.pending


def test_death_of_the_owner_moves_the_address_and_names_the_cause() -> None:
    made = decider_with_service()
    before = made.owner(VIP)
    assert before is not None
    made.set_members([name for name in NODES if name != before], "memberDead")
    decisions = made.take(5.0)
    assert [(c.owner, c.previous, c.reason) for c in decisions.owner_changes] == [
        (made.owner(VIP), before, "memberDead")
    ]
    assert made.owner(VIP) not in (None, before)
    assert made.since[VIP] == 5.0


def test_takeover_offers_the_address_and_loss_withdraws_it_as_not_owner() -> None:
    owner = decider_with_service().owner(VIP)
    assert owner is not None
    rest = [name for name in NODES if name != owner]
    heir_view = decider_with_service(owner)
    assert heir_view.table == {VIP}
    heir_view.set_members(rest, "memberLeft")
    lost = heir_view.take(2.0)
    assert lost.table == frozenset()
    assert list(lost.withdrawn.values()) == ["notOwner"]
    heir_view.set_members(NODES, "memberJoined")
    won = heir_view.take(3.0)
    assert won.table == frozenset({VIP})
    assert won.offered == (Offer("default/web", VIP, "lan", "layer2"),)


def test_nobody_owns_anything_before_the_ring_is_known() -> None:
    made = decider(members=())
    decisions = announce(made)
    assert decisions.owner_changes == ()
    assert decisions.table is None
    assert made.addresses() == [VIP]
    made.set_members(NODES, "joined")
    assert [change.reason for change in made.take(2.0).owner_changes] == ["joined"]


def test_without_a_ring_every_known_node_counts() -> None:
    made = decider(members=None)
    announce(made)
    assert made.owner(VIP) in NODES


def test_no_configuration_no_address() -> None:
    made = Decider(node="node-a", order=Order.CURRENT)
    made.set_node(node("node-a"))
    made.set_members(["node-a"], "joined")
    announce(made)
    assert made.addresses() == []
    made.set_config(CONFIG)
    assert [change.reason for change in made.take(2.0).owner_changes] == ["configChanged"]
    assert made.table == {VIP}


@pytest.mark.parametrize(
    ("ips", "kind", "reason"),
    [
        ((), "LoadBalancer", "noIPAllocated"),
        (("198.18.1.9",), "LoadBalancer", "loadBalancerIPChanged"),
        (("198.18.1.1",), "ClusterIP", "notLoadBalancer"),
    ],
)
def test_withdraw_reasons_of_a_changed_service(ips: tuple[str, ...], kind: str, reason: str) -> None:
    made = decider(members=("node-a",))
    announce(made)
    made.set_service(service("web", *ips, kind=kind))
    assert list(made.take(2.0).withdrawn.values()) == [reason]


def test_withdraw_reasons_of_deletion_and_configuration() -> None:
    made = decider(members=("node-a",))
    announce(made)
    made.set_config(Config(pools=(Pool("other", "layer2", (ip_network("198.18.9.0/24"),)),)))
    assert list(made.take(2.0).withdrawn.values()) == ["ipNotAllowed"]
    made.set_config(CONFIG)
    made.take(3.0)
    made.set_config(Config(pools=(Pool("lan", "bgp", (ip_network("198.18.1.0/24"),)),)))
    assert list(made.take(4.0).withdrawn.values()) == ["protocolChanged"]
    made.set_config(CONFIG)
    made.take(5.0)
    made.remove_service("default/web")
    decisions = made.take(6.0)
    assert list(decisions.withdrawn.values()) == ["serviceDeleted"]
    assert decisions.table == frozenset()
    assert made.addresses() == []
    assert made.owner(VIP) is None


def test_a_renamed_pool_neither_withdraws_nor_touches_the_table() -> None:
    made = decider(members=("node-a",))
    announce(made)
    made.set_config(Config(pools=(Pool("renamed", "layer2", (ip_network("198.18.1.0/24"),)),)))
    decisions = made.take(2.0)
    assert decisions.table is None
    assert dict(decisions.withdrawn) == {}
    assert [offer.pool for offer in decisions.offered] == ["renamed"]


def test_another_priority_moves_nothing_and_is_told_of_what_this_node_has() -> None:
    made = decider(members=("node-a",))
    announced = Announced(lambda _: False)
    announced.decided(announce(made))
    announced.reported(VIP, "eth0")
    lan = Pool("lan", "layer2", (ip_network("198.18.1.0/24"),))
    turns = []
    for priority in (7, -7, 0):
        made.set_config(Config(pools=(replace(lan, priority=priority),)))
        decisions = made.take(2.0)
        assert (decisions.owner_changes, decisions.table, dict(decisions.withdrawn)) == ((), None, {})
        assert announced.decided(decisions) == []
        turns += [offer.turn for offer in decisions.offered]
    assert turns == [7, -7, LAST_TURN]


@pytest.mark.parametrize("priorities", [(1, 2, 0), (-1, 1, 0), (-5, -2, 2**31 - 2)])
def test_the_lowest_priority_goes_first_and_none_last(priorities: tuple[int, ...]) -> None:
    turns = [turn_of(Pool("lan", "layer2", (), priority=priority)) for priority in priorities]
    assert turns == sorted(set(turns))


def test_an_address_stays_with_the_services_that_still_share_it() -> None:
    made = decider(members=("node-a",))
    announce(made)
    made.set_service(service("other", "198.18.1.1"))
    made.set_slice(piece("other", "node-b"))
    assert made.take(2.0).table is None
    assert made.users(VIP) == ("default/other", "default/web")
    made.remove_service("default/web")
    decisions = made.take(3.0)
    assert decisions.table is None
    assert decisions.owner_changes == ()
    assert {offer.service: reason for offer, reason in decisions.withdrawn.items()} == {
        "default/web": "serviceDeleted"
    }
    assert made.table == {VIP}


def test_addresses_of_bgp_pools_are_not_elected() -> None:
    made = decider()
    announce(made, "198.18.2.1")
    assert made.addresses() == []


def test_both_families_of_a_service() -> None:
    made = decider(members=("node-a",))
    made.set_service(service("web", "198.18.1.1", "2001:2::5"))
    made.set_slice(piece("web", "node-a"))
    made.take(1.0)
    assert made.table == {VIP, IPv6Address("2001:2::5")}


def test_losing_the_last_ready_endpoint_leaves_nobody() -> None:
    made = decider(members=("node-a",))
    announce(made)
    made.set_slice(piece("web", "node-a", ready=False), piece("web", "node-a"))
    decisions = made.take(2.0)
    assert [(c.owner, c.reason) for c in decisions.owner_changes] == [(None, "endpointsChanged")]
    assert decisions.table == frozenset()


def test_a_change_that_means_nothing_moves_nothing() -> None:
    made = decider(members=("node-a",))
    announce(made)
    made.set_slice(piece("web", "node-a"), piece("web", "node-a"))
    made.set_service(service("web", "198.18.1.1"))
    decisions = made.take(2.0)
    assert (decisions.owner_changes, decisions.table, decisions.offered) == ((), None, ())


def test_an_address_that_this_node_announced_was_owned_before_until_no_service_uses_it() -> None:
    made = decider(members=("node-a",))
    changes = [*announce(made).owner_changes]
    for says in (False, True):
        if says:
            made.announced(VIP)
        made.set_slice(piece("web", "node-a", ready=False))
        changes += made.take(2.0).owner_changes
        made.set_slice(piece("web", "node-a"))
        changes += made.take(3.0).owner_changes
    assert [(change.owner, change.owned_before) for change in changes] == [
        ("node-a", False),
        (None, False),
        ("node-a", False),
        (None, True),
        ("node-a", True),
    ]
    made.remove_service("default/web")
    made.take(4.0)
    (anew,) = announce(made).owner_changes
    assert not anew.owned_before


def test_an_address_that_another_owned_once_was_owned_before() -> None:
    made = decider_with_service("node-x")
    made.set_slice(piece("web", "node-a", ready=False))
    (lost,) = made.take(2.0).owner_changes
    assert lost.owned_before


def test_unpooled_names_the_address_that_a_configuration_would_drop() -> None:
    made = decider()
    narrow = Config(pools=(Pool("lan", "layer2", (ip_network("198.18.1.0/25"),)),))
    assert made.unpooled(narrow, [VIP, ip_address("198.18.1.200")]) == ip_address("198.18.1.200")
    assert made.unpooled(narrow, [VIP]) is None


def test_a_large_configuration_change_is_worked_out_in_batches() -> None:
    made = decider(members=("node-a",))
    count = SERVICES_A_BATCH + 10
    for number in range(count):
        made.set_service(service(f"s{number}", str(ip_address("2001:2::") + number)))
        made.set_slice(piece(f"s{number}", "node-a"))
    sizes = []
    while made.pending:
        made.take(1.0)
        sizes.append(len(made.table))
    assert sizes == [SERVICES_A_BATCH, count]


@pytest.mark.parametrize(
    ("given", "slices", "config", "problem"),
    [
        (None, None, CONFIG, "serviceNotFound"),
        (service("web", kind="ClusterIP"), None, CONFIG, "notLoadBalancer"),
        (service("web"), None, None, "noConfig"),
        (service("web"), None, Config(), "noPools"),
        (service("web"), None, CONFIG, "noIPAllocated"),
        (service("web", "198.18.7.7"), None, CONFIG, "ipNotAllowed"),
        (service("web", "198.18.2.7"), None, CONFIG, "protocolNotLayer2"),
        (service("web", "198.18.1.1"), None, CONFIG, "noReadyEndpoint"),
        (service("web", "198.18.1.1"), piece("web", "node-a", ready=False), CONFIG, "noReadyEndpoint"),
        (service("web", "198.18.1.1", policy="Local"), piece("web", "node-x"), CONFIG, "noCandidate"),
        (service("web", "198.18.1.1"), piece("web", "node-a"), CONFIG, None),
    ],
)
def test_diagnosis(
    given: Service | None, slices: EndpointSlice | None, config: Config | None, problem: str | None
) -> None:
    made = Decider(node="node-a", order=Order.CURRENT)
    made.set_node(node("node-a"))
    made.set_members(["node-a"], "joined")
    if config is not None:
        made.set_config(config)
    if given is not None:
        made.set_service(given)
    if slices is not None:
        made.set_slice(slices)
    made.take(1.0)
    assert made.diagnose("default/web").problem == problem


def test_many_members_count_a_few_at_a_time_and_never_give_more_than_they_will(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("speaker.decide.HASHES_A_BATCH", 40)
    names = [f"n{number}" for number in range(20)]
    made = Decider(node="n0", order=Order.CURRENT)
    made.set_config(CONFIG)
    for name in names:
        made.set_node(node(name))
    made.set_members(["n0"], "joined")
    for number in range(20):
        made.set_service(service(f"web{number}", f"198.18.1.{number}"))
        made.set_slice(piece(f"web{number}", "n0"))
    made.take(1.0)
    assert len(made.table) == 20
    made.set_members(names, "memberJoined")
    sizes = [len(made.table)]
    for _ in range(10):
        made.take(2.0)
        sizes.append(len(made.table))
    assert not made.pending
    assert len(sizes) == 11, "19 members, two a batch"
    assert sizes == sorted(sizes, reverse=True)
    final = {address: made.owner(address) for address in made.addresses()}
    made.set_members(["n0", "n1"], "memberDead")
    for _ in range(9):
        gained = set(made.table)
        made.take(3.0)
        assert gained <= made.table, "who is gone can only leave addresses to us"
    made.set_members(names, "memberJoined")
    made.set_members(["n0", "n1"], "memberDead")
    assert not made.take(4.0).owner_changes, "gone again before it counted"
    made.set_members(names, "memberJoined")
    for _ in range(9):
        made.take(5.0)
    assert {address: made.owner(address) for address in made.addresses()} == final
