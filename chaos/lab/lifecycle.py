"""What becomes of nodes that fall silent (pkg/controller/nodelifecycle). Pure: times come in.

A Lease that is not renewed for the grace period makes the Node's conditions Unknown, taints it and makes its Pods not
ready; after the eviction time its Pods are deleted, those of DaemonSets excepted. A renewed Lease takes the taints away;
conditions are then the node's own business.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from chaos.lab.objects import Condition, Node, Pod

UNREACHABLE = "node.kubernetes.io/unreachable"


@dataclass(slots=True)
class NodeChange:
    """What is to be done about one node: patches (path and body), Pods to evict, an Event's reason and text."""

    node: str
    patches: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    evict: list[Pod] = field(default_factory=list)
    reason: str = ""
    text: str = ""


class Lifecycle:
    """Remembers when each Lease was last seen to change. Seconds, monotonic."""

    def __init__(self, grace_s: float, eviction_s: float) -> None:
        self._grace_s = grace_s
        self._eviction_s = eviction_s
        self._seen: dict[str, tuple[str, float]] = {}
        self._silent_since: dict[str, float] = {}

    def renewed(self, node: str, renew_time: str, now: float) -> None:
        """A Lease as it is now; only a change of its renewTime counts, its clock does not."""
        if self._seen.get(node, ("", 0.0))[0] != renew_time:
            self._seen[node] = (renew_time, now)

    def begin_anew(self, now: float) -> None:
        """Whoever looks cannot hear anybody: nobody's silence counts until it can.

        A kube-controller-manager that loses the API server gives up its leadership, and the next leader's clocks begin
        with it.
        """
        self._seen = {node: (renew_time, now) for node, (renew_time, _) in self._seen.items()}

    def look(self, nodes: Iterable[Node], pods: Sequence[Pod], now: float, wall: str) -> list[NodeChange]:
        """What to do now."""
        changes = []
        for node in nodes:
            name = node.metadata.name
            _, heard = self._seen.setdefault(name, ("", now))
            if now - heard > self._grace_s:
                since = self._silent_since.setdefault(name, now)
                here = [p for p in pods if p.spec.node_name == name]
                change = self._silent(node, here, wall, evict=now - since > self._eviction_s)
            else:
                self._silent_since.pop(name, None)
                change = _heard(node)
            if change.patches or change.evict:
                changes.append(change)
        return changes

    def _silent(self, node: Node, pods: Sequence[Pod], wall: str, *, evict: bool) -> NodeChange:
        name = node.metadata.name
        change = NodeChange(name)
        if any(c.type == "Ready" and c.status != "Unknown" for c in node.status.conditions):
            conditions = [_unknown(c, wall) for c in node.status.conditions]
            change.patches.append((f"/api/v1/nodes/{name}/status", {"status": {"conditions": conditions}}))
            change.reason, change.text = "NodeNotReady", f"Node {name} status is now: NodeNotReady"
        if not any(t.key == UNREACHABLE for t in node.spec.taints):
            added = [
                {"key": UNREACHABLE, "effect": e, "timeAdded": wall} for e in ("NoSchedule", "NoExecute")
            ]
            kept = [msgspec.to_builtins(t) for t in node.spec.taints]
            change.patches.append((f"/api/v1/nodes/{name}", {"spec": {"taints": kept + added}}))
        for pod in pods:
            if pod.ready:
                change.patches.append(_not_ready(pod, wall))
            if evict and pod.metadata.deletion_timestamp is None and not _of_daemon_set(pod):
                change.evict.append(pod)
        return change


def _of_daemon_set(pod: Pod) -> bool:
    return any(owner.kind == "DaemonSet" for owner in pod.metadata.owner_references)


def _unknown(condition: Condition, wall: str) -> object:
    if condition.type == "NetworkUnavailable":
        return msgspec.to_builtins(condition)
    return msgspec.to_builtins(
        msgspec.structs.replace(
            condition,
            status="Unknown",
            reason="NodeStatusUnknown",
            message="Kubelet stopped posting node status.",
            last_transition_time=wall,
        )
    )


def _not_ready(pod: Pod, wall: str) -> tuple[str, dict[str, object]]:
    conditions = [
        msgspec.to_builtins(msgspec.structs.replace(c, status="False", last_transition_time=wall))
        if c.type == "Ready"
        else msgspec.to_builtins(c)
        for c in pod.status.conditions
    ]
    path = f"/api/v1/namespaces/{pod.metadata.namespace}/pods/{pod.metadata.name}/status"
    return path, {"status": {"conditions": conditions}}


def _heard(node: Node) -> NodeChange:
    change = NodeChange(node.metadata.name)
    if node.ready and any(t.key == UNREACHABLE for t in node.spec.taints):
        kept = [msgspec.to_builtins(t) for t in node.spec.taints if t.key != UNREACHABLE]
        change.patches.append((f"/api/v1/nodes/{node.metadata.name}", {"spec": {"taints": kept or None}}))
        change.reason, change.text = "NodeReady", f"Node {node.metadata.name} status is now: NodeReady"
    return change
