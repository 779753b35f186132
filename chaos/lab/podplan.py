"""What a container of a Pod is to run with: its environment, mounts, user and capabilities. Pure.

Rules are the kubelet's (kubelet_pods.go, kuberuntime_container.go); what is missing is a `NotYet` with the kubelet's reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from chaos.lab.images import PATH, Image
from chaos.lab.kernel import CAPABILITIES
from chaos.lab.objects import ConfigMap, Container, EnvVar, KeyRef, KeyToPath, Pod, Secret, Volume

DEFAULT_CAPABILITIES: Final = frozenset(
    {
        "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP",
        "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
    }
)  # fmt: skip
"""What container runtimes give a container that asks for nothing (containerd oci/spec.go)."""

_REFERENCE = re.compile(r"\$\$|\$\(([-._a-zA-Z][-._a-zA-Z0-9]*)\)")


class NotYet(Exception):  # noqa: N818 - not an error: the container waits
    """The container cannot start for now; `reason` is what `kubectl get pods` shows."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class Sources:
    """The Secrets and ConfigMaps of the Pod's namespace that it names; those that do not exist are left out."""

    secrets: Mapping[str, Secret]
    config_maps: Mapping[str, ConfigMap]

    def config_data(self, name: str) -> Mapping[str, bytes] | None:
        """All keys of a ConfigMap."""
        found = self.config_maps.get(name)
        if found is None:
            return None
        return {**{k: v.encode() for k, v in found.data.items()}, **found.binary_data}

    def secret_data(self, name: str) -> Mapping[str, bytes] | None:
        """All keys of a Secret."""
        found = self.secrets.get(name)
        return None if found is None else found.data


@dataclass(frozen=True, slots=True)
class File:
    """One file of a volume."""

    path: str
    content: bytes
    mode: int


@dataclass(frozen=True, slots=True)
class User:
    """uid and gid of a container's process; `fs_group` owns its volumes where it is given."""

    uid: int
    gid: int
    fs_group: int | None


def named_sources(pod: Pod) -> tuple[set[str], set[str]]:
    """Names of the Secrets and of the ConfigMaps that a Pod needs."""
    secrets: set[str] = set()
    maps: set[str] = set()
    for volume in pod.spec.volumes:
        if volume.secret is not None:
            secrets.add(volume.secret.secret_name)
        if volume.config_map is not None:
            maps.add(volume.config_map.name)
    for container in pod.spec.containers:
        for variable in container.env:
            source = variable.value_from
            if source is not None and source.secret_key_ref is not None:
                secrets.add(source.secret_key_ref.name)
            if source is not None and source.config_map_key_ref is not None:
                maps.add(source.config_map_key_ref.name)
        for group in container.env_from:
            if group.secret_ref is not None:
                secrets.add(group.secret_ref.name)
            if group.config_map_ref is not None:
                maps.add(group.config_map_ref.name)
    return secrets, maps


# -- volumes ----------------------------------------------------------------------------------------------


def volume_files(volume: Volume, sources: Sources) -> list[File] | None:
    """The files of a volume; None for an emptyDir. Raises NotYet."""
    if volume.secret is not None:
        what = f'secret "{volume.secret.secret_name}" not found'
        data = sources.secret_data(volume.secret.secret_name)
        return _files(data, volume.secret.items, volume.secret.default_mode, volume.secret.optional, what)
    if volume.config_map is not None:
        what = f'configmap "{volume.config_map.name}" not found'
        data = sources.config_data(volume.config_map.name)
        return _files(
            data, volume.config_map.items, volume.config_map.default_mode, volume.config_map.optional, what
        )
    if volume.empty_dir is not None:
        return None
    raise NotYet(
        "ContainerCreating",
        f'volume "{volume.name}": the lab has secret, configMap and emptyDir volumes only',
    )


def _files(
    data: Mapping[str, bytes] | None, items: list[KeyToPath], mode: int, optional: bool, missing: str
) -> list[File]:
    if data is None:
        if optional:
            return []
        raise NotYet("ContainerCreating", missing)
    if not items:
        return [File(name, content, mode) for name, content in sorted(data.items())]
    found = []
    for item in items:
        if item.key in data:
            found.append(File(item.path, data[item.key], mode if item.mode is None else item.mode))
        elif not optional:
            raise NotYet("ContainerCreating", f"references non-existent key: {item.key}")
    return found


# -- environment ------------------------------------------------------------------------------------------


