"""The incremental election against one made from scratch, after any sequence of changes."""

from __future__ import annotations

from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from election.election import Election
from election.model import Address, EndpointView, NodeView, ServiceView
from election.order import Order

NODES = st.sampled_from(["n1", "n2", "n3", "n4", "n5"])
KEYS = st.sampled_from(["a/1", "a/2", "b/1"])
ADDRESSES = st.sampled_from([IPv4Address("198.18.1.0"), IPv4Address("198.18.1.1"), IPv4Address("198.18.1.2")])
ENDPOINTS = st.builds(EndpointView, st.none() | NODES, st.booleans(), st.booleans())
SERVICES = st.builds(
    ServiceView,
    KEYS,
    st.lists(ADDRESSES, min_size=1, max_size=2, unique=True).map(tuple),
    st.booleans(),
    st.lists(ENDPOINTS, max_size=4).map(tuple),
    st.dictionaries(NODES, st.integers(0, 3), max_size=2),
)
NODE_VIEWS = st.builds(NodeView, NODES, st.booleans(), st.booleans())
MEMBERS = st.none() | st.sets(NODES)


class Incremental(RuleBasedStateMachine):
    """Any changes: owners, returned changes and reasons must agree with a fresh election."""

    @initialize(order=st.sampled_from(Order))
    def begin(self, order: Order) -> None:
        self.order = order
        self.election = Election(order)
        self.services: dict[str, ServiceView] = {}
        self.nodes: dict[str, NodeView] = {}
        self.members: set[str] | None = None
        self.before: dict[Address, str | None] = {}

    def check(self, changed: set[Address]) -> None:
        after = dict(self.election.owners())
        assert changed == {
            address for address in self.before | after if self.before.get(address) != after.get(address)
        }
        self.before = after

    @rule(view=SERVICES)
    def set_service(self, view: ServiceView) -> None:
        self.services[view.key] = view
        self.check(self.election.set_service(view))

    @rule(key=KEYS)
    def remove_service(self, key: str) -> None:
        self.services.pop(key, None)
        self.check(self.election.remove_service(key))

    @rule(view=NODE_VIEWS)
    def set_node(self, view: NodeView) -> None:
        self.nodes[view.name] = view
        self.check(self.election.set_node(view))

    @rule(name=NODES)
    def remove_node(self, name: str) -> None:
        self.nodes.pop(name, None)
        self.check(self.election.remove_node(name))

    @rule(live=MEMBERS)
    def set_members(self, live: set[str] | None) -> None:
        self.members = live
        self.check(self.election.set_members(live))

    @invariant()
    def same_as_from_scratch(self) -> None:
        fresh = Election(self.order)
        for view in self.services.values():
            fresh.set_service(view)
        fresh.set_members(self.members)
        for node in self.nodes.values():
            fresh.set_node(node)
        assert dict(fresh.owners()) == dict(self.election.owners())
        known = set(self.nodes) | (self.members or set())
        for address, owner in self.election.owners().items():
            ranking = self.election.ranking(address)
            assert ranking == fresh.ranking(address)
            assert ranking.owner == owner == next(iter(ranking.nodes), None)
            assert len(set(ranking.nodes)) == len(ranking.nodes)
            assert not set(ranking.nodes) & set(ranking.excluded)
            named = set(ranking.nodes) | set(ranking.excluded)
            assert named == known or (self.members is None and self.order is Order.V09 and named > known)


TestIncremental = Incremental.TestCase


@given(st.sampled_from(Order), st.lists(SERVICES, max_size=4), st.sets(NODES, min_size=2), st.data())
def test_a_death_moves_only_what_the_dead_node_owned(
    order: Order, services: list[ServiceView], members: set[str], data: st.DataObject
) -> None:
    election = Election(order)
    election.set_members(members)
    for view in services:
        election.set_service(view)
    before = dict(election.owners())
    dead = data.draw(st.sampled_from(sorted(members)))
    moved = election.set_members(members - {dead})
    assert moved == {address for address, owner in before.items() if owner == dead}
    assert {address: election.owner(address) for address in before if address not in moved} == {
        address: owner for address, owner in before.items() if owner != dead
    }
    election.set_members(members)
    assert dict(election.owners()) == before
