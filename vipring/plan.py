"""`vipring plan`: what controller and speakers would do with the objects in some files, by running their own code.

Objects go through the controller's Reconciler and the speaker's Decider, exactly as watches feed them; there is no second
copy of any rule here.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from cluster.objects import ConfigMap, LoadBalancerStatus, Node, ObjectMeta, Service, ServiceStatus
from controller.reconcile import Reconciler
from controller.service import Outcome, is_ours
from election.order import Order
from speaker.decide import Decider
from vipring.objectfiles import Objects

CONFIG_NAME = "config"
NAMESPACE = "metallb-system"


class Allocation(msgspec.Struct):
    """The addresses of one LoadBalancer Service and their pool.

    `reason` says why it has none, or why it lost the one in its status; null for an address kept or just given.
    """

    ips: list[str]
    pool: str | None
    reason: str | None


class OwnerPlan(msgspec.Struct):
    """Who announces one layer 2 address: `node` is the first of `ranking`; a reason for every node not in it."""

    node: str | None
    ranking: list[str]
    excluded: dict[str, str]


class PlanResult(msgspec.Struct):
    """Allocations by `namespace/name`, owners by address, and what is wrong, one line each."""

    allocations: dict[str, Allocation]
    owners: dict[str, OwnerPlan]
    errors: list[str]


def plan(
    objects: Objects,
    members: Sequence[str] | None = None,
    order: Order = Order.CURRENT,
    *,
    config_name: str = CONFIG_NAME,
) -> PlanResult:
    """What the cluster of `objects` comes to, as after a restart of controller and speakers.

    `members` are the nodes with a live speaker, all Nodes if None. Without Nodes too, the ring counts as off.
    With members and no Node among the objects, every member counts as a healthy Node.
    """
    errors = list(objects.errors)
    core = Reconciler()
    config_map = _config_map(objects, config_name, errors)
    outcomes, lost = _reconcile(core, objects, config_map)
    if core.config_error is not None:
        errors.append(core.config_error)
    allocations: dict[str, Allocation] = {}
    for key, service in sorted(objects.services.items()):
        if service.spec.type == "LoadBalancer":
            allocations[key] = _allocation(service, outcomes.get(key), lost.get(key))
    errors += [
        event.message for outcome in outcomes.values() for event in outcome.events if event.type == "Warning"
    ]
    return PlanResult(allocations, _owners(core, objects, outcomes, members, order), errors)


def _config_map(objects: Objects, name: str, errors: list[str]) -> ConfigMap | None:
    """The ConfigMap that a controller in namespace metallb-system reads; elsewhere, the only one of that name."""
    found = {key: each for key, each in objects.config_maps.items() if each.metadata.name == name}
    for key in (f"{NAMESPACE}/{name}", name):
        if key in found:
            return found[key]
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        errors.append(
            f"ConfigMap {name} is in several namespaces, none of them {NAMESPACE}: {', '.join(sorted(found))}"
        )
    else:
        errors.append(f"no ConfigMap {NAMESPACE}/{name} in the files: nothing is allocated or announced")
    return None


def _reconcile(
    core: Reconciler, objects: Objects, config_map: ConfigMap | None
) -> tuple[dict[str, Outcome], dict[str, str]]:
    """The last outcome of every service, and why some of them lost the address in their status."""
    for key in sorted(objects.services):
        core.set_service(objects.services[key])
    core.set_config(config_map)
    core.set_synced()
    outcomes: dict[str, Outcome] = {}
    lost: dict[str, str] = {}
    while (step := core.step()) is not None:
        key = step.service.metadata.key
        outcomes[key] = step.outcome
        for fact in step.outcome.facts:
            if fact.name == "clearAssignment":
                lost.setdefault(key, fact.fields["reason"])
        if step.write:
            core.written(key, step.outcome.ingress)
            core.set_service(_written(step.service, step.outcome))
    return outcomes, lost


def _allocation(service: Service, outcome: Outcome | None, lost: str | None) -> Allocation:
    ips = [entry.ip for entry in service.status.load_balancer.ingress if entry.ip]
    if not is_ours(service):
        return Allocation(ips, None, f"loadBalancerClass {service.spec.load_balancer_class} is another's")
    if outcome is None:
        return Allocation(ips, None, "noConfig")
    if outcome.address is None:
        return Allocation([], None, outcome.error or outcome.obstacle)
    return Allocation([str(outcome.address)], outcome.pool, lost)


def _owners(
    core: Reconciler,
    objects: Objects,
    outcomes: dict[str, Outcome],
    members: Sequence[str] | None,
    order: Order,
) -> dict[str, OwnerPlan]:
    """Every layer 2 address with its ranking, once the controller's statuses are written."""
    decider = Decider(node="", order=order)
    if core.config is not None:
        decider.set_config(core.config)
    unseen = [Node(metadata=ObjectMeta(name=name)) for name in members or ()]
    for node in objects.nodes.values() or unseen:
        decider.set_node(node)
    live = list(objects.nodes) or None if members is None else list(members)
    decider.set_members(live, "plan")
    for piece in objects.service_slices():
        decider.set_slice(piece)
    for key, service in sorted(objects.services.items()):
        outcome = outcomes.get(key)
        decider.set_service(service if outcome is None else _written(service, outcome))
    while decider.pending:
        decider.take(0.0)
    owners = {}
    for address in decider.addresses():
        ranking = decider.ranking(address)
        excluded = {node: str(reason) for node, reason in ranking.excluded.items()}
        owners[str(address)] = OwnerPlan(ranking.owner, list(ranking.nodes), excluded)
    return owners


def _written(service: Service, outcome: Outcome) -> Service:
    """The service with the status that the controller writes."""
    if not is_ours(service):
        return service
    return msgspec.structs.replace(service, status=ServiceStatus(LoadBalancerStatus(outcome.ingress)))
