"""Validation of the fields that the lab's users get wrong (pkg/apis/*/validation); the rest is taken as given."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from chaos.lab.apiserver.errors import Obj, invalid
from chaos.lab.apiserver.kinds import Kind

Cause = tuple[str, str, str]
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LABEL_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_PATH_SEGMENT = re.compile(r"(?!\.\.?$)[^/%]+")
_QUALIFIED = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")

_NAME_RULES: dict[str, tuple[re.Pattern[str], int, str]] = {
    "services": (_LABEL_1035, 63, "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
                 "start with an alphabetic character, and end with an alphanumeric character"),
    "namespaces": (_LABEL, 63, "a lowercase RFC 1123 label must consist of lower case alphanumeric characters "
                   "or '-', and must start and end with an alphanumeric character"),
}  # fmt: skip
_SUBDOMAIN_RULE = (
    _SUBDOMAIN,
    253,
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character",
)


def _required(field: str, why: str = "") -> Cause:
    return field, "FieldValueRequired", "Required value" + (f": {why}" if why else "")


def _bad(field: str, value: object, why: str) -> Cause:
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    return field, "FieldValueInvalid", f"Invalid value: {shown}: {why}"


def _one_of(field: str, value: object, allowed: tuple[str, ...]) -> Cause:
    names = ", ".join(f'"{name}"' for name in allowed)
    return field, "FieldValueNotSupported", f'Unsupported value: "{value}": supported values: {names}'


def _references(meta: Obj) -> list[Cause]:
    causes: list[Cause] = []
    owners = meta.get("ownerReferences") or []
    if not isinstance(owners, list) or not all(isinstance(o, dict) for o in owners):
        return [_bad("metadata.ownerReferences", owners, "must be a list of references")]
    for at, owner in enumerate(owners):
        causes += [
            _required(f"metadata.ownerReferences[{at}].{field}")
            for field in ("apiVersion", "kind", "name", "uid")
            if not isinstance(owner.get(field), str) or not owner[field]
        ]
    finalizers = meta.get("finalizers") or []
    if not isinstance(finalizers, list) or not all(isinstance(f, str) for f in finalizers):
        causes.append(_bad("metadata.finalizers", finalizers, "must be a list of strings"))
    return causes


def _metadata(kind: Kind, meta: Obj) -> list[Cause]:
    causes = _references(meta)
    name = meta.get("name")
    if not isinstance(name, str) or not name:
        causes.append(_required("metadata.name", "name or generateName is required"))
    elif kind.group == "rbac.authorization.k8s.io":
        if not _PATH_SEGMENT.fullmatch(name):
            causes.append(_bad("metadata.name", name, "may not contain '/' or '%'"))
    else:
        pattern, limit, why = _NAME_RULES.get(kind.resource, _SUBDOMAIN_RULE)
        if not pattern.fullmatch(name) or len(name) > limit:
            causes.append(_bad("metadata.name", name, why))
    for field in ("labels", "annotations"):
        values = meta.get(field)
        if values is None:
            continue
        if not isinstance(values, dict) or not all(isinstance(v, str) for v in values.values()):
            causes.append(_bad(f"metadata.{field}", values, "must be a map of strings to strings"))
            continue
        causes += [
            _bad(
                f"metadata.{field}", key, "name part must consist of alphanumeric characters, '-', '_' or '.'"
            )
            for key in values
            if not _QUALIFIED.fullmatch(key)
        ]
        if field == "labels":
            causes += [
                _bad("metadata.labels", value, "a valid label must be an empty string or consist of "
                     "alphanumeric characters, '-', '_' or '.'")
                for value in values.values()
                if not _LABEL_VALUE.fullmatch(value)
            ]  # fmt: skip
    return causes


def _port(field: str, value: object) -> list[Cause]:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535:
        return []
    return [_bad(field, value, "must be between 1 and 65535, inclusive")]


def _service_ports(spec: Obj) -> list[Cause]:
    ports = spec.get("ports")
    headless = spec.get("clusterIP") == "None"
    if not ports:
        return [] if headless or spec.get("type") == "ExternalName" else [_required("spec.ports")]
    if not isinstance(ports, list) or not all(isinstance(port, dict) for port in ports):
        return [_bad("spec.ports", ports, "must be a list of ports")]
    causes: list[Cause] = []
    names: set[str] = set()
    numbers: set[tuple[object, object]] = set()
    for at, port in enumerate(ports):
        field = f"spec.ports[{at}]"
        causes += _port(f"{field}.port", port.get("port"))
        name = port.get("name", "")
        if not name and len(ports) > 1:
            causes.append(_required(f"{field}.name"))
        elif name in names:
            causes.append((f"{field}.name", "FieldValueDuplicate", f'Duplicate value: "{name}"'))
        elif name and not _LABEL.fullmatch(name):
            causes.append(_bad(f"{field}.name", name, _NAME_RULES["namespaces"][2]))
        names.add(name)
        protocol = port.get("protocol", "TCP")
        if protocol not in ("TCP", "UDP", "SCTP"):
            causes.append(_one_of(f"{field}.protocol", protocol, ("SCTP", "TCP", "UDP")))
        if (protocol, port.get("port")) in numbers:
            causes.append((field, "FieldValueDuplicate", f"Duplicate value: {port.get('port')}/{protocol}"))
        numbers.add((protocol, port.get("port")))
        node_port = port.get("nodePort")
        if node_port and node_port not in range(30000, 32768):
            causes.append(_bad(f"{field}.nodePort", node_port, "provided port is not in the valid range. "
                               "The range of valid ports is 30000-32767"))  # fmt: skip
    return causes


def _service(obj: Obj) -> list[Cause]:
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        return [_required("spec.ports")]
    causes: list[Cause] = []
    kind = spec.get("type", "ClusterIP")
    kinds = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
    if kind not in kinds:
        causes.append(_one_of("spec.type", kind, kinds))
    causes += _service_ports(spec)
    policy = spec.get("externalTrafficPolicy")
    if policy:
        if policy not in ("Cluster", "Local"):
            causes.append(_one_of("spec.externalTrafficPolicy", policy, ("Cluster", "Local")))
        elif kind not in ("NodePort", "LoadBalancer"):
            causes.append(_bad("spec.externalTrafficPolicy", policy, "may only be set for externally-accessible "
                               "services"))  # fmt: skip
    addresses = [("spec.clusterIP", spec.get("clusterIP"))]
    addresses += [(f"spec.clusterIPs[{i}]", a) for i, a in enumerate(spec.get("clusterIPs") or [])]
    for field, address in addresses:
        if address not in (None, "", "None") and not _is_ip(address):
            causes.append(_bad(field, address, "must be a valid IP address"))
    affinity = spec.get("sessionAffinity", "None")
    if affinity not in ("ClientIP", "None"):
        causes.append(_one_of("spec.sessionAffinity", affinity, ("ClientIP", "None")))
    return causes


def _is_ip(text: object) -> bool:
    try:
        ip_address(str(text))
    except ValueError:
        return False
    return True


def _keys(field: str, values: object) -> list[Cause]:
    if values is None:
        return []
    if not isinstance(values, dict) or not all(isinstance(v, str) for v in values.values()):
        return [_bad(field, values, "must be a map of strings to strings")]
    return [
        _bad(
            f"{field}[{key}]",
            key,
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
        )
        for key in values
        if not _CONFIG_KEY.fullmatch(key)
    ]


def _config_map(obj: Obj) -> list[Cause]:
    return _keys("data", obj.get("data")) + _keys("binaryData", obj.get("binaryData"))


def _secret(obj: Obj) -> list[Cause]:
    causes = _keys("data", obj.get("data"))
    for key, value in (obj.get("data") or {}).items() if not causes else ():
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            causes.append(_bad(f"data[{key}]", "<redacted>", "illegal base64 data"))
    return causes


def _containers(field: str, spec: Any) -> list[Cause]:
    containers = spec.get("containers") if isinstance(spec, dict) else None
    if not isinstance(containers, list) or not containers:
        return [_required(f"{field}.containers")]
    causes: list[Cause] = []
    for at, container in enumerate(containers):
        if not isinstance(container, dict) or not container.get("name"):
            causes.append(_required(f"{field}.containers[{at}].name"))
        elif not container.get("image"):
            causes.append(_required(f"{field}.containers[{at}].image"))
    return causes


def _pod(obj: Obj) -> list[Cause]:
    return _containers("spec", obj.get("spec"))


def _workload(obj: Obj) -> list[Cause]:
    spec = obj.get("spec") or {}
    selector = spec.get("selector")
    template = spec.get("template") or {}
    causes = _containers("spec.template.spec", template.get("spec"))
    if not isinstance(selector, dict) or not selector:
        causes.insert(0, _required("spec.selector"))
    else:
        labels = (template.get("metadata") or {}).get("labels") or {}
        if any(labels.get(k) != v for k, v in (selector.get("matchLabels") or {}).items()):
            causes.append(
                _bad("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
            )
    return causes


def _endpoint_slice(obj: Obj) -> list[Cause]:
    kinds = ("FQDN", "IPv4", "IPv6")
    if obj.get("addressType") not in kinds:
        return [_one_of("addressType", obj.get("addressType", ""), kinds)]
    return []


_VALIDATORS: dict[str, Callable[[Obj], list[Cause]]] = {
    "services": _service,
    "configmaps": _config_map,
    "secrets": _secret,
    "pods": _pod,
    "deployments.apps": _workload,
    "daemonsets.apps": _workload,
    "replicasets.apps": _workload,
    "endpointslices.discovery.k8s.io": _endpoint_slice,
}


def validate(kind: Kind, obj: Obj) -> None:
    """Raises StatusError 422 naming every field at fault."""
    causes = _metadata(kind, obj["metadata"])
    check = _VALIDATORS.get(kind.resource)
    if check is not None:
        causes += check(obj)
    if causes:
        raise invalid(kind, str(obj["metadata"].get("name") or ""), causes)


def validate_change(kind: Kind, obj: Obj, old: Obj) -> None:
    """Raises StatusError 422 for a change of a field that must not change."""
    causes: list[Cause] = []
    if kind.resource == "services":
        new_ip, old_ip = obj["spec"].get("clusterIP", ""), old["spec"].get("clusterIP", "")
        if old_ip and new_ip != old_ip and obj["spec"]["type"] != "ExternalName":
            causes.append(_bad("spec.clusterIPs[0]", new_ip, "may not change once set"))
    elif kind.resource in ("deployments.apps", "daemonsets.apps", "replicasets.apps"):
        if obj["spec"].get("selector") != old["spec"].get("selector"):
            causes.append(_bad("spec.selector", obj["spec"].get("selector"), "field is immutable"))
    elif kind.resource in ("configmaps", "secrets"):
        fields = ("data", "binaryData", "type", "immutable")
        if old.get("immutable") and any(obj.get(f) != old.get(f) for f in fields):
            causes.append(
                ("data", "FieldValueForbidden", "Forbidden: field is immutable when `immutable` is set")
            )
    elif kind.resource == "pods":
        old_node = old["spec"].get("nodeName")
        if old_node and obj["spec"].get("nodeName") != old_node:
            causes.append(
                ("spec", "FieldValueForbidden", "Forbidden: pod updates may not change spec.nodeName")
            )
    if causes:
        raise invalid(kind, obj["metadata"]["name"], causes)
