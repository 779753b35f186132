"""Owners of addresses, as `vipring plan` tells them."""

import json
from typing import cast

import anyio
import pytest

from chaos import gather, install
from chaos.errors import ChaosError
from cluster.client import ApiClient


def test_the_node_that_owns_most_is_chosen() -> None:
    owners = {"a": "n1", "b": "n2", "c": None, "d": "n2", "e": "n1", "f": "n2"}
    assert gather.chosen(owners, 2) == ["b", "d"]
    with pytest.raises(ChaosError, match="n2 owns most, 3"):
        gather.chosen(owners, 4)


def test_services_of_one_owner_are_found_by_the_plan() -> None:
    found = anyio.run(gather.services_of_one, ("n1", "n2", "n3"), 20, "198.18.4.0/25")
    assert len(found) == len(set(found.values())) == 20
    assert set(found) != {f"echo-{number}" for number in range(1, 21)}, "not simply the first of the pool"


NODES = ("n1", "n2", "n3")
VIPS = {"echo-1": "198.18.1.0", "echo-2": "198.18.1.1", "echo-3": "198.18.1.2", "echo-4": "198.18.1.3"}


class _Api:
    """What an API server answers with echo Services on three nodes: items of a list do not say their kind."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def raw(self, _method: str, path: str) -> bytes:
        self.asked.append(path)
        lists: dict[str, list[dict[str, object]]] = {
            "nodes": [{"metadata": {"name": node}} for node in NODES],
            "services": [install.echo_service(name, address) for name, address in VIPS.items()],
            "configmaps": install.documents(install.pool_config()),
            "endpointslices": [install.echo_slice(name, NODES) for name in VIPS],
        }
        items = lists[path.rpartition("/")[2]]
        bare = [
            {key: value for key, value in one.items() if key not in ("kind", "apiVersion")} for one in items
        ]
        return json.dumps({"kind": "List", "items": bare}).encode()


def test_the_election_names_the_owners_and_only_the_addresses_of_the_dead_move() -> None:
    async def elected() -> tuple[dict[str, str], dict[str, str], list[str]]:
        api = _Api()
        election = gather.Election(cast("ApiClient", api))
        vips = list(VIPS.values())
        everybody = await election.owners(NODES, vips)
        asked = list(api.asked)
        assert await election.owners(reversed(NODES), vips) == everybody
        assert api.asked == asked, "the same members have the same owners"
        return everybody, await election.owners(NODES[1:], vips), vips

    everybody, without, vips = anyio.run(elected)
    assert list(everybody) == list(without) == vips
    assert "n1" in everybody.values()
    assert set(without.values()) <= {"n2", "n3"}
    assert all(without[vip] == node for vip, node in everybody.items() if node != "n1")


def test_an_address_without_an_owner_is_an_error() -> None:
    async def elected() -> None:
        await gather.Election(cast("ApiClient", _Api())).owners(NODES, ["198.18.1.0", "198.18.1.99"])

    with pytest.raises(ChaosError, match=r"nobody of n1, n2, n3 would own 198\.18\.1\.99"):
        anyio.run(elected)
