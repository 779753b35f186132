"""Which node a Pod goes to. Pure; a much reduced kube-scheduler and daemon set controller."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from chaos.lab.objects import Node, Pod, PodSpec, Taint, Toleration


def tolerates(tolerations: Iterable[Toleration], taint: Taint) -> bool:
    """Does one of the tolerations match the taint (k8s.io/component-helpers ToleratesTaint)?"""
    for toleration in tolerations:
        if toleration.effect and toleration.effect != taint.effect:
            continue
        if toleration.key and toleration.key != taint.key:
            continue
        if toleration.operator == "Exists" or (toleration.key and toleration.value == taint.value):
            return True
    return False


def selected(spec: PodSpec, node: Node) -> bool:
    """Does the node carry every label of the Pod's nodeSelector?"""
    return all(node.metadata.labels.get(k) == v for k, v in spec.node_selector.items())


def runs_daemon(spec: PodSpec, node: Node) -> bool:
    """Is a daemon Pod of this spec to be on the node? Daemons tolerate a node that is cordoned or unreachable."""
    hard = [t for t in node.spec.taints if t.effect in ("NoSchedule", "NoExecute")]
    built_in = [t for t in hard if not t.key.startswith("node.kubernetes.io/")]
    return selected(spec, node) and all(tolerates(spec.tolerations, t) for t in built_in)


def feasible(spec: PodSpec, node: Node) -> str:
    """Why a Pod cannot go to a node; empty when it can."""
    if node.spec.unschedulable:
        return "node(s) were unschedulable"
    if not node.ready:
        return "node(s) were not ready"
    if not selected(spec, node):
        return "node(s) didn't match Pod's node affinity/selector"
    for taint in node.spec.taints:
        if taint.effect in ("NoSchedule", "NoExecute") and not tolerates(spec.tolerations, taint):
            return f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}"
    return ""


def owner_uid(pod: Pod) -> str:
    """uid of the controller that made a Pod, empty for a bare one."""
    return next((o.uid for o in pod.metadata.owner_references if o.controller), "")


def choose(pod: Pod, nodes: Iterable[Node], pods: Iterable[Pod]) -> tuple[str | None, Mapping[str, int]]:
    """The node with the fewest Pods of the same owner, then the fewest of all, then the first by name.

    Without one: None and how many nodes each reason keeps out.
    """
    alive = [p for p in pods if p.spec.node_name and not p.finished]
    own = owner_uid(pod)
    reasons: dict[str, int] = {}
    candidates: list[tuple[int, int, str]] = []
    for node in nodes:
        name = node.metadata.name
        reason = feasible(pod.spec, node)
        if reason:
            reasons[reason] = reasons.get(reason, 0) + 1
            continue
        here = [p for p in alive if p.spec.node_name == name]
        same = sum(1 for p in here if own and owner_uid(p) == own and p.metadata.deletion_timestamp is None)
        candidates.append((same, len(here), name))
    return (min(candidates)[2] if candidates else None), reasons
