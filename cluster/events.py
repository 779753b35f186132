"""Posting v1 Events without ever holding up the caller: a shell around `aggregation.EventQueue`."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from typing import Never

import anyio
import msgspec

from cluster.aggregation import Create, EventQueue, EventSource, ObjectReference, Patch, reference
from cluster.backoff import Backoff
from cluster.client import ApiClient
from cluster.errors import ApiError, ClusterError

__all__ = ["EventRecorder", "ObjectReference", "reference"]


class EventRecorder:
    """Records what happened to objects; `run` posts it, as long as it runs.

    `event` never blocks and never raises: while the API server is away, occurrences wait up to a bound and are
    counted in `dropped` beyond it. `host` is the node of this process, empty where that says nothing.
    """

    def __init__(self, client: ApiClient, *, component: str, host: str = "", rng: random.Random) -> None:
        self.posted = 0
        self.last_error: str | None = None
        self._client = client
        self._backoff = Backoff(rng)
        self._queue = EventQueue(EventSource(component, host), rng=rng, now=time.monotonic())
        self._news = anyio.Event()
        self._empty = anyio.Event()

    @property
    def dropped(self) -> int:
        """Occurrences that were not posted: too many, or refused by the server."""
        return self._queue.dropped

    def event(self, ref: ObjectReference, event_type: str, reason: str, message: str) -> bool:
        """Record an occurrence; `event_type` is Normal or Warning. False where it is dropped at once."""
        wall = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        kept = self._queue.add(ref, event_type, reason, message, wall=wall, now=time.monotonic())
        if self._queue:
            self._empty = anyio.Event() if self._empty.is_set() else self._empty
            self._news.set()
        return kept

    async def run(self) -> Never:
        """Post what is recorded, until cancelled."""
        while True:
            post = self._queue.take(time.monotonic())
            if post is not None:
                await self._post(post)
            elif self._queue:
                await anyio.sleep(self._queue.ready_in())
            else:
                self._empty.set()
                self._news = anyio.Event()
                await self._news.wait()

    async def flush(self, timeout_s: float) -> None:
        """Wait until all is posted or the time is over; `run` must be running."""
        with anyio.move_on_after(timeout_s):
            while self._queue:
                await self._empty.wait()

    async def _post(self, post: Create | Patch) -> None:
        try:
            if isinstance(post, Create):
                namespace = post.event.metadata.namespace
                await self._client.create(f"/api/v1/namespaces/{namespace}/events", post.event, msgspec.Raw)
            else:
                path = f"/api/v1/namespaces/{post.namespace}/events/{post.name}"
                await self._client.patch(path, post.repeat, msgspec.Raw)
        except ClusterError as error:
            self.last_error = str(error)
            if isinstance(error, ApiError) and not error.transient and error.status != 401:
                self._queue.refused(post)
            else:
                await anyio.sleep(self._backoff.next_delay())
        else:
            self.last_error = None
            self.posted += 1
            self._backoff.reset()
            self._queue.done(post, time.monotonic())
