"""The columns of `kubectl get`, kind by kind (kubernetes pkg/printers/internalversion/printers.go)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chaos.lab.apiserver.errors import Obj
from chaos.lab.apiserver.kinds import Kind

Cell = str | int | bool | None
_NONE = "<none>"


@dataclass(frozen=True, slots=True)
class Column:
    """One column; priority 1 shows only with `-o wide`. `cell` gets the object and the wall time in seconds."""

    name: str
    cell: Callable[[Obj, float], Cell]
    priority: int = 0
    type: str = "string"


def seconds_of(stamp: object) -> float | None:
    """Unix time of an RFC 3339 text, None where it is none."""
    if not isinstance(stamp, str) or not stamp:
        return None
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        return None


def human_duration(seconds: float) -> str:
    """A duration as kubectl shows ages (apimachinery util/duration): 59s, 3m20s, 5h, 2d3h …"""
    s = int(seconds)
    if s < -1:
        return "<invalid>"
    if s < 120:
        return f"{max(s, 0)}s"
    minutes, hours, days = s // 60, s // 3600, s // 86400
    if minutes < 10:
        return f"{minutes}m{s % 60}s" if s % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 730:
        return f"{days}d"
    return f"{days // 365}y"


def _since(stamp: object, now: float) -> str:
    at = seconds_of(stamp)
    return "<unknown>" if at is None else human_duration(now - at)


def _name(obj: Obj, _: float) -> Cell:
    name: str = obj["metadata"]["name"]
    return name


def _age(obj: Obj, now: float) -> Cell:
    return _since(obj["metadata"].get("creationTimestamp"), now)


NAME = Column("Name", _name)
AGE = Column("Age", _age)
GENERIC = (NAME, Column("Created At", lambda obj, _: obj["metadata"].get("creationTimestamp"), type="date"))


def dig(obj: Any, path: str) -> Any:
    """The value at a dotted path, None where the path ends early."""
    for part in path.split("."):
        obj = obj.get(part) if isinstance(obj, dict) else None
    return obj


def _field(path: str, absent: str = "") -> Callable[[Obj, float], Cell]:
    def cell(obj: Obj, _: float) -> Cell:
        value = dig(obj, path)
        return absent if value in (None, "") else str(value)

    return cell


def _number(path: str) -> Callable[[Obj, float], Cell]:
    return lambda obj, _: int(dig(obj, path) or 0)


def _count(path: str) -> Callable[[Obj, float], Cell]:
    return lambda obj, _: len(dig(obj, path) or ())


def _labels(path: str) -> Callable[[Obj, float], Cell]:
    def cell(obj: Obj, _: float) -> Cell:
        return ",".join(f"{k}={v}" for k, v in sorted((dig(obj, path) or {}).items())) or _NONE

    return cell


def _containers(path: str, field: str) -> Callable[[Obj, float], Cell]:
    return lambda obj, _: ",".join(str(c.get(field, "")) for c in dig(obj, path) or ())


# -- services ---------------------------------------------------------------------------------------------


def _external_ip(obj: Obj, _: float) -> Cell:
    spec = obj["spec"]
    external = [str(a) for a in spec.get("externalIPs") or ()]
    match spec.get("type"):
        case "ExternalName":
            return str(spec.get("externalName", ""))
        case "LoadBalancer":
            ingress = dig(obj, "status.loadBalancer.ingress") or ()
            found = [str(i.get("ip") or i.get("hostname")) for i in ingress]
            return ",".join([*found, *external]) or "<pending>"
        case _:
            return ",".join(external) or _NONE


def _service_ports(obj: Obj, _: float) -> Cell:
    return ",".join(
        f"{p['port']}:{p['nodePort']}/{p['protocol']}" if p.get("nodePort") else f"{p['port']}/{p['protocol']}"
        for p in obj["spec"].get("ports") or ()
    ) or _NONE  # fmt: skip


# -- pods -------------------------------------------------------------------------------------------------


def _statuses(obj: Obj) -> list[Obj]:
    return list(dig(obj, "status.containerStatuses") or ())


def _ready(obj: Obj, _: float) -> Cell:
    return f"{sum(bool(s.get('ready')) for s in _statuses(obj))}/{len(obj['spec'].get('containers') or ())}"


def _pod_status(obj: Obj, _: float) -> Cell:
    status = obj.get("status") or {}
    reason = status.get("reason") or status.get("phase") or "Unknown"
    running = False
    for container in reversed(_statuses(obj)):
        state = container.get("state") or {}
        waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
        if waiting.get("reason"):
            reason = waiting["reason"]
        elif ended:
            signal = ended.get("signal")
            code = f"Signal:{signal}" if signal else f"ExitCode:{ended.get('exitCode', 0)}"
            reason = ended.get("reason") or code
        elif container.get("ready") and "running" in state:
            running = True
    if reason == "Completed" and running:
        reason = "Running"
    if "deletionTimestamp" in obj["metadata"]:
        return "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    return str(reason)


def _restarts(obj: Obj, now: float) -> Cell:
    statuses = _statuses(obj)
    total = sum(int(s.get("restartCount", 0)) for s in statuses)
    ended = [seconds_of(dig(s, "lastState.terminated.finishedAt")) for s in statuses]
    last = max((at for at in ended if at is not None), default=None)
    return f"{total} ({human_duration(now - last)} ago)" if total and last is not None else str(total)


def _gates(obj: Obj, _: float) -> Cell:
    gates = obj["spec"].get("readinessGates")
    return str(len(gates)) if gates else _NONE


# -- nodes ------------------------------------------------------------------------------------------------


def _node_status(obj: Obj, _: float) -> Cell:
    ready = [c for c in dig(obj, "status.conditions") or () if c.get("type") == "Ready"]
    words = [("Ready" if ready[0].get("status") == "True" else "NotReady") if ready else "Unknown"]
    if (obj.get("spec") or {}).get("unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _roles(obj: Obj, _: float) -> Cell:
    prefix = "node-role.kubernetes.io/"
    labels = obj["metadata"].get("labels") or {}
    return ",".join(sorted(k.removeprefix(prefix) for k in labels if k.startswith(prefix))) or _NONE


def _node_address(wanted: str) -> Callable[[Obj, float], Cell]:
    def cell(obj: Obj, _: float) -> Cell:
        for address in dig(obj, "status.addresses") or ():
            if address.get("type") == wanted:
                return str(address.get("address"))
        return _NONE

    return cell


# -- endpoints, events ------------------------------------------------------------------------------------


def _shorten(items: list[str], shown: int = 3) -> str:
    if not items:
        return _NONE
    more = f" + {len(items) - shown} more..." if len(items) > shown else ""
    return ",".join(items[:shown]) + more


def _endpoints(obj: Obj, _: float) -> Cell:
    return _shorten(
        [
            f"{a.get('ip')}:{p.get('port')}" if p else str(a.get("ip"))
            for subset in obj.get("subsets") or ()
            for p in subset.get("ports") or (None,)
            for a in subset.get("addresses") or ()
        ]
    )


def _slice_ports(obj: Obj, _: float) -> Cell:
    ports = obj.get("ports")
    return _shorten([str(p.get("port", "*")) for p in ports]) if ports else "<unset>"


def _slice_endpoints(obj: Obj, _: float) -> Cell:
    found = [str(a) for e in obj.get("endpoints") or () for a in e.get("addresses") or ()]
    return _shorten(found) if found else "<unset>"


def _event_object(obj: Obj, _: float) -> Cell:
    about = obj.get("involvedObject") or {}
    return f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"


def _last_seen(obj: Obj, now: float) -> Cell:
    for field in ("lastTimestamp", "eventTime", "firstTimestamp"):
        if obj.get(field):
            return _since(obj[field], now)
    return _age(obj, now)


def _first_seen(obj: Obj, now: float) -> Cell:
    return _since(obj.get("firstTimestamp") or obj.get("eventTime"), now)


def _event_source(obj: Obj, _: float) -> Cell:
    source = obj.get("source") or {}
    return ", ".join(filter(None, (source.get("component"), source.get("host"))))


# -- workloads --------------------------------------------------------------------------------------------

_TEMPLATE = (
    Column("Containers", _containers("spec.template.spec.containers", "name"), 1),
    Column("Images", _containers("spec.template.spec.containers", "image"), 1),
    Column("Selector", _labels("spec.selector.matchLabels"), 1),
)


def _deployment_ready(obj: Obj, _: float) -> Cell:
    return f"{dig(obj, 'status.readyReplicas') or 0}/{dig(obj, 'spec.replicas') or 0}"


def _role(obj: Obj, _: float) -> Cell:
    return f"{dig(obj, 'roleRef.kind')}/{dig(obj, 'roleRef.name')}"


def _data(obj: Obj, _: float) -> Cell:
    return len(obj.get("data") or ()) + len(obj.get("binaryData") or ())


def _subjects(kind: str) -> Callable[[Obj, float], Cell]:
    def cell(obj: Obj, _: float) -> Cell:
        found = [s for s in obj.get("subjects") or () if s.get("kind") == kind]
        return ", ".join("/".join(filter(None, (s.get("namespace"), s.get("name")))) for s in found)

    return cell


_BINDING = (
    NAME,
    Column("Role", _role),
    AGE,
    Column("Users", _subjects("User"), 1),
    Column("Groups", _subjects("Group"), 1),
    Column("ServiceAccounts", _subjects("ServiceAccount"), 1),
)
_RBAC = "rbac.authorization.k8s.io"
COLUMNS: dict[str, tuple[Column, ...]] = {
    "services": (
        NAME,
        Column("Type", _field("spec.type")),
        Column("Cluster-IP", _field("spec.clusterIP", _NONE)),
        Column("External-IP", _external_ip),
        Column("Port(s)", _service_ports),
        AGE,
        Column("Selector", _labels("spec.selector"), 1),
    ),
    "pods": (
        NAME,
        Column("Ready", _ready),
        Column("Status", _pod_status),
        Column("Restarts", _restarts),
        AGE,
        Column("IP", _field("status.podIP", _NONE), 1),
        Column("Node", _field("spec.nodeName", _NONE), 1),
        Column("Nominated Node", _field("status.nominatedNodeName", _NONE), 1),
        Column("Readiness Gates", _gates, 1),
    ),
    "nodes": (
        NAME,
        Column("Status", _node_status),
        Column("Roles", _roles),
        AGE,
        Column("Version", _field("status.nodeInfo.kubeletVersion")),
        Column("Internal-IP", _node_address("InternalIP"), 1),
        Column("External-IP", _node_address("ExternalIP"), 1),
        Column("OS-Image", _field("status.nodeInfo.osImage", "<unknown>"), 1),
        Column("Kernel-Version", _field("status.nodeInfo.kernelVersion", "<unknown>"), 1),
        Column("Container-Runtime", _field("status.nodeInfo.containerRuntimeVersion", "<unknown>"), 1),
    ),
    "namespaces": (NAME, Column("Status", _field("status.phase")), AGE),
    "configmaps": (NAME, Column("Data", _data), AGE),
    "secrets": (NAME, Column("Type", _field("type")), Column("Data", _data), AGE),
    "serviceaccounts": (NAME, Column("Secrets", _count("secrets")), AGE),
    "endpoints": (NAME, Column("Endpoints", _endpoints), AGE),
    "endpointslices.discovery.k8s.io": (
        NAME,
        Column("AddressType", _field("addressType")),
        Column("Ports", _slice_ports),
        Column("Endpoints", _slice_endpoints),
        AGE,
    ),
    "events": (
        Column("Last Seen", _last_seen),
        Column("Type", _field("type")),
        Column("Reason", _field("reason")),
        Column("Object", _event_object),
        Column("Subobject", _field("involvedObject.fieldPath"), 1),
        Column("Source", _event_source, 1),
        Column("Message", lambda obj, _: str(obj.get("message", "")).strip()),
        Column("First Seen", _first_seen, 1),
        Column("Count", lambda obj, _: str(obj.get("count") or 1), 1),
        Column("Name", _name, 1),
    ),
    "deployments.apps": (
        NAME,
        Column("Ready", _deployment_ready),
        Column("Up-to-date", lambda obj, _: str(dig(obj, "status.updatedReplicas") or 0)),
        Column("Available", lambda obj, _: str(dig(obj, "status.availableReplicas") or 0)),
        AGE,
        *_TEMPLATE,
    ),
    "daemonsets.apps": (
        NAME,
        Column("Desired", _number("status.desiredNumberScheduled"), type="integer"),
        Column("Current", _number("status.currentNumberScheduled"), type="integer"),
        Column("Ready", _number("status.numberReady"), type="integer"),
        Column("Up-to-date", _number("status.updatedNumberScheduled"), type="integer"),
        Column("Available", _number("status.numberAvailable"), type="integer"),
        Column("Node Selector", _labels("spec.template.spec.nodeSelector")),
        AGE,
        *_TEMPLATE,
    ),
    "replicasets.apps": (
        NAME,
        Column("Desired", _number("spec.replicas"), type="integer"),
        Column("Current", _number("status.replicas"), type="integer"),
        Column("Ready", _number("status.readyReplicas"), type="integer"),
        AGE,
        *_TEMPLATE,
    ),
    "leases.coordination.k8s.io": (NAME, Column("Holder", _field("spec.holderIdentity")), AGE),
    f"rolebindings.{_RBAC}": _BINDING,
    f"clusterrolebindings.{_RBAC}": _BINDING,
    "networkpolicies.networking.k8s.io": (
        NAME,
        Column("Pod-Selector", _labels("spec.podSelector.matchLabels")),
        AGE,
    ),
    "validatingwebhookconfigurations.admissionregistration.k8s.io": (
        NAME,
        Column("Webhooks", _count("webhooks"), type="integer"),
        AGE,
    ),
    "priorityclasses.scheduling.k8s.io": (
        NAME,
        Column("Value", _number("value"), type="integer"),
        Column("Global-Default", lambda obj, _: bool(obj.get("globalDefault")), type="boolean"),
        AGE,
        Column("PreemptionPolicy", _field("preemptionPolicy")),
    ),
    "poddisruptionbudgets.policy": (
        NAME,
        Column("Min Available", _field("spec.minAvailable", "N/A")),
        Column("Max Unavailable", _field("spec.maxUnavailable", "N/A")),
        Column("Allowed Disruptions", _number("status.disruptionsAllowed"), type="integer"),
        AGE,
    ),
}
"""By resource; a kind that is not here shows GENERIC columns, name and creation time, as the API server does."""


# -- custom kinds -----------------------------------------------------------------------------------------


def _custom_cell(path: str, kind: str) -> Callable[[Obj, float], Cell]:
    parts = re.findall(r"\[['\"]?([^\]'\"]+)['\"]?\]|([^.\[\]]+)", path.lstrip("."))
    steps = [quoted or plain for quoted, plain in parts]

    def cell(obj: Obj, now: float) -> Cell:
        at: Any = obj
        for step in steps:
            if isinstance(at, list) and step.isdigit() and int(step) < len(at):
                at = at[int(step)]
            else:
                at = at.get(step) if isinstance(at, dict) else None
        if kind == "date":
            return _since(at, now)
        return at if at is None or isinstance(at, bool | int | str) else str(at).replace("'", '"')

    return cell


def custom_columns(kind: Kind) -> tuple[Column, ...]:
    """Columns that a CustomResourceDefinition names; name and age where it names none."""
    if not kind.columns:
        return (NAME, AGE)
    return (NAME, *(Column(c.name, _custom_cell(c.path, c.type), c.priority, c.type) for c in kind.columns))
