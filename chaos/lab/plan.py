"""Names and addresses of a lab: which node has which address, MAC and pod network. Pure.

Everything lies in 198.18.0.0/15, the benchmarking prefix (RFC 2544), and inside namespaces of the lab's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Literal

from chaos.lab.errors import LabError

DATA_NETWORK = IPv4Network("198.18.0.0/16")
MGMT_NETWORK = IPv4Network("198.19.0.0/24")
SERVICE_NETWORK = IPv4Network("198.19.128.0/17")
VIP_NETWORK = IPv4Network("198.18.1.0/24")
"""Where demo and scenarios take their layer 2 pool from: inside the data prefix, so on-link for everybody."""
ROUTER = IPv4Address("198.18.0.1")
API_ADDRESS = IPv4Address("198.19.0.1")
API_PORT = 6443
MAX_NODES = 60

Network = Literal["data", "mgmt"]
"""The two networks of every node."""


@dataclass(frozen=True, slots=True)
class HostPlan:
    """One host of the data network that is no node: the client, the observer or the stranger."""

    name: str
    address: IPv4Address
    mac: str

    @property
    def data_port(self) -> str:
        """Name of the port on the data bridge."""
        return f"d-{self.name}"


@dataclass(frozen=True, slots=True)
class NodePlan:
    """One node. `address` is on the data network; `mgmt_address` is how it reaches the API server; `internal_ip` is the one
    of the two that Kubernetes knows it by, and so the one that its speaker has in the ring."""

    index: int
    name: str
    address: IPv4Address
    mac: str
    mgmt_address: IPv4Address
    mgmt_mac: str
    internal_ip: IPv4Address
    pod_network: IPv4Network

    @property
    def data_port(self) -> str:
        """Name of the node's port on the data bridge."""
        return f"d-{self.name}"

    @property
    def mgmt_port(self) -> str:
        """Name of the node's port on the management bridge."""
        return f"m-{self.name}"


CLIENT = HostPlan("client", IPv4Address("198.18.0.2"), "02:00:00:00:01:02")
OBSERVER = HostPlan("observer", IPv4Address("198.18.0.3"), "02:00:00:00:01:03")
STRANGER = HostPlan("stranger", IPv4Address("198.18.0.8"), "02:00:00:00:01:08")
"""A host that has nothing to do with the cluster, and is silent unless a scenario makes it misbehave."""
HOSTS = (CLIENT, OBSERVER, STRANGER)


def node_plan(index: int, internal: Network = "data") -> NodePlan:
    """The node number `index`, counted from 1, with its InternalIP on the network `internal`."""
    address = DATA_NETWORK.network_address + 10 + index
    mgmt_address = MGMT_NETWORK.network_address + 10 + index
    return NodePlan(
        index=index,
        name=f"n{index}",
        address=address,
        mac=f"02:00:00:00:00:{0x10 + index:02x}",
        mgmt_address=mgmt_address,
        mgmt_mac=f"02:00:00:00:02:{0x10 + index:02x}",
        internal_ip=mgmt_address if internal == "mgmt" else address,
        pod_network=IPv4Network((int(IPv4Address("198.19.64.0")) + 256 * index, 24)),
    )


@dataclass(frozen=True, slots=True)
class LabPlan:
    """All nodes of a lab."""

    nodes: tuple[NodePlan, ...]

    @classmethod
    def of(cls, count: int, internal: Network = "data") -> LabPlan:
        """A plan of `count` nodes n1, n2 … Raises LabError."""
        if not 1 <= count <= MAX_NODES:
            raise LabError(f"nodes: must be between 1 and {MAX_NODES}, is {count}")
        return cls(tuple(node_plan(i, internal) for i in range(1, count + 1)))

    def node(self, name: str) -> NodePlan:
        """The node with this name. Raises LabError naming those there are."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise LabError(f"node {name!r}: there is no such node; the nodes are {', '.join(self.names)}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the nodes in their order."""
        return tuple(node.name for node in self.nodes)
