"""One service after another through MetalLB's steps."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from controller.allocator import Allocator
from controller.service import Outcome, converge, is_ours, status_address, terms_of
from tests.unit.controller.builders import pool, service

VIP = "198.18.1.0"


@pytest.fixture
def allocator() -> Allocator:
    made = Allocator()
    made.set_pools(
        [pool("p", "198.18.1.0/30"), pool("q", "198.18.2.0/31", auto=False), pool("six", "2001:2::/126")]
    )
    return made


def run(allocator: Allocator, *args: Any, **spec: Any) -> Outcome:
    made = service(*args, **spec)
    return converge(made, status_address(made), allocator)


def told(outcome: Outcome) -> list[tuple[str, str | None]]:
    return [(fact.op or fact.name, fact.fields.get("reason")) for fact in outcome.facts]


def test_a_service_gets_its_address_event_and_line(allocator: Allocator) -> None:
    outcome = run(allocator)
    assert [entry.ip for entry in outcome.ingress] == [VIP]
    assert outcome.pool == "p"
    (event,) = outcome.events
    assert (event.type, event.reason, event.message) == ("Normal", "IPAllocated", 'Assigned IP "198.18.1.0"')
    (fact,) = outcome.facts
    assert (fact.name, fact.fields) == ("ipAllocated", {"service": "default/web", "ip": VIP, "pool": "p"})


def test_an_address_in_the_status_is_kept_without_a_word(allocator: Allocator) -> None:
    assert run(allocator, ingress=["198.18.1.3"]) == Outcome(ip_address("198.18.1.3"), "p")
    assert allocator.address_of("default/web") == ip_address("198.18.1.3")


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"type": "ClusterIP"}, "notLoadBalancer"),
        ({"clusterIP": "None"}, "noClusterIP"),
        ({"clusterIP": ""}, "noClusterIP"),
    ],
)
def test_who_may_not_have_an_address_loses_it(
    allocator: Allocator, spec: dict[str, str], reason: str
) -> None:
    run(allocator)
    outcome = run(allocator, ingress=[VIP], **spec)
    assert outcome.ingress == []
    assert outcome.obstacle == reason
    assert told(outcome) == [("clearAssignment", reason)]
    assert allocator.address_of("default/web") is None
    assert told(run(allocator, **spec)) == []


@pytest.mark.parametrize(
    "ingress", [["198.18.1.3", "198.18.1.2"], [{"hostname": "x.example"}], ["nonsense"], []]
)
def test_any_other_status_counts_as_no_address(allocator: Allocator, ingress: Any) -> None:
    assert run(allocator, ingress=ingress).address == ip_address(VIP)


@pytest.mark.parametrize(
    ("ingress", "spec", "expected", "reasons"),
    [
        ("198.18.9.9", {}, VIP, ["notAllowedByConfig"]),
        ("2001:2::1", {}, VIP, []),
        (
            "198.18.1.1",
            {"annotations": {"metallb.universe.tf/address-pool": "q"}},
            "198.18.2.0",
            ["differentPoolRequested"],
        ),
        ("198.18.1.1", {"loadBalancerIP": "198.18.1.2"}, "198.18.1.2", ["differentIPRequested"]),
        ("198.18.1.1", {"clusterIP": "2001:2::ff"}, "2001:2::", []),
    ],
)
def test_an_address_that_does_not_fit_is_replaced(
    allocator: Allocator, ingress: str, spec: Any, expected: str, reasons: list[str]
) -> None:
    outcome = run(allocator, ingress=[ingress], **spec)
    assert str(outcome.address) == expected
    assert told(outcome) == [*(("clearAssignment", reason) for reason in reasons), ("ipAllocated", None)]


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ({"loadBalancerIP": "1.2.3.4"}, '"1.2.3.4" is not allowed in config'),
        ({"loadBalancerIP": "nonsense"}, 'invalid spec.loadBalancerIP "nonsense"'),
        (
            {"loadBalancerIP": "2001:2::1"},
            'requested spec.loadBalancerIP "2001:2::1" does not match the ipFamily of the service',
        ),
        ({"annotations": {"metallb.universe.tf/address-pool": "x"}}, 'unknown pool "x"'),
        (
            {"clusterIP": "::1", "annotations": {"metallb.io/address-pool": "p"}},
            'no available IPs in pool "p"',
        ),
    ],
)
def test_failures_have_metallbs_texts(allocator: Allocator, spec: Any, error: str) -> None:
    outcome = run(allocator, **spec)
    assert (outcome.ingress, outcome.error) == ([], error)
    (event,) = outcome.events
    assert (event.type, event.reason) == ("Warning", "AllocationFailed")
    assert event.message == f'Failed to allocate IP for "default/web": {error}'
    assert told(outcome) == [("allocateIP", None)]


def test_the_requested_address_wins_over_a_conflicting_pool_and_stays(allocator: Allocator) -> None:
    spec: Any = {"loadBalancerIP": "198.18.1.2", "annotations": {"metallb.universe.tf/address-pool": "q"}}
    assert str(run(allocator, **spec).address) == "198.18.1.2"
    again = run(allocator, ingress=["198.18.1.2"], **spec)
    assert (again.events, again.facts) == ((), ())


def test_a_requested_address_is_compared_by_value(allocator: Allocator) -> None:
    again = run(allocator, ingress=["2001:2::1"], clusterIP="::1", loadBalancerIP="2001:2:0::0001")
    assert (str(again.address), again.events) == ("2001:2::1", ())


def test_the_metallb_io_annotation_wins_even_when_empty(allocator: Allocator) -> None:
    both = {"metallb.universe.tf/address-pool": "q", "metallb.io/address-pool": "p"}
    assert run(allocator, annotations=both).pool == "p"
    assert terms_of(service(annotations={"metallb.universe.tf/allow-shared-ip": "k"})).sharing_key == "k"
    empty = {"metallb.universe.tf/allow-shared-ip": "k", "metallb.io/allow-shared-ip": ""}
    assert terms_of(service(annotations=empty)).sharing_key == ""


def test_the_backend_key_counts_under_policy_local_only() -> None:
    selector = {"b": "2", "a": "1"}
    assert terms_of(service(selector=selector)).backend_key == ""
    assert terms_of(service(selector=selector, externalTrafficPolicy="Local")).backend_key == "a=1,b=2"


def test_two_local_services_share_only_with_the_same_selector(allocator: Allocator) -> None:
    key = {"metallb.universe.tf/allow-shared-ip": "k"}
    local: Any = {"annotations": key, "externalTrafficPolicy": "Local", "loadBalancerIP": VIP}
    assert run(allocator, "a", ports=["TCP/1"], selector={"app": "x"}, **local).error is None
    assert run(allocator, "b", ports=["TCP/2"], selector={"app": "x"}, **local).error is None
    third = run(allocator, "c", ports=["TCP/3"], selector={"app": "y"}, **local)
    assert (
        third.error == 'can\'t change sharing key for "default/c", address also in use by default/a,default/b'
    )


def test_a_load_balancer_class_is_anothers() -> None:
    assert is_ours(service())
    assert not is_ours(service(loadBalancerClass="example.org/x"))
