"""Order of work, restarts, releases and configurations, as the reconciler decides them."""

from __future__ import annotations

import random
from ipaddress import ip_address

import msgspec

from cluster.objects import ConfigMap, LoadBalancerStatus, Service, ServiceStatus
from controller.reconcile import Reconciler, Step
from tests.unit.controller.builders import config_map, service

SMALL = config_map("p: 198.18.1.0/31")


def settle(core: Reconciler) -> list[Step]:
    steps = []
    while (step := core.step()) is not None:
        steps.append(step)
    return steps


def written(step: Step) -> Service:
    """The service as the API server shows it after the step's status is written."""
    return msgspec.structs.replace(
        step.service, status=ServiceStatus(LoadBalancerStatus(step.outcome.ingress))
    )


def write(core: Reconciler, step: Step) -> None:
    """The status of a step reaches the server, and the watch shows it."""
    core.written(step.service.metadata.key, step.outcome.ingress)
    core.set_service(written(step))


def running(config: ConfigMap, *services: Service) -> Reconciler:
    """A reconciler whose first full look is over and whose statuses are written."""
    core = Reconciler()
    for each in services:
        core.set_service(each)
    core.set_synced()
    core.set_config(config)
    for step in settle(core):
        if step.write:
            write(core, step)
    settle(core)
    return core


def addresses(steps: list[Step]) -> dict[str, str]:
    return {step.service.metadata.name: str(step.outcome.address) for step in steps}


def test_nothing_is_decided_before_services_and_configuration_are_there() -> None:
    core = Reconciler()
    core.set_service(service("new"))
    core.set_config(SMALL)
    assert not core.ready
    assert core.step() is None
    core.set_service(service("old", ingress=["198.18.1.0"]))
    assert [fact.name for fact in core.set_synced()] == ["stateSynced"]
    steps = settle(core)
    assert addresses(steps) == {"old": "198.18.1.0", "new": "198.18.1.1"}
    assert [step.write for step in steps] == [False, True]


def test_a_restart_keeps_every_address_whatever_the_order_of_arrival() -> None:
    rng = random.Random(5)
    taken = [f"198.18.1.{number}" for number in range(100, 150)]
    services = [service(f"s{index}", ingress=[ip]) for index, ip in enumerate(taken)]
    services += [service(f"a{index}") for index in range(50)]
    rng.shuffle(services)
    core = Reconciler()
    core.set_config(config_map("p: 198.18.1.0/24"))
    for each in services:
        core.set_service(each)
    core.set_synced()
    found = addresses(settle(core))
    assert {found[f"s{index}"]: ip for index, ip in enumerate(taken)} == dict(zip(taken, taken, strict=True))
    assert len(set(found.values())) == 100


def test_a_service_that_moves_at_a_restart_takes_no_address_from_another() -> None:
    core = running(
        SMALL,
        service("a", ingress=["198.18.1.0"], loadBalancerIP="198.18.1.1"),
        service("b", ingress=["198.18.1.1"]),
    )
    assert core.allocator.address_of("default/b") == ip_address("198.18.1.1")
    assert set(core.pending) == {"default/a"}


def test_nothing_changed_means_nothing_written() -> None:
    core = running(SMALL, service("a"), service("b"))
    assert not core.busy
    core.set_config(SMALL)
    steps = settle(core)
    assert len(steps) == 2
    assert not any(step.write or step.events or step.facts for step in steps)


def test_two_services_with_one_address_in_the_status_part() -> None:
    core = running(SMALL, service("a", ingress=["198.18.1.0"]), service("b", ingress=["198.18.1.0"]))
    assert core.allocator.address_of("default/a") == ip_address("198.18.1.0")
    assert core.allocator.address_of("default/b") == ip_address("198.18.1.1")


def test_a_stale_event_does_not_undo_an_unwritten_address() -> None:
    core = running(SMALL, service("a", ingress=["198.18.1.1"]))
    core.set_service(service("b"))
    (step,) = settle(core)
    assert str(step.outcome.address) == "198.18.1.0"
    core.remove_service("default/a")
    core.set_service(service("b", annotations={"note": "changed meanwhile"}))
    (again,) = settle(core)
    assert (str(again.outcome.address), again.write, again.events) == ("198.18.1.0", True, ())
    wanted = core.wanted("default/b")
    assert wanted is not None
    assert [entry.ip for entry in wanted[1]] == ["198.18.1.0"]
    write(core, again)
    assert core.wanted("default/b") is None


def test_a_status_wiped_by_others_is_written_again() -> None:
    core = running(SMALL, service("a"))
    core.set_service(service("a"))
    (step,) = settle(core)
    assert (str(step.outcome.address), step.write) == ("198.18.1.0", True)


def test_a_deletion_serves_who_waits() -> None:
    core = running(SMALL, service("a"), service("b"), service("c"), service("d"))
    assert set(core.pending) == {"default/c", "default/d"}
    facts = core.remove_service("default/a")
    assert [(fact.name, fact.fields["service"]) for fact in facts] == [("serviceDeleted", "default/a")]
    steps = settle(core)
    assert addresses(steps) == {"c": "198.18.1.0", "d": "None"}
    assert set(core.pending) == {"default/d"}
    (still,) = [step for step in steps if step.outcome.address is None]
    assert (still.events, still.facts, still.write) == ((), (), False)
    assert core.remove_service("default/a") == []


