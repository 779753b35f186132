"""Whose each address has to be, found with `vipring plan`, and Services whose addresses all have the same owner."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from ipaddress import IPv4Network
from typing import Final

import msgspec

from chaos import install
from chaos.errors import ChaosError
from chaos.lab.tools import run_tool
from cluster.client import ApiClient


class _Owner(msgspec.Struct, frozen=True):
    node: str | None = None


class _Plan(msgspec.Struct, frozen=True):
    owners: dict[str, _Owner]


class _Items(msgspec.Struct, frozen=True):
    items: list[dict[str, object]]


_READ: Final = (
    ("/api/v1/nodes", "v1", "Node"),
    ("/api/v1/services", "v1", "Service"),
    (f"/api/v1/namespaces/{install.NAMESPACE}/configmaps", "v1", "ConfigMap"),
    ("/apis/discovery.k8s.io/v1/endpointslices", "discovery.k8s.io/v1", "EndpointSlice"),
)
"""What controller and speakers decide by: path, version and kind, which the items of a list do not say."""


def chosen(owners: Mapping[str, str | None], count: int) -> list[str]:
    """The first `count` addresses of the node that owns most. Raises ChaosError when it owns fewer."""
    ((node, most),) = Counter(node for node in owners.values() if node is not None).most_common(1)
    if most < count:
        raise ChaosError(f"no node would own {count} addresses of the pool; {node} owns most, {most}")
    return [address for address, owner in owners.items() if owner == node][:count]


async def services_of_one(nodes: Sequence[str], count: int, pool: str) -> dict[str, str]:
    """`count` names of Services with their addresses, all of which one and the same node will own while all are alive.

    Raises ChaosError when there are too few, LabError when `vipring plan` fails.
    """
    names = {str(address): f"echo-{number}" for number, address in enumerate(IPv4Network(pool), 1)}
    ready = [{"type": "Ready", "status": "True"}]
    objects: list[object] = [
        *install.documents(install.pool_config(pool)),
        *(
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}, "status": {"conditions": ready}}
            for node in nodes
        ),
    ]
    for address, name in names.items():
        objects += [install.echo_service(name, address), install.echo_slice(name, nodes)]
    found = await _planned(objects, nodes)
    owners = {address: found[address] for address in names if address in found}
    return {names[address]: address for address in chosen(owners, count)}


class Election:
    """Who has to own which address of a running cluster, whatever its speakers say: the election over the API's objects."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self._known: dict[tuple[str, ...], dict[str, str]] = {}

    async def owners(self, members: Iterable[str], vips: Collection[str]) -> dict[str, str]:
        """The owner of each of the VIPs while these are the live members; asked once, as the Services stay what they are.

        Raises ChaosError where the election names none for one, LabError when `vipring plan` fails, ClusterError.
        """
        alive = tuple(sorted(members))
        if alive not in self._known:
            named = await _planned(await self._objects(), alive)
            self._known[alive] = {vip: node for vip, node in named.items() if node is not None}
        known = self._known[alive]
        if without := sorted(set(vips) - known.keys()):
            raise ChaosError(f"nobody of {', '.join(alive)} would own {', '.join(without)}")
        return {vip: known[vip] for vip in vips}

    async def _objects(self) -> list[object]:
        found: list[object] = []
        for path, version, kind in _READ:
            items = msgspec.json.decode(await self._api.raw("GET", path), type=_Items).items
            found += [{**item, "apiVersion": version, "kind": kind} for item in items]
        return found


async def _planned(objects: Sequence[object], members: Sequence[str]) -> dict[str, str | None]:
    """The owner of each address, as `vipring plan` says."""
    given = msgspec.json.encode({"apiVersion": "v1", "kind": "List", "items": objects}).decode()
    words = ["plan", "-f", "-", "--members", ",".join(members), "--json"]
    said = await run_tool([sys.executable, "-m", "vipring", *words], given)
    return {address: owner.node for address, owner in msgspec.json.decode(said, type=_Plan).owners.items()}
