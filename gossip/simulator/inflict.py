"""Doing the faults of a schedule to a simulation."""

import random
from collections.abc import Sequence
from functools import partial
from typing import Final

from gossip.simulator.faults import (
    LEAVE_S,
    AnyFault,
    Crash,
    Disturb,
    Drift,
    Leave,
    Lose,
    Partition,
    Restart,
    Stall,
    Starve,
)
from gossip.simulator.network import Network
from gossip.simulator.simulation import Simulation

_JOIN_PEERS: Final = 3
"""Members that a starting one asks."""


def inflict(fault: AnyFault, names: Sequence[str], simulation: Simulation, rng: random.Random) -> None:
    """Do it to these running members now, and see to its end."""
    match fault:
        case Crash():
            for name in names:
                simulation.crash(name)
        case Leave():
            for name in names:
                simulation.leave(name)
                simulation.at(LEAVE_S, partial(simulation.crash, name))
        case Restart():
            for number, name in enumerate(names):
                off_s = number * fault.apart_s
                simulation.at(off_s, partial(simulation.crash, name))
                simulation.at(off_s + fault.down_s, partial(_start, name, fault.move, simulation, rng))
        case Partition():
            simulation.partition(names)
            simulation.at(fault.for_s, simulation.heal)
        case Lose():
            _lose(fault, names, simulation, fault.share)
            simulation.at(fault.for_s, partial(_lose, fault, names, simulation, 0.0))
        case Disturb():
            simulation.at(fault.for_s, partial(_set_network, simulation, simulation.network))
            _set_network(simulation, fault.network)
        case Stall():
            for name in names:
                simulation.stall(name, fault.for_s, whole=fault.freezes == "all")
        case Starve():
            _set_slowness(names, simulation, fault.factor)
            simulation.at(fault.for_s, partial(_set_slowness, names, simulation, 1.0))
        case Drift():
            _set_rate(names, simulation, fault.rate)
            simulation.at(fault.for_s, partial(_set_rate, names, simulation, 1.0))


def _start(name: str, move: bool, simulation: Simulation, rng: random.Random) -> None:
    if simulation.host(name).node is None:
        others = [other for other in simulation.names() if other != name]
        peers = rng.sample(others, min(_JOIN_PEERS, len(others)))
        simulation.launch(name, join=peers, move=move)


def _lose(fault: Lose, names: Sequence[str], simulation: Simulation, share: float) -> None:
    for name in names:
        simulation.set_loss(
            name,
            loss_in=share if fault.direction != "out" else None,
            loss_out=share if fault.direction != "in" else None,
        )


def _set_network(simulation: Simulation, network: Network) -> None:
    simulation.network = network


def _set_slowness(names: Sequence[str], simulation: Simulation, factor: float) -> None:
    for name in names:
        simulation.host(name).slowness = factor


def _set_rate(names: Sequence[str], simulation: Simulation, rate: float) -> None:
    for name in names:
        simulation.set_clock_rate(name, rate)