def test_a_service_that_is_no_load_balancer_any_more_serves_who_waits() -> None:
    core = running(SMALL, service("a"), service("b"), service("c"))
    core.set_service(service("a", ingress=["198.18.1.0"], type="ClusterIP"))
    (clear, waiting) = settle(core)
    assert addresses([clear, waiting]) == {"a": "None", "c": "None"}, "its status still shows the address"
    write(core, clear)
    assert addresses(settle(core)) == {"a": "None", "c": "198.18.1.0"}


def test_an_address_is_kept_back_until_no_status_shows_it() -> None:
    core = running(SMALL, service("a"), service("b"), service("c", loadBalancerIP="198.18.1.0"))
    assert set(core.pending) == {"default/c"}
    core.remove_service("default/b")
    core.set_service(service("a", ingress=["198.18.1.0"], loadBalancerIP="198.18.1.1"))
    steps = settle(core)
    moved = next(step for step in steps if step.service.metadata.name == "a")
    assert addresses(steps) == {"a": "198.18.1.1", "c": "None"}
    core.set_service(
        service("a", ingress=["198.18.1.0"], loadBalancerIP="198.18.1.1", annotations={"x": "y"})
    )
    assert addresses(settle(core))["a"] == "198.18.1.1"
    assert set(core.pending) == {"default/c"}
    core.set_service(written(moved))
    settle(core)
    assert set(core.pending) == {"default/c"}, "an event says nothing of a write that is under way"
    core.written("default/a", moved.outcome.ingress)
    assert addresses(settle(core))["c"] == "198.18.1.0"


def test_a_deletion_among_many_looks_at_nobody_else() -> None:
    core = running(config_map("p: 198.18.0.0/16"), *(service(f"s{index}") for index in range(200)))
    core.remove_service("default/s7")
    assert settle(core) == []


def test_a_failure_is_told_again_when_the_request_or_the_reason_changes() -> None:
    core = running(SMALL, service("a"), service("b"), service("c"))
    core.set_service(service("c", version="2"))
    assert [step.events for step in settle(core)] == [()]
    core.set_service(service("c", loadBalancerIP="1.2.3.4"))
    assert [len(step.events) for step in settle(core)] == [1]


def test_another_uid_is_another_service() -> None:
    core = running(SMALL, service("a", uid="1"), service("b"), service("c"))
    facts = core.set_service(service("a", uid="2"))
    assert [fact.name for fact in facts] == ["serviceDeleted"]
    assert addresses(settle(core)) == {"c": "198.18.1.0", "a": "None"}


def test_a_class_of_another_implementation_is_left_alone() -> None:
    core = running(SMALL, service("a", ingress=["203.0.113.1"], loadBalancerClass="example.org/x"))
    assert core.wanted("default/a") is None
    assert core.pending == {}


def test_a_config_without_room_for_an_address_is_refused_until_it_is_released() -> None:
    core = running(SMALL, service("a"), service("b"))
    other = config_map("q: 198.18.1.1/32")
    (stale,) = core.set_config(other)
    assert stale.name == "configStale"
    assert stale.fields["error"].startswith("new config not compatible with assigned IPs")
    assert settle(core) == []
    facts = core.remove_service("default/a")
    assert [fact.name for fact in facts] == ["serviceDeleted", "configLoaded"]
    assert core.config_error is None
    settle(core)
    assert core.allocator.pool_of("default/b") == "q"


def test_a_config_that_does_not_parse_leaves_the_last_good_one() -> None:
    core = running(SMALL, service("a"))
    (stale,) = core.set_config(ConfigMap(data={"config": "address-pools: 7"}))
    assert stale.name == "configStale"
    assert "address-pools" in stale.fields["error"]
    core.set_service(service("b"))
    assert addresses(settle(core)) == {"b": "198.18.1.1"}
    assert [fact.name for fact in core.set_config(SMALL)] == ["configLoaded"]
    assert core.config_error is None


def test_a_deleted_config_map_is_stale_and_a_missing_one_is_not() -> None:
    core = Reconciler()
    core.set_synced()
    assert [fact.name for fact in core.set_config(None)] == ["noConfig"]
    assert (core.config_seen, core.config_error) == (True, None)
    core.set_config(SMALL)
    assert [fact.name for fact in core.set_config(None)] == ["configStale"]
    assert core.ready


def test_an_address_outside_the_first_config_is_replaced() -> None:
    core = running(SMALL, service("a", ingress=["203.0.113.9"]))
    assert core.allocator.address_of("default/a") == ip_address("198.18.1.0")


def test_a_change_of_the_sharing_key_serves_who_waits() -> None:
    key = {"metallb.universe.tf/allow-shared-ip": "k"}
    core = running(
        config_map("p: 198.18.1.0/32"), service("a"), service("b", annotations=key, ports=["TCP/443"])
    )
    assert set(core.pending) == {"default/b"}
    core.set_service(service("a", ingress=["198.18.1.0"], annotations=key))
    assert addresses(settle(core)) == {"a": "198.18.1.0", "b": "198.18.1.0"}
