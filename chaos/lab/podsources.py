"""Fetches from the API what a Pod is made of: Secrets, ConfigMaps, the token of its service account."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from chaos.lab.objects import ConfigMap, Pod, Secret
from chaos.lab.podplan import File, NotYet, Sources, named_sources
from cluster.client import ApiClient
from cluster.errors import ApiError

T = TypeVar("T")

TOKEN_DIR = "/var/run/secrets/kubernetes.io/serviceaccount"
_TOKEN_LIFE_S = 3607
"""What the kubelet asks for; the embedded API server's tokens do not end."""


class _TokenStatus(msgspec.Struct, frozen=True):
    token: str = ""


class _TokenRequest(msgspec.Struct, frozen=True):
    status: _TokenStatus = _TokenStatus()


async def fetch_sources(api: ApiClient, pod: Pod) -> Sources:
    """The Secrets and ConfigMaps that a Pod names, those that there are. Raises ClusterError."""
    secrets, maps = named_sources(pod)
    base = f"/api/v1/namespaces/{pod.metadata.namespace}"
    found_secrets: dict[str, Secret] = {}
    found_maps: dict[str, ConfigMap] = {}
    for name in sorted(secrets):
        secret = await _get(api, f"{base}/secrets/{name}", Secret)
        if secret is not None:
            found_secrets[name] = secret
    for name in sorted(maps):
        config = await _get(api, f"{base}/configmaps/{name}", ConfigMap)
        if config is not None:
            found_maps[name] = config
    return Sources(found_secrets, found_maps)


async def fetch_service_account(api: ApiClient, pod: Pod) -> list[File]:
    """token, ca.crt and namespace, as the kubelet projects them. Raises ClusterError, and NotYet without an account."""
    namespace = pod.metadata.namespace
    base = f"/api/v1/namespaces/{namespace}"
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": _TOKEN_LIFE_S},
    }
    try:
        path = f"{base}/serviceaccounts/{pod.spec.service_account_name or 'default'}/token"
        granted = await api.create(path, body, _TokenRequest)
        root = await api.get(f"{base}/configmaps/kube-root-ca.crt", ConfigMap)
    except ApiError as error:
        if error.not_found:
            raise NotYet("ContainerCreating", f"service account: {error.message}") from error
        raise
    texts = {"token": granted.status.token, "ca.crt": root.data.get("ca.crt", ""), "namespace": namespace}
    return [File(path, text.encode(), 0o644) for path, text in texts.items()]


async def _get(api: ApiClient, path: str, model: type[T]) -> T | None:
    try:
        return await api.get(path, model)
    except ApiError as error:
        if error.not_found:
            return None
        raise
