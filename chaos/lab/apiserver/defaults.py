"""Defaults that the API server fills in, as far as the lab's objects need them (pkg/apis/*/v1/defaults.go)."""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable
from typing import Any

from chaos.lab.apiserver.errors import Obj

Defaulter = Callable[[Obj], None]


def _each(items: Any) -> list[Obj]:
    return [item for item in items or [] if isinstance(item, dict)]


def _probe(probe: Any) -> None:
    if not isinstance(probe, dict):
        return
    for field, value in (
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ):
        probe.setdefault(field, value)
    if isinstance(probe.get("httpGet"), dict):
        probe["httpGet"].setdefault("path", "/")
        probe["httpGet"].setdefault("scheme", "HTTP")


def _container(container: Obj) -> None:
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("resources", {})
    image = str(container.get("image", ""))
    if "imagePullPolicy" not in container:
        tag = image.rpartition("/")[2].partition(":")[2]
        container["imagePullPolicy"] = (
            "Always" if tag in ("", "latest") and "@" not in image else "IfNotPresent"
        )
    for port in _each(container.get("ports")):
        port.setdefault("protocol", "TCP")
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        _probe(container.get(probe))
    for variable in _each(container.get("env")):
        field = (variable.get("valueFrom") or {}).get("fieldRef")
        if isinstance(field, dict):
            field.setdefault("apiVersion", "v1")


def pod_spec(spec: Obj) -> None:
    """Fill in a pod spec, of a Pod or of a template."""
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    if spec.get("serviceAccountName"):
        spec.setdefault("serviceAccount", spec["serviceAccountName"])
    for name in ("initContainers", "containers"):
        for container in _each(spec.get(name)):
            _container(container)
    for volume in _each(spec.get("volumes")):
        for source in ("secret", "configMap", "projected", "downwardAPI"):
            if isinstance(volume.get(source), dict):
                volume[source].setdefault("defaultMode", 0o644)
        if isinstance(volume.get("hostPath"), dict):
            volume["hostPath"].setdefault("type", "")


def _pod(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    pod_spec(spec)
    for container in _each(spec.get("containers")) if spec.get("hostNetwork") else ():
        for port in _each(container.get("ports")):
            port.setdefault("hostPort", port.get("containerPort"))
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("serviceAccountName", "default")
    spec.setdefault("serviceAccount", spec["serviceAccountName"])
    obj.setdefault("status", {}).setdefault("phase", "Pending")
    obj["status"].setdefault("qosClass", "BestEffort")


def _template(spec: Obj) -> None:
    template = spec.get("template")
    if isinstance(template, dict):
        template.setdefault("metadata", {}).setdefault("creationTimestamp", None)
        pod_spec(template.setdefault("spec", {}))


def _deployment(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    strategy = spec.setdefault("strategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    _template(spec)
    obj.setdefault("status", {})


def _daemonset(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    strategy = spec.setdefault("updateStrategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)
    spec.setdefault("revisionHistoryLimit", 10)
    _template(spec)
    status = obj.setdefault("status", {})
    for field in ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady"):
        status.setdefault(field, 0)


def _replicaset(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    _template(spec)
    obj.setdefault("status", {}).setdefault("replicas", 0)


def _secret(obj: Obj) -> None:
    obj.setdefault("type", "Opaque")
    clear = obj.pop("stringData", None)
    if isinstance(clear, dict):
        data = obj.setdefault("data", {})
        for name, value in clear.items():
            data[name] = base64.b64encode(str(value).encode()).decode()


def _namespace(obj: Obj) -> None:
    obj["spec"] = {"finalizers": ["kubernetes"]}
    obj.setdefault("status", {}).setdefault("phase", "Active")
    labels = obj["metadata"].get("labels") or {}
    obj["metadata"]["labels"] = {**labels, "kubernetes.io/metadata.name": obj["metadata"]["name"]}


def _endpoint_slice(obj: Obj) -> None:
    for port in _each(obj.get("ports")):
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")


def _endpoints(obj: Obj) -> None:
    for subset in _each(obj.get("subsets")):
        for port in _each(subset.get("ports")):
            port.setdefault("protocol", "TCP")


def _node(obj: Obj) -> None:
    obj.setdefault("spec", {})


def _role_binding(obj: Obj) -> None:
    reference = obj.get("roleRef")
    if isinstance(reference, dict):
        reference.setdefault("apiGroup", "rbac.authorization.k8s.io")
    for subject in _each(obj.get("subjects")):
        if subject.get("kind") in ("User", "Group"):
            subject.setdefault("apiGroup", "rbac.authorization.k8s.io")


DEFAULTERS: dict[str, Defaulter] = {
    "pods": _pod,
    "namespaces": _namespace,
    "nodes": _node,
    "secrets": _secret,
    "endpoints": _endpoints,
    "endpointslices.discovery.k8s.io": _endpoint_slice,
    "deployments.apps": _deployment,
    "daemonsets.apps": _daemonset,
    "replicasets.apps": _replicaset,
    "rolebindings.rbac.authorization.k8s.io": _role_binding,
    "clusterrolebindings.rbac.authorization.k8s.io": _role_binding,
}
"""By resource. Services are filled in by `services.ServiceAllocator`, which knows what is allocated."""


def apply_schema_defaults(schema: Any, value: Any) -> None:
    """Fill in the defaults of a CustomResourceDefinition's openAPIV3Schema, in place."""
    if not isinstance(schema, dict):
        return
    if isinstance(value, list):
        for item in value:
            apply_schema_defaults(schema.get("items"), item)
    if not isinstance(value, dict):
        return
    properties = schema.get("properties") or {}
    for name, inner in properties.items():
        if name not in value and isinstance(inner, dict) and "default" in inner:
            value[name] = copy.deepcopy(inner["default"])
        if name in value:
            apply_schema_defaults(inner, value[name])
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        for name, inner_value in value.items():
            if name not in properties:
                apply_schema_defaults(extra, inner_value)
