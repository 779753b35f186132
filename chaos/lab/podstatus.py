"""The status of a Pod, from what its containers do. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chaos.lab.objects import Condition, ContainerStatus, Pod

State = Mapping[str, Mapping[str, object]]


@dataclass(slots=True)
class ContainerRecord:
    """What is known of one container; `state` and `last_state` are as the API has them."""

    name: str
    image: str
    state: State = field(default_factory=lambda: waiting("ContainerCreating"))
    last_state: State = field(default_factory=dict)
    ready: bool = False
    restarts: int = 0
    container_id: str = ""

    @classmethod
    def of(cls, name: str, image: str, before: ContainerStatus | None) -> ContainerRecord:
        """A container that may have run on this node before the agent started (the node was off)."""
        record = cls(name, image)
        if before is not None and before.container_id:
            record.restarts = before.restart_count + 1
            record.last_state = terminated(255, "Unknown", "", "")
        elif before is not None:
            record.restarts = before.restart_count
        return record

    @property
    def running(self) -> bool:
        """Does it run now?"""
        return "running" in self.state


def waiting(reason: str, message: str = "") -> State:
    """A waiting state."""
    return {"waiting": {"reason": reason, **({"message": message} if message else {})}}


def running(since: str) -> State:
    """A running state; `since` is an RFC 3339 time."""
    return {"running": {"startedAt": since}}


def terminated(code: int, reason: str, started: str, finished: str) -> State:
    """A terminated state."""
    times = {"startedAt": started, "finishedAt": finished}
    return {"terminated": {"exitCode": code, "reason": reason, **{k: v for k, v in times.items() if v}}}


def phase(records: Sequence[ContainerRecord], restart_policy: str) -> str:
    """status.phase (pkg/kubelet getPhase, without init containers)."""
    over = [r for r in records if "terminated" in r.state]
    if len(over) == len(records) and restart_policy != "Always":
        codes = [r.state["terminated"]["exitCode"] for r in over]
        failed = any(code != 0 for code in codes)
        if not (failed and restart_policy == "OnFailure"):
            return "Failed" if failed else "Succeeded"
    if any(not r.running and not r.last_state and "terminated" not in r.state for r in records):
        return "Pending"
    return "Running"


def pod_status(
    pod: Pod,
    records: Sequence[ContainerRecord],
    *,
    pod_ip: str,
    host_ip: str,
    started: str,
    now: str,
    before: Sequence[Condition],
) -> dict[str, object]:
    """The whole status. `before` are the conditions written last, whose times stay while their status does."""
    ready = bool(records) and all(r.ready for r in records)
    conditions = [
        _condition("PodScheduled", True, "", now, before),
        _condition("Initialized", True, "", now, before),
        _condition("ContainersReady", ready, "ContainersNotReady", now, before),
        _condition("Ready", ready, "ContainersNotReady", now, before),
    ]
    status: dict[str, object] = {
        "phase": phase(records, pod.spec.restart_policy),
        "conditions": conditions,
        "hostIP": host_ip,
        "startTime": started,
        "containerStatuses": [_container(r) for r in records],
    }
    if pod_ip:
        status |= {"podIP": pod_ip, "podIPs": [{"ip": pod_ip}]}
    return status


def _condition(
    kind: str, holds: bool, why_not: str, now: str, before: Sequence[Condition]
) -> dict[str, object]:
    status = "True" if holds else "False"
    since = next((c.last_transition_time for c in before if c.type == kind and c.status == status), now)
    reason = {} if holds else {"reason": why_not}
    return {"type": kind, "status": status, "lastTransitionTime": since or now, **reason}


def _container(record: ContainerRecord) -> dict[str, object]:
    return {
        "name": record.name,
        "image": record.image,
        "imageID": f"lab://{record.image}",
        "containerID": record.container_id,
        "state": record.state,
        "lastState": record.last_state,
        "ready": record.ready,
        "started": record.running,
        "restartCount": record.restarts,
    }
