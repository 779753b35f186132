"""Where the commands get a speaker's /status from: its own URL, or the API server's pod proxy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import msgspec

from cluster.errors import ApiError, ClusterError
from cluster.objects import Object, ObjectMeta, PodSpec
from speaker.status import SpeakerStatus

if TYPE_CHECKING:
    from cluster.client import ApiClient

SPEAKER_LABELS = "app=metallb,component=speaker"

ASK_S: Final = 3.0
"""How long one pod may take to answer through the API server before the next one is asked."""
_FORBIDDEN: Final = frozenset({401, 403})


class SourceError(Exception):
    """The status cannot be had; the text is one line for the user."""


class _Condition(Object, frozen=True):
    type: str = ""
    status: str = ""


class _PodStatus(Object, frozen=True):
    phase: str = ""
    conditions: list[_Condition] | None = None


class _Pod(Object, frozen=True):
    """A v1 Pod with its conditions, which the resident processes have no use for."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()
    status: _PodStatus = _PodStatus()

    @property
    def ready(self) -> bool:
        """Whether Kubernetes holds it ready and wants it to live."""
        conditions = self.status.conditions or []
        return self.metadata.deletion_timestamp is None and any(
            condition.type == "Ready" and condition.status == "True" for condition in conditions
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Which speaker to ask. `url` wins; otherwise the API server is asked for the speaker of `node`, or any.

    `timeout_s` bounds the answer of `url`, `ask_s` that of each pod behind the API server.
    """

    url: str | None = None
    kubeconfig: str | None = None
    namespace: str = "metallb-system"
    node: str | None = None
    port: int = 7472
    timeout_s: float = 10.0
    ask_s: float = ASK_S


def fetch_status(
    where: Where, *, service: str | None = None, tell: Callable[[str], None] = lambda _: None
) -> SpeakerStatus:
    """The status of one speaker, with the diagnosis of `service` ("namespace/name") if given. Raises SourceError.

    `tell` hears a line about each speaker that did not answer, before the next one is asked.
    """
    if where.url:
        return _from_url(where, where.url, service)
    import anyio

    return anyio.run(_from_api, where, service, tell)


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


async def _from_api(where: Where, service: str | None, tell: Callable[[str], None]) -> SpeakerStatus:
    from cluster.client import ApiClient

    try:
        async with ApiClient.from_kubeconfig(where.kubeconfig) as client:
            path = f"/api/v1/namespaces/{where.namespace}/pods"
            pods, _ = await client.list(path, _Pod, label_selector=SPEAKER_LABELS)
            return await _ask(client, where, _candidates(where, pods), service, tell)
    except ClusterError as error:
        raise SourceError(str(error)) from None


def _candidates(where: Where, pods: list[_Pod]) -> list[_Pod]:
    """The pods to ask, in this order: a hung or dead speaker is not ready after a while, but still listed as running."""
    running = [pod for pod in pods if pod.status.phase == "Running"]
    if where.node is not None:
        running = [pod for pod in running if pod.spec.node_name == where.node]
        if not running:
            raise SourceError(f"no running speaker on node {where.node} in namespace {where.namespace}")
    if not running:
        raise SourceError(f"no running speaker in namespace {where.namespace} (labels {SPEAKER_LABELS})")
    return sorted(running, key=lambda pod: (not pod.ready, pod.spec.node_name))


async def _ask(
    client: ApiClient, where: Where, pods: list[_Pod], service: str | None, tell: Callable[[str], None]
) -> SpeakerStatus:
    """The first speaker that answers in time."""
    import anyio

    params = {"service": service} if service else {}
    for pod in pods:
        name = f"speaker {pod.metadata.name} on {pod.spec.node_name}"
        path = f"/api/v1/namespaces/{where.namespace}/pods/{pod.metadata.name}:{where.port}/proxy/status"
        try:
            with anyio.fail_after(where.ask_s):
                return await client.get(path, SpeakerStatus, **params)
        except TimeoutError:
            tell(f"{name} does not answer: nothing within {where.ask_s:g} s")
        except ApiError as error:
            if error.status in _FORBIDDEN:
                # The API server would say the same of every other pod.
                raise
            tell(f"{name} does not answer: {error}")
        except ClusterError as error:
            tell(f"{name} does not answer: {error}")
    count = "the speaker" if len(pods) == 1 else f"none of {len(pods)} speakers"
    verb = "does not answer" if len(pods) == 1 else "answers"
    raise SourceError(f"{count} {verb} through the API server {client.shown}")
