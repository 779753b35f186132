"""Addresses and interfaces of Pods that have a network of their own: a veth to the node and a route, no bridge.

The node answers for the gateway address on each veth, and everything passes its forwarding and its nftables.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from chaos.lab.errors import LabError
from chaos.lab.tools import ip_batch


class AddressBook:
    """Which Pod (by uid) has which address of a node's pod network."""

    def __init__(self, network: IPv4Network) -> None:
        self.gateway = network.network_address + 1
        self._network = network
        self._taken: dict[IPv4Address, str] = {}

    def take(self, uid: str, wanted: str = "") -> IPv4Address:
        """An address for a Pod: the wanted one if it is free, else the lowest free one. Raises LabError when all are used."""
        candidates = [] if not wanted else [IPv4Address(wanted)]
        for address in (*candidates, *self._network.hosts()):
            if address in self._network and address != self.gateway and self._taken.get(address, uid) == uid:
                self._taken[address] = uid
                return address
        raise LabError(f"no address is left in {self._network}")

    def give_back(self, uid: str) -> None:
        """Free what a Pod had."""
        self._taken = {address: holder for address, holder in self._taken.items() if holder != uid}


def _names(uid: str) -> tuple[str, str]:
    short = uid.replace("-", "")[:10]
    # Speakers leave interfaces of this name alone, as they do with those of a real node.
    return f"pod-{short}", f"veth{short}"


async def connect(uid: str, address: IPv4Address, gateway: IPv4Address) -> str:
    """Make a Pod's network namespace and connect it; the file it is named by. Raises LabError."""
    name, veth = _names(uid)
    await ip_batch(
        [
            f"netns add {name}",
            f"link add {veth} type veth peer name eth0 netns {name}",
            f"addr add {gateway}/32 dev {veth}",
            f"link set {veth} up",
            f"route add {address}/32 dev {veth} src {gateway}",
        ]
    )
    await ip_batch(
        [
            "link set lo up",
            f"addr add {address}/32 dev eth0",
            "link set eth0 up",
            f"route add {gateway} dev eth0 scope link",
            f"route add default via {gateway}",
        ],
        namespace=name,
    )
    return f"/run/netns/{name}"


async def disconnect(uid: str) -> None:
    """Take a Pod's network away; the interfaces go with the namespace."""
    name, _ = _names(uid)
    await ip_batch([f"netns delete {name}"])
