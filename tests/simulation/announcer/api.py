"""What the API server has, and what each node has read of it so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Literal, TypeAlias

from cluster.objects import Node as NodeObject
from cluster.objects import ObjectMeta
from election.order import Order
from speaker.decide import Decider
from speaker.views import EXCLUDE_LABEL
from tests.unit.speaker.builders import CONFIG, piece, service

Kind: TypeAlias = Literal["services", "slices", "nodes"]
"""Objects of one kind reach a node in the order of their changes: there is a watch for each."""


@dataclass(frozen=True, slots=True)
class Change:
    """One object is another now, or `gone`."""

    kind: Kind
    key: str
    apply: Callable[[Decider], None]
    gone: bool = False


@dataclass(slots=True)
class Web:
    """A Service with the nodes that its endpoints are on."""

    number: int
    local: bool
    on: list[str]
    address: IPv4Address = field(init=False)

    def __post_init__(self) -> None:
        self.address = IPv4Address(f"198.18.1.{self.number}")

    def comes(self) -> Change:
        """It is there from now on."""
        made = service(self._name, str(self.address), policy="Local" if self.local else "Cluster")
        return Change("services", self._name, lambda decider: decider.set_service(made))

    def goes(self) -> Change:
        """It is deleted."""
        key = f"default/{self._name}"
        return Change("services", self._name, lambda decider: decider.remove_service(key), gone=True)

    def endpoints(self, *, ready: bool = True) -> Change:
        """Where its endpoints are now."""
        made = piece(self._name, *self.on, ready=ready)
        return Change("slices", self._name, lambda decider: decider.set_slice(made))

    @property
    def _name(self) -> str:
        return f"web{self.number}"


def node_change(name: str, *, excluded: bool = False) -> Change:
    """A Node comes, or may or may not announce addresses any more."""
    made = NodeObject(metadata=ObjectMeta(name=name, labels={EXCLUDE_LABEL: ""} if excluded else {}))
    return Change("nodes", name, lambda decider: decider.set_node(made))


class Api:
    """The API server, and whom the election prefers by what is the case now.

    Of the plain members the first is no Node of the cluster, the others are excluded Nodes.
    """

    def __init__(self, nodes: Sequence[str], plain: Sequence[str]) -> None:
        self.webs: list[Web] = []
        """Every Service there is or was."""
        self._nodes = nodes
        self._there: dict[tuple[Kind, str], Change] = {}
        self._truth = Decider(node="", order=Order.CURRENT)
        self._truth.set_config(CONFIG)
        self._truth.set_members([*nodes, *plain], "")
        self._rankings: dict[IPv4Address, tuple[str, ...]] = {}
        for name in nodes:
            self.change(node_change(name))
        for name in plain[1:]:
            self.change(node_change(name, excluded=True))

    def add(self, *, local: bool, first: int) -> list[Change]:
        """A further Service comes, with its endpoints on two nodes from this position on."""
        on = [self._nodes[(first + step) % len(self._nodes)] for step in range(2)]
        self.webs.append(Web(len(self.webs), local, on))
        return [self.webs[-1].comes(), self.webs[-1].endpoints()]

    def move(self, web: Web) -> Change:
        """Each pod of a Service runs on the next node."""
        web.on = [self._nodes[(self._nodes.index(name) + 1) % len(self._nodes)] for name in web.on]
        return web.endpoints()

    def change(self, change: Change) -> None:
        """From now on this is the case."""
        if change.gone:
            self._there.pop((change.kind, change.key), None)
        else:
            self._there[change.kind, change.key] = change
        change.apply(self._truth)
        self._truth.take(0.0)
        self._rankings.clear()

    def look(self, decider: Decider) -> None:
        """A speaker's first look at everything."""
        decider.set_config(CONFIG)
        for change in self._there.values():
            change.apply(decider)

    def ranking(self, address: IPv4Address) -> tuple[str, ...]:
        """Who may own an address, best first, were all members alive."""
        if address not in self._rankings:
            known = address in self._truth.addresses()
            self._rankings[address] = self._truth.ranking(address).nodes if known else ()
        return self._rankings[address]
