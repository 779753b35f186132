"""Of many addresses that a node announces at once those of the preferred pool come first; a changed preference moves nothing."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from typing import Final

import pytest
from typing_extensions import override

from announcer.layer2 import arp
from announcer.layer2.arp import ArpFrame
from announcer.layer2.messages import Pace
from cluster.config.model import Config, Pool
from tests.seed import chosen_seed
from tests.simulation.announcer.hosts import Host
from tests.simulation.announcer.node import Node, member
from tests.simulation.announcer.segment import Segment
from tests.unit.speaker.builders import piece, service

THIRDS: Final = (1, 2, 3)
"""Third byte of each pool's addresses."""
A_POOL: Final = 40
"""Services a pool, of which each of two nodes owns about half."""
FRAMES_PER_S: Final = 100
SETTLED_S: Final = 8.0


class Heard(Segment):
    """A segment that remembers for which addresses nodes asked, and which they announced, in the order of the first frames."""

    def __init__(self) -> None:
        self.asked: dict[bytes, None] = {}
        self.announced: dict[bytes, None] = {}
        super().__init__(nodes=2, plain=0, rng=random.Random(chosen_seed()))

    @override
    def send(self, sender: Node | Host, frame: bytes) -> None:
        said = arp.parse(frame)
        if isinstance(said, ArpFrame) and isinstance(sender, Node) and said.target_ip[2] in THIRDS:
            if said.sender_ip == said.target_ip:
                self.announced.setdefault(said.sender_ip)
            elif said.sender_ip == arp.ANY and said.destination == arp.BROADCAST:
                self.asked.setdefault(said.target_ip)
        super().send(sender, frame)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Only what is heard from here on counts; what happens next has come to an end when it leaves."""
        self.asked.clear()
        self.announced.clear()
        yield
        self.run(SETTLED_S)


def config(*priorities: int) -> Config:
    """One pool for each of THIRDS."""
    return Config(
        tuple(
            Pool(f"pool-{third}", "layer2", (ip_network(f"198.18.{third}.0/24"),), priority=priority)
            for third, priority in zip(THIRDS, priorities, strict=True)
        )
    )


def starts(segment: Segment, node: Node, priorities: tuple[int, ...]) -> None:
    """A speaker that knows everything, but has not met the ring."""
    node.start()
    node.command(Pace(0, segment.now, FRAMES_PER_S))
    node.decider.set_config(config(*priorities))
    for third in THIRDS:
        for number in range(A_POOL):
            name = f"web-{third}-{number}"
            node.decider.set_service(service(name, f"198.18.{third}.{number}"))
            node.decider.set_slice(piece(name, "n1"))


def both(priorities: tuple[int, ...]) -> tuple[Heard, Node, Node]:
    """Two nodes that have announced what they own."""
    segment = Heard()
    first, second = segment.nodes
    for node in segment.nodes:
        starts(segment, node, priorities)
    first.sees(member(second.name, alive=True, meta=second.meta))
    second.sees(member(first.name, alive=True, meta=first.meta))
    first.join()
    second.join()
    segment.run(SETTLED_S)
    assert len(segment.announced) == A_POOL * len(THIRDS)
    return segment, first, second


def dies(node: Node, heir: Node) -> None:
    node.stop()
    heir.sees(member(node.name, alive=False, meta=node.meta))


def pools(order: dict[bytes, None]) -> list[int]:
    """The pools of addresses, one after the other."""
    return [address[2] for address in order]


@pytest.mark.parametrize("priorities", [(0, 20, 10), (-5, 0, 5), (9, 8, 8)])
def test_an_heir_announces_the_preferred_pool_first(priorities: tuple[int, ...]) -> None:
    segment, owner, heir = both(priorities)
    owned = len(owner.decider.table)
    with segment.listening():
        dies(owner, heir)
    assert len(segment.announced) == len(segment.asked) == owned >= A_POOL
    place = {third: priority or 1_000 for third, priority in zip(THIRDS, priorities, strict=True)}
    for order in (segment.asked, segment.announced):
        ranks = [place[third] for third in pools(order)]
        assert ranks == sorted(ranks)
        assert set(pools(order)) == set(THIRDS)


def test_who_starts_alone_announces_the_preferred_pool_first() -> None:
    segment = Heard()
    segment.nodes[1].stop()
    node = segment.nodes[0]
    starts(segment, node, (0, 20, 10))
    with segment.listening():
        node.join()
    for order in (segment.asked, segment.announced):
        assert pools(order) == [3] * A_POOL + [2] * A_POOL + [1] * A_POOL


def test_another_priority_moves_nothing_and_counts_at_the_next_takeover() -> None:
    segment, owner, heir = both((0, 0, 0))
    told = len(segment.story)
    with segment.listening():
        for node in (owner, heir):
            node.decider.set_config(config(3, 2, 1))
            node.decide()
    assert (segment.asked, segment.announced, segment.story[told:]) == ({}, {}, [])
    with segment.listening():
        dies(owner, heir)
    assert pools(segment.announced) == sorted(pools(segment.announced), reverse=True)
    assert set(pools(segment.announced)) == set(THIRDS)
