"""The incremental election: per address the winner and its rank, at a cost proportional to each change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import TypeAlias

from election.candidates import Rule, refusal, rule_of
from election.model import Address, NodeView, Ranking, Reason, ServiceView
from election.order import Order, digest

Rank: TypeAlias = tuple[int, bytes]
"""Sort key of a candidate, lowest first: negated weight, then digest."""


class _Entry:
    """One address: the keys of its Services in order, their rule, and the winner's rank."""

    __slots__ = ("best", "keys", "rule")

    def __init__(self, keys: list[str], rule: Rule) -> None:
        self.keys = keys
        self.rule = rule
        self.best: Rank | None = None


def _rank(rule: Rule, node: str) -> Rank:
    return -rule.weights.get(node, 0), digest(node, rule.text)


class Election:
    """Decides for every address which node announces it.

    Rendezvous hashing: a node that leaves moves only the addresses it owned (re-ranked, one hash per
    node each), a node that joins costs one hash per address that admits it. Every changing call returns
    the addresses whose owner is different afterwards; an address without a candidate has owner None.

    An address of several Services follows the one whose key sorts first; the nodes admitted are those
    of all of them together. The known nodes are those told by `set_node` and `set_members`. Until
    `set_members` is called with names, every known node counts as running a speaker.
    """

    def __init__(self, order: Order) -> None:
        self._order = order
        self._services: dict[str, ServiceView] = {}
        self._nodes: dict[str, NodeView] = {}
        self._members: frozenset[str] | None = None
        self._entries: dict[Address, _Entry] = {}
        self._owners: dict[Address, str | None] = {}
        self._owned: dict[str, set[Address]] = {}
        self._eligible: set[str] = set()

    @property
    def order(self) -> Order:
        """The generation whose key and candidate rule are in force."""
        return self._order

    def set_service(self, view: ServiceView) -> set[Address]:
        """Add or replace a Service."""
        old = self._services.get(view.key)
        if old == view:
            return set()
        self._services[view.key] = view
        return self._reindex(view.key, set(old.addresses) if old else set(), set(view.addresses))

    def remove_service(self, key: str) -> set[Address]:
        """Forget a Service; an unknown key changes nothing."""
        old = self._services.pop(key, None)
        return self._reindex(key, set(old.addresses), set()) if old else set()

    def set_node(self, view: NodeView) -> set[Address]:
        """Add or replace a Kubernetes node."""
        self._nodes[view.name] = view
        return self._refresh({view.name})

    def remove_node(self, name: str) -> set[Address]:
        """Forget a Kubernetes node; under CURRENT a live speaker of that name is no candidate any more."""
        self._nodes.pop(name, None)
        return self._refresh({name})

    def set_members(self, live: Iterable[str] | None) -> set[Address]:
        """Replace the set of nodes with a live speaker; None if membership is unknown or off."""
        before = self._members
        self._members = None if live is None else frozenset(live)
        if before is None or self._members is None:
            return self._refresh(self._known() | self._eligible | set(self._owned))
        return self._refresh(set(before ^ self._members))

    def owner(self, address: Address) -> str | None:
        """The node that announces `address`; None without a candidate or for an unknown address."""
        return self._owners.get(address)

    @property
    def eligible(self) -> AbstractSet[str]:
        """A live view of the nodes that may announce addresses at all; a Service may admit fewer."""
        return self._eligible

    def owners(self) -> Mapping[Address, str | None]:
        """A live read-only view of all addresses and their owners."""
        return MappingProxyType(self._owners)

    def services(self, address: Address) -> tuple[str, ...]:
        """Keys of the Services that use `address`, the one it follows first; empty if unknown."""
        entry = self._entries.get(address)
        return tuple(entry.keys) if entry else ()

    def ranking(self, address: Address) -> Ranking:
        """All candidates of `address`, best first, and a reason for every other known node.

        Raises KeyError for an address that no Service uses.
        """
        entry = self._entries[address]
        candidates = self._candidates(entry.rule)
        nodes = tuple(sorted(candidates, key=lambda node: _rank(entry.rule, node)))
        views = [self._services[key] for key in entry.keys]
        excluded = {
            node: self._ineligible(node) or refusal(views, node, self._order)
            for node in sorted(self._known() - candidates)
        }
        return Ranking(address, nodes[0] if nodes else None, nodes, excluded)

    def _known(self) -> set[str]:
        """Every node there is: Kubernetes nodes, live members, and under V09 without a ring also the
        nodes that endpoints name, since that rule then asks for nothing else."""
        known = set(self._nodes)
        if self._members is not None:
            known |= self._members
        elif self._order is Order.V09:
            for entry in self._entries.values():
                known |= entry.rule.nodes or frozenset()
        return known

    def _ineligible(self, node: str) -> Reason | None:
        """The reason that rules a node out for every address, None for an eligible node."""
        view = self._nodes.get(node)
        current = self._order is Order.CURRENT
        alive = (view is not None or not current) if self._members is None else node in self._members
        if not alive:
            return Reason.SPEAKER_NOT_ALIVE
        if current:
            if view is None:
                return Reason.NODE_UNKNOWN
            if view.network_unavailable:
                return Reason.NODE_NETWORK_UNAVAILABLE
            if view.excluded:
                return Reason.NODE_EXCLUDED
        return None

    def _candidates(self, rule: Rule) -> set[str]:
        if rule.nodes is None:
            return set(self._eligible)
        return {node for node in rule.nodes if self._ineligible(node) is None}

    def _reindex(self, key: str, before: set[Address], after: set[Address]) -> set[Address]:
        """Bring the entries of a changed Service's addresses up to date."""
        changed = set()
        for address in before | after:
            entry = self._entries.get(address)
            keys = [other for other in entry.keys if other != key] if entry else []
            if address in after:
                keys = sorted([*keys, key])
            if not keys:
                del self._entries[address]
                if self._move(address, None):
                    changed.add(address)
                del self._owners[address]
                continue
            rule = rule_of([self._services[other] for other in keys], self._order)
            if entry is None:
                entry = self._entries[address] = _Entry(keys, rule)
                self._owners[address] = None
            elif entry.rule == rule:
                entry.keys = keys
                continue
            else:
                entry.keys, entry.rule = keys, rule
            if self._elect(address, entry):
                changed.add(address)
        return changed

    def _refresh(self, nodes: set[str]) -> set[Address]:
        """Work out anew which of `nodes` are eligible, and what follows for the addresses."""
        gone = {node for node in nodes if self._ineligible(node) is not None}
        added = nodes - gone - self._eligible
        self._eligible -= gone
        self._eligible |= added
        touched: dict[Address, str | None] = {}
        for node in gone:
            for address in tuple(self._owned.get(node, ())):
                touched[address] = node
                self._elect(address, self._entries[address])
        if added:
            for address, entry in self._entries.items():
                before = self._owners[address]
                if self._challenge(address, entry, added):
                    touched.setdefault(address, before)
        return {address for address, before in touched.items() if self._owners[address] != before}

    def _elect(self, address: Address, entry: _Entry) -> bool:
        """Rank all candidates of one address; whether the owner changed."""
        best = min(((_rank(entry.rule, node), node) for node in self._candidates(entry.rule)), default=None)
        entry.best = best[0] if best else None
        return self._move(address, best[1] if best else None)

    def _challenge(self, address: Address, entry: _Entry, nodes: set[str]) -> bool:
        """Let newly eligible nodes compete for one address; whether the owner changed."""
        admitted = nodes if entry.rule.nodes is None else nodes & entry.rule.nodes
        winner = None
        for node in admitted:
            rank = _rank(entry.rule, node)
            if entry.best is None or rank < entry.best:
                entry.best, winner = rank, node
        return winner is not None and self._move(address, winner)

    def _move(self, address: Address, owner: str | None) -> bool:
        """Note the owner of an address in both indexes; whether it is another one."""
        before = self._owners[address]
        if before == owner:
            return False
        if before is not None:
            self._owned[before].discard(address)
            if not self._owned[before]:
                del self._owned[before]
        if owner is not None:
            self._owned.setdefault(owner, set()).add(address)
        self._owners[address] = owner
        return True
