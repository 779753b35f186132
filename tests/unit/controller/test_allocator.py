"""MetalLB's allocation rules and the texts of its errors."""

from __future__ import annotations

import random
from ipaddress import ip_address, ip_network

import pytest
from typing_extensions import override

from controller.allocator import Allocator, PoolUsage, Terms
from controller.errors import AllocationError, IncompatiblePoolsError
from controller.space import capacity
from tests.unit.controller.builders import pool

HTTP = Terms(ports=frozenset({("TCP", 80)}))
HTTPS = Terms(ports=frozenset({("TCP", 443)}))


def shared(port: int, key: str = "k", backend: str = "") -> Terms:
    return Terms(ports=frozenset({("TCP", port)}), sharing_key=key, backend_key=backend)


def allocator(*pools: object) -> Allocator:
    made = Allocator()
    made.set_pools(pools)  # type: ignore[arg-type]
    return made


def take(made: Allocator, *names: str, terms: Terms = HTTP, pool_name: str | None = None) -> list[str]:
    return [str(made.allocate(name, 4, terms, pool_name)) for name in names]


def test_addresses_go_out_in_listed_order_and_ascending_with_both_ends() -> None:
    made = allocator(pool("p", "198.18.2.0/31", "198.18.1.4/31"), pool("q", "198.18.0.0/32"))
    assert take(made, *"abcde") == ["198.18.2.0", "198.18.2.1", "198.18.1.4", "198.18.1.5", "198.18.0.0"]
    with pytest.raises(AllocationError, match=r"^no available IPs$"):
        take(made, "f")
    with pytest.raises(AllocationError, match=r'^no available IPs in pool "q"$'):
        take(made, "f", pool_name="q")


def test_auto_assign_false_is_used_on_request_only() -> None:
    made = allocator(pool("p", "198.18.1.0/32", auto=False), pool("q", "198.18.2.0/32"))
    assert take(made, "a") == ["198.18.2.0"]
    with pytest.raises(AllocationError, match=r"^no available IPs$"):
        take(made, "b")
    assert take(made, "b", pool_name="p") == ["198.18.1.0"]
    with pytest.raises(AllocationError, match=r'^unknown pool "x"$'):
        take(made, "c", pool_name="x")


def test_the_lowest_released_address_is_given_again_first() -> None:
    made = allocator(pool("p", "198.18.1.0/28"))
    take(made, *"abcdef")
    for name in "dbe":
        made.release(name)
    assert take(made, *"xyzw") == ["198.18.1.1", "198.18.1.3", "198.18.1.4", "198.18.1.6"]


def test_avoid_buggy_skips_the_ends_of_every_24() -> None:
    made = allocator(pool("p", "198.18.1.254/31", "198.18.2.0/31", avoid_buggy=True))
    assert take(made, "a", "b") == ["198.18.1.254", "198.18.2.1"]
    with pytest.raises(AllocationError, match="no available IPs"):
        take(made, "c")
    with pytest.raises(AllocationError, match=r'^"198.18.2.0" is not allowed in config$'):
        made.assign("c", ip_address("198.18.2.0"), HTTP)


def test_families_do_not_mix() -> None:
    made = allocator(pool("p", "198.18.1.0/32", "2001:2::/127"))
    assert str(made.allocate("a", 6, HTTP)) == "2001:2::"
    assert str(made.allocate("b", 4, HTTP)) == "198.18.1.0"
    assert str(made.allocate("c", 6, HTTP)) == "2001:2::1"
    with pytest.raises(AllocationError):
        made.allocate("d", 6, HTTP)


def test_a_huge_pool_costs_nothing() -> None:
    made = allocator(pool("p", "2001:2::/48"))
    assert str(made.allocate("a", 6, HTTP)) == "2001:2::"
    assert made.usage() == [PoolUsage("p", 2**63 - 1, 1, 1)]


def test_an_address_outside_every_pool_is_refused() -> None:
    made = allocator(pool("p", "198.18.1.0/30"))
    for text in ("198.18.0.255", "198.18.1.4", "2001:2::1"):
        with pytest.raises(AllocationError, match=f'^"{text}" is not allowed in config$'):
            made.assign("a", ip_address(text), HTTP)
    assert made.address_of("a") is None


def test_sharing_needs_the_same_keys_and_no_common_port() -> None:
    made = allocator(pool("p", "198.18.1.0/30"))
    vip = ip_address("198.18.1.0")
    made.assign("d/a", vip, shared(80))
    made.assign("d/b", vip, shared(443))
    with pytest.raises(AllocationError, match=r'^port TCP/80 is already in use on "198.18.1.0"$'):
        made.assign("d/c", vip, shared(80))
    for terms in (HTTPS, shared(1, "other"), shared(1, "k", "app=x")):
        with pytest.raises(
            AllocationError, match=r'^can\'t change sharing key for "d/c", address also in use by d/a,d/b$'
        ):
            made.assign("d/c", vip, terms)
    assert made.usage() == [PoolUsage("p", 4, 1, 2)]


