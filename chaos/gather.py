"""Services whose addresses all have the same owner, found with `vipring plan`: what a node can lose at most."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network

import msgspec

from chaos import install
from chaos.errors import ChaosError
from chaos.lab.tools import run_tool


class _Owner(msgspec.Struct, frozen=True):
    node: str | None = None


class _Plan(msgspec.Struct, frozen=True):
    owners: dict[str, _Owner]


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
    given = msgspec.json.encode({"apiVersion": "v1", "kind": "List", "items": objects}).decode()
    members = ",".join(nodes)
    said = await run_tool(
        [sys.executable, "-m", "vipring", "plan", "-f", "-", "--members", members, "--json"], given
    )
    found = msgspec.json.decode(said, type=_Plan).owners
    owners = {address: found[address].node for address in names if address in found}
    return {names[address]: address for address in chosen(owners, count)}