def environment(
    pod: Pod,
    container: Container,
    image: Image,
    sources: Sources,
    *,
    pod_ip: str,
    host_ip: str,
    api: tuple[str, int],
) -> dict[str, str]:
    """All variables of a container. Raises NotYet CreateContainerConfigError as the kubelet does."""
    host_name = pod.spec.node_name if pod.spec.host_network else pod.metadata.name
    base = {
        "PATH": PATH,
        "HOSTNAME": host_name,
        "HOME": "/root",
        **image.environment,
        "KUBERNETES_SERVICE_HOST": api[0],
        "KUBERNETES_SERVICE_PORT": str(api[1]),
        "KUBERNETES_SERVICE_PORT_HTTPS": str(api[1]),
    }
    known = dict(base)
    for group in container.env_from:
        for reference, data, what in (
            (group.secret_ref, sources.secret_data, "secret"),
            (group.config_map_ref, sources.config_data, "configmap"),
        ):
            if reference is None:
                continue
            values = data(reference.name)
            if values is None and not reference.optional:
                raise NotYet("CreateContainerConfigError", f'{what} "{reference.name}" not found')
            known |= {group.prefix + k: v.decode("utf-8", "replace") for k, v in (values or {}).items()}
    fields = _fields(pod, pod_ip, host_ip)
    for variable in container.env:
        value = _value(variable, known, fields, sources)
        if value is not None:
            known[variable.name] = value
    return known


def _fields(pod: Pod, pod_ip: str, host_ip: str) -> dict[str, str]:
    meta = pod.metadata
    return {
        "metadata.name": meta.name,
        "metadata.namespace": meta.namespace,
        "metadata.uid": meta.uid,
        "spec.nodeName": pod.spec.node_name,
        "spec.serviceAccountName": pod.spec.service_account_name,
        "status.podIP": pod_ip,
        "status.podIPs": pod_ip,
        "status.hostIP": host_ip,
        "status.hostIPs": host_ip,
        **{f"metadata.labels['{k}']": v for k, v in meta.labels.items()},
        **{f"metadata.annotations['{k}']": v for k, v in meta.annotations.items()},
    }


def _value(
    variable: EnvVar, known: Mapping[str, str], fields: Mapping[str, str], sources: Sources
) -> str | None:
    source = variable.value_from
    if source is None:
        return expand(variable.value, known)
    if source.field_ref is not None:
        path = source.field_ref.field_path
        if path in fields or path.startswith(("metadata.labels[", "metadata.annotations[")):
            return fields.get(path, "")
        raise NotYet("CreateContainerConfigError", f"env {variable.name}: unsupported fieldPath: {path}")
    if source.secret_key_ref is not None:
        return _key(source.secret_key_ref, sources.secret_data(source.secret_key_ref.name), "secret")
    if source.config_map_key_ref is not None:
        return _key(
            source.config_map_key_ref, sources.config_data(source.config_map_key_ref.name), "configmap"
        )
    raise NotYet("CreateContainerConfigError", f"env {variable.name}: the lab has no such valueFrom")


def _key(reference: KeyRef, data: Mapping[str, bytes] | None, what: str) -> str | None:
    if data is not None and reference.key in data:
        return data[reference.key].decode("utf-8", "replace")
    if reference.optional:
        return None
    if data is None:
        raise NotYet("CreateContainerConfigError", f'{what} "{reference.name}" not found')
    raise NotYet(
        "CreateContainerConfigError", f"couldn't find key {reference.key} in {what} {reference.name}"
    )


def expand(text: str, known: Mapping[str, str]) -> str:
    """`$(NAME)` references replaced by known variables, `$$` by `$`; unknown ones stay (third_party/forked/golang/expansion)."""
    return _REFERENCE.sub(lambda m: "$" if m.group(0) == "$$" else known.get(m.group(1), m.group(0)), text)


# -- identity ---------------------------------------------------------------------------------------------


def user(pod: Pod, container: Container) -> User:
    """The user a container runs as. Raises NotYet where runAsNonRoot forbids root."""
    own, common = container.security_context, pod.spec.security_context
    uid = own.run_as_user if own.run_as_user is not None else common.run_as_user
    gid = own.run_as_group if own.run_as_group is not None else common.run_as_group
    non_root = own.run_as_non_root if own.run_as_non_root is not None else common.run_as_non_root
    if non_root and not uid:
        raise NotYet(
            "CreateContainerConfigError", "container has runAsNonRoot and image will run as root" if uid is None
            else "container's runAsUser breaks non-root policy"
        )  # fmt: skip
    return User(uid or 0, gid or 0, common.fs_group)


def capabilities(container: Container) -> frozenset[str]:
    """The bounding set of a container. Raises NotYet for a name the kernel does not have."""
    context = container.security_context
    if context.privileged:
        return frozenset(CAPABILITIES)
    add = {name.removeprefix("CAP_") for name in context.capabilities.add}
    drop = {name.removeprefix("CAP_") for name in context.capabilities.drop}
    for name in sorted(add | drop):
        if name != "ALL" and name not in CAPABILITIES:
            raise NotYet("CreateContainerError", f"unknown capability: {name}")
    base = frozenset(CAPABILITIES) if "ALL" in add else DEFAULT_CAPABILITIES
    return frozenset((frozenset() if "ALL" in drop else base - drop) | (add - {"ALL"}))
