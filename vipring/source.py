"""Where the commands get a speaker's /status from: its own URL, or the API server's pod proxy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from cluster.errors import ApiError, ClusterError
from speaker.status import SpeakerStatus

if TYPE_CHECKING:
    from cluster.client import ApiClient
    from cluster.objects import Pod

SPEAKER_LABELS = "app=metallb,component=speaker"
MAX_STATUS_BYTES = 64 * 1024 * 1024


class SourceError(Exception):
    """The status cannot be had; the text is one line for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Which speaker to ask. `url` wins; otherwise the API server is asked for the speaker of `node`, or any."""

    url: str | None = None
    kubeconfig: str | None = None
    namespace: str = "metallb-system"
    node: str | None = None
    port: int = 7472
    timeout_s: float = 10.0


def fetch_status(where: Where, *, service: str | None = None) -> SpeakerStatus:
    """The status of one speaker, with the diagnosis of `service` ("namespace/name") if given. Raises SourceError."""
    if where.url:
        return _from_url(where, where.url, service)
    import anyio

    return anyio.run(_from_api, where, service)


def _query(service: str | None) -> str:
    return f"?service={quote(service, safe='')}" if service else ""


def _from_url(where: Where, url: str, service: str | None) -> SpeakerStatus:
    import httpx2

    base = url if "://" in url else f"http://{url}"
    base = base.rstrip("/")
    full = (base if base.endswith("/status") else f"{base}/status") + _query(service)
    try:
        answer = httpx2.get(full, timeout=where.timeout_s)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise SourceError(f"{full}: no answer: {error}") from None
    if answer.status_code != 200:
        raise SourceError(f"{full}: HTTP {answer.status_code}, expected 200 from a vipring speaker")
    try:
        return msgspec.json.decode(answer.content, type=SpeakerStatus)
    except msgspec.DecodeError as error:
        raise SourceError(f"{full}: not the status of a vipring speaker: {error}") from None


async def _from_api(where: Where, service: str | None) -> SpeakerStatus:
    from cluster.client import ApiClient
    from cluster.objects import Pod

    try:
        async with ApiClient.from_kubeconfig(where.kubeconfig) as client:
            path = f"/api/v1/namespaces/{where.namespace}/pods"
            pods, _ = await client.list(path, Pod, label_selector=SPEAKER_LABELS)
            return await _ask(client, where, _candidates(where, pods), service)
    except ClusterError as error:
        raise SourceError(str(error)) from None


def _candidates(where: Where, pods: list[Pod]) -> list[Pod]:
    running = [pod for pod in pods if pod.status.phase == "Running"]
    if where.node is not None:
        running = [pod for pod in running if pod.spec.node_name == where.node]
        if not running:
            raise SourceError(f"no running speaker on node {where.node} in namespace {where.namespace}")
    if not running:
        raise SourceError(f"no running speaker in namespace {where.namespace} (labels {SPEAKER_LABELS})")
    return sorted(running, key=lambda pod: pod.spec.node_name)


async def _ask(client: ApiClient, where: Where, pods: list[Pod], service: str | None) -> SpeakerStatus:
    """The first speaker that answers: a node may be dead and its pod still be listed as running."""
    refused: ApiError | None = None
    params = {"service": service} if service else {}
    for pod in pods:
        path = f"/api/v1/namespaces/{where.namespace}/pods/{pod.metadata.name}:{where.port}/proxy/status"
        try:
            return await client.get(path, SpeakerStatus, **params)
        except ApiError as error:
            refused = error
    raise SourceError(f"no speaker answers through the API server: {refused}")
