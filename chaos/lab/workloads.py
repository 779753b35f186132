"""What DaemonSets and Deployments want to be done about their Pods. Pure; ReplicaSets are left out.

A changed template replaces Pods: a DaemonSet deletes the one that is to go and makes its successor when it has gone, a
Deployment makes the successor first (RollingUpdate) or deletes all first (Recreate).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from chaos.lab.objects import DaemonSet, Deployment, Node, Pod, PodSpec, PodTemplate
from chaos.lab.scheduling import runs_daemon

HASH_LABEL = "pod-template-hash"
REVISION_LABEL = "controller-revision-hash"


@dataclass(slots=True)
class Work:
    """Nodes (or None: let the scheduler choose) to make Pods for, and Pods to delete."""

    create: list[str | None] = field(default_factory=list)
    delete: list[Pod] = field(default_factory=list)


def template_hash(template: PodTemplate) -> str:
    """Ten characters that differ when the template does."""
    spec = msgspec.json.encode(msgspec.json.decode(template.spec), order="sorted")
    parts = [spec, msgspec.json.encode(template.metadata, order="sorted")]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:10]


def template_spec(template: PodTemplate) -> PodSpec:
    """The template's spec, decoded."""
    return msgspec.json.decode(template.spec, type=PodSpec)


def amount(value: int | str, total: int, *, up: bool) -> int:
    """maxUnavailable or maxSurge: a number, or a percentage of `total` rounded up or down."""
    if isinstance(value, int):
        return value
    share = int(value.removesuffix("%")) * total
    return -(-share // 100) if up else share // 100


def _living(pods: Sequence[Pod]) -> list[Pod]:
    return [p for p in pods if p.metadata.deletion_timestamp is None and not p.finished]


# -- daemon sets ------------------------------------------------------------------------------------------


def daemon_work(daemons: DaemonSet, nodes: Sequence[Node], pods: Sequence[Pod]) -> Work:
    """One Pod on each fitting node; at most maxUnavailable (1) outdated ones replaced at a time."""
    spec = template_spec(daemons.spec.template)
    wanted = {n.metadata.name for n in nodes if runs_daemon(spec, n)}
    work = Work(delete=[p for p in pods if p.finished and p.metadata.deletion_timestamp is None])
    by_node: dict[str, list[Pod]] = {}
    for pod in pods:
        by_node.setdefault(pod.spec.node_name, []).append(pod)
    for name in sorted(wanted):
        # A Pod that is going away still holds the ports of its successor.
        if name not in by_node:
            work.create.append(name)
    for name, here in by_node.items():
        living = sorted(_living(here), key=lambda p: p.metadata.creation_timestamp)
        work.delete += living[1:] if name in wanted else living
    if daemons.spec.update_strategy.type == "RollingUpdate":
        work.delete += _daemon_roll(daemons, wanted, pods, work)
    return work


def _daemon_roll(daemons: DaemonSet, wanted: set[str], pods: Sequence[Pod], work: Work) -> list[Pod]:
    current = template_hash(daemons.spec.template)
    living = [p for p in _living(pods) if p.spec.node_name in wanted and p not in work.delete]
    old = sorted(
        (p for p in living if p.metadata.labels.get(REVISION_LABEL) != current), key=lambda p: p.metadata.name
    )
    limit = amount(daemons.spec.update_strategy.rolling_update.max_unavailable, len(wanted), up=True) or 1
    unready = [p for p in old if not p.ready]
    room = limit - (len(wanted) - sum(1 for p in living if p.ready))
    return unready + [p for p in old if p.ready][: max(0, room)]


def daemon_status(daemons: DaemonSet, nodes: Sequence[Node], pods: Sequence[Pod]) -> Mapping[str, int]:
    """DaemonSet.status."""
    spec = template_spec(daemons.spec.template)
    wanted = {n.metadata.name for n in nodes if runs_daemon(spec, n)}
    living = [p for p in _living(pods) if p.spec.node_name in wanted]
    ready = sum(1 for p in living if p.ready)
    current = template_hash(daemons.spec.template)
    return {
        "currentNumberScheduled": len({p.spec.node_name for p in living}),
        "desiredNumberScheduled": len(wanted),
        "numberMisscheduled": 0,
        "numberReady": ready,
        "numberAvailable": ready,
        "numberUnavailable": len(wanted) - ready,
        "updatedNumberScheduled": sum(1 for p in living if p.metadata.labels.get(REVISION_LABEL) == current),
        "observedGeneration": daemons.metadata.generation,
    }


# -- deployments ------------------------------------------------------------------------------------------


def deployment_work(deployment: Deployment, pods: Sequence[Pod]) -> Work:
    """As many Pods of the present template as there are replicas; the way there is the strategy's."""
    replicas = deployment.spec.replicas
    current = template_hash(deployment.spec.template)
    living = _living(pods)
    fresh = [p for p in living if p.metadata.labels.get(HASH_LABEL) == current]
    old = [p for p in living if p not in fresh]
    work = Work(delete=[p for p in pods if p.finished and p.metadata.deletion_timestamp is None])
    if deployment.spec.paused:
        return work
    excess = max(0, len(fresh) - replicas)
    work.delete += sorted(fresh, key=_worth)[:excess]
    if deployment.spec.strategy.type == "Recreate":
        if old:
            work.delete += old
        elif all(p.metadata.labels.get(HASH_LABEL) == current for p in pods):
            work.create += [None] * max(0, replicas - len(fresh))
        return work
    rolling = deployment.spec.strategy.rolling_update
    surge = amount(rolling.max_surge, replicas, up=True)
    unavailable = amount(rolling.max_unavailable, replicas, up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    room = replicas + surge - len(living)
    work.create += [None] * max(0, min(replicas - len(fresh), room if old else replicas - len(fresh)))
    ready = sum(1 for p in living if p.ready and p not in work.delete)
    spare = max(0, ready - (replicas - unavailable))
    work.delete += [p for p in old if not p.ready]
    work.delete += [p for p in old if p.ready][:spare]
    return work


def _worth(pod: Pod) -> tuple[bool, bool, str]:
    """Least worth keeping first: without a node, not ready, then the youngest."""
    youth = "".join(chr(255 - ord(c) % 256) for c in pod.metadata.creation_timestamp)
    return (bool(pod.spec.node_name), pod.ready, youth)


def deployment_status(deployment: Deployment, pods: Sequence[Pod]) -> Mapping[str, int]:
    """Deployment.status without its conditions."""
    living = _living(pods)
    current = template_hash(deployment.spec.template)
    ready = sum(1 for p in living if p.ready)
    return {
        "observedGeneration": deployment.metadata.generation,
        "replicas": len(living),
        "updatedReplicas": sum(1 for p in living if p.metadata.labels.get(HASH_LABEL) == current),
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": max(0, deployment.spec.replicas - ready),
    }
