"""Addresses and interfaces of Pods that have a network of their own: a veth to the node and a route, no bridge.

The node answers for the gateway address on each veth, and everything passes its forwarding and its nftables.
"""

from __future__ import annotations

import contextlib
from ipaddress import IPv4Address, IPv4Network

from chaos.lab.errors import LabError
from chaos.lab.tools import ip_batch


class AddressBook:
    """Which Pod (by uid) has which address of a node's pod network. An address that was given back rests as long as it can."""

    def __init__(self, network: IPv4Network) -> None:
        self.gateway = network.network_address + 1
        self._network = network
        self._taken: dict[IPv4Address, str] = {}
        self._last = self.gateway

    def take(self, uid: str, wanted: str = "") -> IPv4Address:
        """An address for a Pod: the one it has, the wanted one if it is free, else the next free one after the last given.

        Raises LabError when all are used.
        """
        own = [address for address, holder in self._taken.items() if holder == uid]
        asked = [IPv4Address(wanted)] if wanted else []
        hosts = list(self._network.hosts())
        later = [address for address in hosts if address > self._last]
        for address in (*own, *asked, *later, *hosts):
            if address in self._network and address != self.gateway and self._taken.get(address, uid) == uid:
                self._taken[address] = uid
                if address in later and address not in asked:
                    self._last = address
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
    """Make a Pod's network namespace and connect it; the file it is named by. Raises LabError, and leaves nothing then."""
    name, veth = _names(uid)
    try:
        await ip_batch(
            [
                f"netns add {name}",
                f"link add {veth} type veth peer name eth0 netns {name}",
                f"addr add {gateway}/32 dev {veth}",
                f"link set {veth} up",
                f"route replace {address}/32 dev {veth} src {gateway}",
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
    except LabError:
        with contextlib.suppress(LabError):
            await disconnect(uid)
        raise
    return f"/run/netns/{name}"


async def disconnect(uid: str) -> None:
    """Take a Pod's network away. Raises LabError."""
    name, veth = _names(uid)
    # The link by itself and first: with the namespace it would go at some later time, and its routes with it.
    with contextlib.suppress(LabError):
        await ip_batch([f"link delete {veth}"])
    await ip_batch([f"netns delete {name}"])
