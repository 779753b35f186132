"""The list-and-watch loop of one kind: a shell that performs what `watch.ListWatch` asks for."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Generic, Never, TypeVar, assert_never

import anyio
import anyio.lowlevel

from cluster.backoff import Backoff
from cluster.client import ApiClient
from cluster.errors import ApiError, ClusterError
from cluster.watch import (
    Change,
    CloseWatch,
    Deleted,
    ListWatch,
    ObjectSkipped,
    OpenWatch,
    Recovered,
    Request,
    RequestPage,
    Synced,
    Trouble,
    Upserted,
)
from cluster.wire import KubeObject

T = TypeVar("T", bound=KubeObject)

# A first list of thousands of objects must not hold the loop until the last handler has run.
_CHANGES_PER_TURN = 200


class Reflector(Generic[T]):
    """Keeps `store` equal to what the API server has, for ever, and tells a handler each true difference.

    `page_limit` is the number of objects asked for at once. `on_trouble` hears of failures, recoveries and
    objects passed over, as they happen; it is for logs.
    """

    def __init__(
        self,
        client: ApiClient,
        path: str,
        item: type[T],
        *,
        label_selector: str = "",
        field_selector: str = "",
        rng: random.Random,
        page_limit: int = 250,
        backoff: Backoff | None = None,
        on_trouble: Callable[[Trouble | Recovered | ObjectSkipped], None] | None = None,
    ) -> None:
        self.path = path
        self._client = client
        self._item = item
        self._selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        self._on_trouble = on_trouble
        self._core = ListWatch(item, rng=rng, backoff=backoff, limit=page_limit)
        self._handler: Callable[[Change[T]], None] = _ignore
        self._request: Request | None = None
        self._synced = False

    @property
    def synced(self) -> bool:
        """Whether the handler has been told of a full list at least once."""
        return self._synced

    @property
    def last_error(self) -> str | None:
        """Why the view may be stale: the last failure, None while the watch runs."""
        return self._core.last_error

    @property
    def store(self) -> Mapping[str, T]:
        """The objects known by `namespace/name`, a live read-only view.

        It may be ahead of what the handler has been told.
        """
        return self._core.store

    async def run(self, handler: Callable[[Change[T]], None]) -> Never:
        """Run until cancelled. `handler` is called in this task, in order, and must not block."""
        self._handler = handler
        self._core.start()
        while True:
            await self._drain()
            request, self._request = self._request, None
            match request:
                case RequestPage():
                    await self._fetch(request)
                case OpenWatch():
                    await self._watch(request)
                case CloseWatch() | None:
                    deadline = self._core.next_deadline()
                    assert deadline is not None, "a machine with nothing to ask waits for something"
                    await anyio.sleep(max(0.0, deadline - time.monotonic()))
                    self._core.handle_timer(time.monotonic())

    async def _drain(self) -> None:
        """Hand over the news and keep the last request among the outputs (a CloseWatch may precede another)."""
        for count, output in enumerate(self._core.take_outputs(), 1):
            match output:
                case RequestPage() | OpenWatch() | CloseWatch():
                    self._request = output
                case Synced() | Upserted() | Deleted():
                    self._handler(output)
                    self._synced = self._synced or isinstance(output, Synced)
                case Trouble() | Recovered() | ObjectSkipped():
                    if self._on_trouble is not None:
                        self._on_trouble(output)
                case _:
                    assert_never(output)
            if count % _CHANGES_PER_TURN == 0:
                await anyio.lowlevel.checkpoint()

    async def _fetch(self, request: RequestPage) -> None:
        try:
            page = await self._client.list_page(
                self.path,
                self._item,
                label_selector=self._selectors["labelSelector"],
                field_selector=self._selectors["fieldSelector"],
                limit=request.limit,
                continue_token=request.continue_token,
            )
        except ClusterError as error:
            self._failed(error)
        else:
            self._core.receive_page(page, time.monotonic())

    async def _watch(self, request: OpenWatch) -> None:
        params = {**{name: value for name, value in self._selectors.items() if value}, **request.params()}
        try:
            async with self._client.watch(self.path, params) as chunks:
                self._core.watch_opened(time.monotonic())
                await self._pump(chunks)
        except ClusterError as error:
            self._failed(error)

    async def _pump(self, chunks: AsyncIterator[bytes]) -> None:
        """Feed the open watch to the machine until it, the server or the deadline ends it."""
        while True:
            await self._drain()
            if self._request is not None:
                return
            deadline = self._core.next_deadline()
            assert deadline is not None, "an open watch has a deadline"
            chunk = None
            with anyio.move_on_after(deadline - time.monotonic()) as scope:
                chunk = await anext(chunks, b"")
            if scope.cancelled_caught:
                self._core.handle_timer(max(deadline, time.monotonic()))
            elif chunk:
                self._core.receive_data(chunk, time.monotonic())
            else:
                self._core.watch_ended(time.monotonic())
                return

    def _failed(self, error: ClusterError) -> None:
        expired, retry_after_s = False, 0.0
        if isinstance(error, ApiError):
            expired, retry_after_s = error.expired, error.retry_after_s or 0.0
        self._core.request_failed(error, time.monotonic(), expired=expired, retry_after_s=retry_after_s)


def _ignore(change: object) -> None:
    """The handler before `run`."""
