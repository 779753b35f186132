"""The wire below the ring: questions (ARP, NDP) about doubtful members, and who answers them.

Answers come from a process of its own on each host, so a busy or stalled ring does not silence them. Frames are lost
like datagrams: they pass the same ports.
"""

import random
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from gossip.simulator.host import Host
from gossip.simulator.network import Link
from gossip.watch import WireAnswer

if TYPE_CHECKING:
    from gossip.simulator.simulation import Simulation

QUESTIONS: Final = 2
APART_S: Final = 0.03
"""Between two questions; after the same time again the window is over."""


class Wire:
    """Asks on behalf of the members' applications.

    Args:
        simulation: whose hosts are asked.
        rng: for the time of an answer.
        gateway: whether a router in the main part of the network answers too, and so proves an asker's own port.
    """

    def __init__(self, simulation: "Simulation", rng: random.Random, *, gateway: bool) -> None:
        self._simulation = simulation
        self._rng = rng
        self._gateway = Link() if gateway else None

    def ask(self, host: Host, target: Host, neighbours: Sequence[Host]) -> None:
        """Let a host ask for another, and any of its neighbours to prove its own port."""
        simulation = self._simulation
        proven = any(self._answered(host, other) is not None for other in neighbours)
        proven = proven or self._gateway_answers(host)
        answered_s = self._answered(host, target)
        if answered_s is None:
            answer, after_s = WireAnswer.SILENT, QUESTIONS * APART_S
        else:
            answer, after_s = WireAnswer.ANSWERED, answered_s
        simulation.at(after_s, partial(simulation.tell_wire, host, host.life, target.name, answer, proven))

    def _answered(self, host: Host, target: Host) -> float | None:
        """Seconds until the first answer, None if none comes."""
        simulation = self._simulation
        if target.node is None or target.link.side != host.link.side:
            return None
        for number in range(QUESTIONS):
            asked_s = number * APART_S
            if simulation.now + asked_s < target.silent_until:
                continue
            if not simulation.loses(host.link, target.link) and not simulation.loses(target.link, host.link):
                return asked_s + 2 * simulation.network.latency.least_s + self._rng.random() * 0.001
        return None

    def _gateway_answers(self, host: Host) -> bool:
        simulation, gateway = self._simulation, self._gateway
        if gateway is None or gateway.side != host.link.side:
            return False
        return any(
            not simulation.loses(host.link, gateway) and not simulation.loses(gateway, host.link)
            for _ in range(QUESTIONS)
        )
