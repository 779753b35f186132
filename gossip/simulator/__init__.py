"""Whole rings in virtual time: production nodes, a network and hosts that fail on purpose, checks all the way."""

from gossip.simulator.happening import Happening
from gossip.simulator.network import Bursts, Latency, Network
from gossip.simulator.simulation import Simulation

__all__ = ["Bursts", "Happening", "Latency", "Network", "Simulation"]
