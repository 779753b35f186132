"""Addresses of one owner, as `vipring plan` tells them."""

import anyio
import pytest

from chaos import gather
from chaos.errors import ChaosError


def test_the_node_that_owns_most_is_chosen() -> None:
    owners = {"a": "n1", "b": "n2", "c": None, "d": "n2", "e": "n1", "f": "n2"}
    assert gather.chosen(owners, 2) == ["b", "d"]
    with pytest.raises(ChaosError, match="n2 owns most, 3"):
        gather.chosen(owners, 4)


def test_services_of_one_owner_are_found_by_the_plan() -> None:
    found = anyio.run(gather.services_of_one, ("n1", "n2", "n3"), 20, "198.18.4.0/25")
    assert len(found) == len(set(found.values())) == 20
    assert set(found) != {f"echo-{number}" for number in range(1, 21)}, "not simply the first of the pool"