def test_the_same_port_of_another_protocol_is_another_port() -> None:
    made = allocator(pool("p", "198.18.1.0/30"))
    made.assign("a", ip_address("198.18.1.0"), shared(53))
    made.assign("b", ip_address("198.18.1.0"), Terms(frozenset({("UDP", 53)}), "k"))
    assert made.address_of("a") == made.address_of("b")


def test_the_only_user_may_change_its_keys_in_place() -> None:
    made = allocator(pool("p", "198.18.1.0/30"))
    vip = ip_address("198.18.1.0")
    made.assign("a", vip, HTTP)
    made.assign("a", vip, shared(80))
    made.assign("b", vip, shared(443))
    with pytest.raises(AllocationError, match=r"address also in use by b$"):
        made.assign("a", vip, HTTP)
    assert made.address_of("a") == vip
    made.release("b")
    made.assign("a", vip, HTTP)


def test_a_sharing_key_is_kept_while_a_service_without_ports_holds_the_address() -> None:
    made = allocator(pool("p", "198.18.1.0/30"))
    vip = ip_address("198.18.1.0")
    made.assign("a", vip, Terms(sharing_key="k"))
    made.assign("b", vip, shared(80))
    made.release("b")
    with pytest.raises(AllocationError, match="sharing key"):
        made.assign("c", vip, HTTP)
    made.assign("c", vip, shared(80))


def test_automatic_assignment_joins_a_shared_address_that_comes_first() -> None:
    made = allocator(pool("p", "198.18.1.0/30"))
    assert take(made, "a", terms=HTTP) == ["198.18.1.0"]
    assert take(made, "b", terms=shared(80)) == ["198.18.1.1"]
    assert take(made, "c", terms=shared(443)) == ["198.18.1.1"]
    assert take(made, "d", terms=shared(80)) == ["198.18.1.2"]
    made.release("a")
    assert take(made, "e", terms=shared(8080)) == ["198.18.1.0"]


def test_a_service_holds_one_address() -> None:
    made = allocator(pool("p", "198.18.1.0/30"))
    take(made, "a")
    made.assign("a", ip_address("198.18.1.3"), HTTP)
    assert made.address_of("a") == ip_address("198.18.1.3")
    assert take(made, "b") == ["198.18.1.0"]
    assert made.usage()[0].addresses == 2


def test_releases_tell_when_something_became_available() -> None:
    made = allocator(pool("p", "198.18.1.0/30"))
    take(made, "a")
    before = made.releases
    made.assign("a", ip_address("198.18.1.0"), HTTP)
    assert made.release("none") is None
    assert made.releases == before
    made.assign("a", ip_address("198.18.1.0"), HTTPS)
    assert made.releases > before


def test_pools_are_refused_when_an_address_in_use_is_left_out() -> None:
    made = allocator(pool("p", "198.18.1.0/30"))
    take(made, "d/a")
    for wrong in (pool("p", "198.18.2.0/30"), pool("p", "198.18.1.0/30", avoid_buggy=True)):
        with pytest.raises(
            IncompatiblePoolsError, match=r"^new config not compatible with assigned IPs: .*d/a"
        ):
            made.set_pools([wrong])
    assert take(made, "b") == ["198.18.1.1"]


def test_addresses_move_to_the_pool_that_holds_them_now() -> None:
    made = allocator(pool("p", "198.18.1.0/30"))
    take(made, *"abc")
    made.set_pools([pool("low", "198.18.1.0/31"), pool("high", "198.18.1.2/31")])
    assert [made.pool_of(name) for name in "abc"] == ["low", "low", "high"]
    assert made.usage() == [PoolUsage("low", 2, 2, 2), PoolUsage("high", 2, 1, 1)]
    assert take(made, "d") == ["198.18.1.3"]
    made.release("a")
    assert made.usage()[0] == PoolUsage("low", 2, 1, 1)


@pytest.mark.parametrize(
    ("network", "plain", "careful"),
    [
        ("198.18.1.0/24", 256, 254),
        ("198.18.0.0/22", 1024, 1016),
        ("198.18.1.0/25", 128, 127),
        ("198.18.1.128/25", 128, 127),
        ("198.18.1.64/26", 64, 64),
        ("198.18.1.0/32", 1, 0),
        ("198.18.1.254/31", 2, 1),
        ("2001:2::/112", 65536, 65536),
        ("2001:2::/66", 2**63 - 1, 2**63 - 1),
    ],
)
def test_capacity(network: str, plain: int, careful: int) -> None:
    assert capacity([ip_network(network)], avoid_buggy=False) == plain
    assert capacity([ip_network(network)], avoid_buggy=True) == careful


def test_many_services_do_not_scan_what_is_used() -> None:
    """Every address is looked at a bounded number of times, counted by hashing them."""

    class Counted(dict):  # type: ignore[type-arg]
        looks = 0

        @override
        def __contains__(self, key: object) -> bool:
            Counted.looks += 1
            return super().__contains__(key)

    made = allocator(pool("p", "198.18.0.0/19"))
    made._uses = Counted()
    names = [f"s{index}" for index in range(5000)]
    take(made, *names)
    rng = random.Random(1)
    for name in rng.sample(names, 1000):
        made.release(name)
        take(made, f"again-{name}")
    assert Counted.looks < 20_000
