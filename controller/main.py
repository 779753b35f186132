"""The controller process: watches feed the reconciler, one loop takes its steps, a few workers write statuses.

    API server -> Reflectors -> Reconciler -> decision loop -> logs, events, queue of keys -> writers -> API server

Everything runs in one thread and nothing of the reconciler is awaited, so there are no locks. What a writer writes is
asked of the reconciler at the last moment: a key in the queue is a hint, never a value.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final, Never

import anyio
import anyio.lowlevel
import msgspec
import structlog
from prometheus_client import CollectorRegistry

from cluster.client import ApiClient
from cluster.errors import ApiError, ClusterError, UnreachableError
from cluster.events import EventRecorder, reference
from cluster.objects import ConfigMap, Service
from cluster.reflector import Reflector
from cluster.status import write_ingress
from cluster.watch import Change, Deleted, ObjectSkipped, Recovered, Synced, Trouble, Upserted
from controller.metrics import Counts, registry
from controller.options import ControllerOptions
from controller.reconcile import Reconciler, Step
from controller.service import LogFact
from controller.status import controller_status
from controller.workqueue import WorkQueue

__all__ = ["Controller", "ControllerOptions", "run"]

log = structlog.get_logger()

WRITERS: Final = 4
"""Statuses written at the same time; each takes a GET and a PUT."""
STEPS_A_TURN: Final = 100
"""Services looked at between two turns of the other tasks."""
STUCK_S: Final = 10.0
"""A decision loop with work that takes no step for so long is stuck."""

_WARNINGS = {"configStale", "noConfig"}
_SERVER_WIDE = {401, 429, 503, 504}
"""HTTP statuses that say something of the server, not of the object."""


class Controller:
    """A controller from start to SIGTERM. `run` it once; `stop` makes `run` return."""

    def __init__(self, options: ControllerOptions, *, rng: random.Random | None = None) -> None:
        self._options = options
        self._rng = rng or random.Random()  # noqa: S311  (jitter)
        self._core = Reconciler()
        self._counts = Counts()
        self._writes = WorkQueue(self._rng)
        self._news = anyio.Event()
        self._write_news = anyio.Event()
        self._stop = anyio.Event()
        self._last_step = time.monotonic()
        self._api_errors: dict[str, str] = {}

    # For vipring/serve.py

    def registry(self) -> CollectorRegistry:
        """The metrics of this process."""
        return registry(self._core, self._counts)

    def ready(self) -> str | None:
        """None once services and configuration were read from the API, else what is missing."""
        if not self._core.services_synced:
            return f"services are not listed yet: {self._api_errors.get('services', 'waiting for the API server')}"
        if not self._core.config_seen:
            return f"the ConfigMap is not read yet: {self._api_errors.get('configmaps', 'waiting for the API server')}"
        return None

    def healthy(self) -> str | None:
        """None while the decision loop turns."""
        idle_s = time.monotonic() - self._last_step
        return f"no step for {idle_s:.0f} s" if self._core.busy and idle_s > STUCK_S else None

    async def status(self, _params: Mapping[str, str]) -> bytes:
        """The body of /status."""
        return msgspec.json.encode(
            controller_status(
                self._core,
                version=self._options.version,
                ready=self.ready() is None,
                waiting_writes=len(self._writes),
                api_errors=dict(self._api_errors),
            )
        )

    # Life

    def stop(self) -> None:
        """End `run`. Nothing is lost: what was not written is found again at the next start."""
        self._stop.set()

    async def run(self) -> None:
        """Run until `stop`. Raises ClusterError for credentials that cannot be used, and nothing for a server away."""
        async with self._client() as client, anyio.create_task_group() as tasks:
            events = EventRecorder(client, component="metallb-controller", rng=self._rng)
            tasks.start_soon(events.run)
            tasks.start_soon(self._watch_services, client)
            tasks.start_soon(self._watch_config, client)
            tasks.start_soon(self._decide, events)
            for _ in range(WRITERS):
                tasks.start_soon(self._write, client)
            await self._stop.wait()
            tasks.cancel_scope.cancel()

    def _client(self) -> ApiClient:
        if self._options.kubeconfig is not None:
            return ApiClient.from_kubeconfig(self._options.kubeconfig)
        return ApiClient.from_env()

    # What Kubernetes says

    async def _watch_services(self, client: ApiClient) -> Never:
        reflector = Reflector(
            client,
            "/api/v1/services",
            Service,
            rng=self._rng,
            on_trouble=partial(self._trouble, "services"),
        )
        await reflector.run(self._service)

    async def _watch_config(self, client: ApiClient) -> Never:
        namespace = self._options.namespace or client.namespace
        reflector = Reflector(
            client,
            f"/api/v1/namespaces/{namespace}/configmaps",
            ConfigMap,
            field_selector=f"metadata.name={self._options.config_name}",
            rng=self._rng,
            on_trouble=partial(self._trouble, "configmaps"),
        )
        await reflector.run(self._config_map)

    def _service(self, change: Change[Service]) -> None:
        match change:
            case Upserted():
                self._counts.updates += 1
                self._tell(self._core.set_service(change.obj))
            case Deleted():
                self._counts.updates += 1
                self._tell(self._core.remove_service(change.obj.metadata.key))
            case Synced():
                self._tell(self._core.set_synced())
        self._news.set()

    def _config_map(self, change: Change[ConfigMap]) -> None:
        match change:
            case Upserted():
                self._counts.updates += 1
                self._tell(self._core.set_config(change.obj))
            case Deleted():
                self._counts.updates += 1
                self._tell(self._core.set_config(None))
            case Synced():
                if not self._core.config_seen:
                    self._tell(self._core.set_config(None))
        self._news.set()

    def _trouble(self, kind: str, trouble: Trouble | Recovered | ObjectSkipped) -> None:
        match trouble:
            case Trouble():
                if kind not in self._api_errors:
                    log.warning("apiTrouble", kind=kind, error=trouble.error)
                self._api_errors[kind] = trouble.error
            case Recovered():
                if self._api_errors.pop(kind, None) is not None:
                    log.info("apiRecovered", kind=kind)
            case ObjectSkipped():
                self._counts.update_errors += 1
                log.warning("objectSkipped", kind=kind, error=trouble.error)

    # What is done about it

    async def _decide(self, events: EventRecorder) -> Never:
        """Take every step there is, then wait for news."""
        while True:
            for _ in range(STEPS_A_TURN):
                self._last_step = time.monotonic()
                step = self._core.step()
                if step is None:
                    await self._news.wait()
                    self._news = anyio.Event()
                    break
                self._perform(step, events)
            await anyio.lowlevel.checkpoint()

    def _perform(self, step: Step, events: EventRecorder) -> None:
        self._tell(step.facts)
        for event in step.events:
            ref = reference("Service", step.service.metadata)
            events.event(ref, event.type, event.reason, event.message)
        if step.write:
            self._writes.add(step.service.metadata.key)
            self._write_news.set()

    def _tell(self, facts: Iterable[LogFact]) -> None:
        for fact in facts:
            if fact.op:
                log.error(fact.name, op=fact.op, **fact.fields)
            elif fact.name in _WARNINGS:
                log.warning(fact.name, configmap=self._options.config_name, **fact.fields)
            else:
                log.info(fact.name, **fact.fields)

    async def _write(self, client: ApiClient) -> Never:
        """One worker: write statuses, each until it is written or no longer wanted."""
        while True:
            key = self._writes.take(time.monotonic())
            if key is None:
                await self._wait_for_writes()
                continue
            wanted = self._core.wanted(key)
            try:
                if wanted is not None:
                    service, ingress = wanted
                    if await write_ingress(client, key, ingress, uid=service.metadata.uid) is not None:
                        self._counts.status_writes += 1
                        self._tell(self._core.written(key, ingress))
                        self._news.set()
            except ClusterError as error:
                self._write_failed(key, error)
            else:
                self._writes.done(key)

    async def _wait_for_writes(self) -> None:
        deadline = self._writes.next_deadline()
        news = self._write_news
        with anyio.move_on_after(None if deadline is None else max(0.0, deadline - time.monotonic())):
            await news.wait()
        if news is self._write_news and news.is_set():
            self._write_news = anyio.Event()

    def _write_failed(self, key: str, error: ClusterError) -> None:
        """Try again later; a server that does not answer, or is overloaded, is left alone for a while.

        Any other failure, a 500 too, may come from this one service (an admission webhook answers so).
        """
        everything = isinstance(error, UnreachableError) or (
            isinstance(error, ApiError) and error.status in _SERVER_WIDE
        )
        retry_after_s = error.retry_after_s or 0.0 if isinstance(error, ApiError) else 0.0
        delay_s = self._writes.failed(
            key, time.monotonic(), everything=everything, retry_after_s=retry_after_s
        )
        self._counts.update_errors += 1
        self._write_news.set()
        log.error(
            "status not written",
            op="updateServiceStatus",
            service=key,
            error=str(error),
            retry_s=round(delay_s, 2),
        )


async def run(options: ControllerOptions) -> None:
    """Run a controller until it is cancelled. Raises ClusterError for credentials that cannot be used."""
    await Controller(options).run()
