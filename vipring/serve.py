"""What the resident processes serve over HTTP: /metrics, /healthz, /readyz and (speaker) /status."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import anyio
import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

KEPT_S: Final = 1.0
"""How long a built page is shown."""
MAX_KEPT: Final = 16
"""Pages kept at once; /status has one for each Service asked for."""
MAX_CONNECTIONS: Final = 64
IDLE_S: Final = 10.0
"""How long a connection may be open without a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """What a process shows. `ready` and `healthy` give None when all is well, else what is missing.

    `status` gets the query parameters and returns the body of /status as JSON.
    """

    registry: CollectorRegistry
    ready: Callable[[], str | None]
    healthy: Callable[[], str | None]
    status: Callable[[Mapping[str, str]], Awaitable[bytes]] | None = None


def application(pages: Pages) -> Starlette:
    """The ASGI application."""

    kept = Kept()

    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))

        async def build() -> bytes:
            return encode(pages.registry)

        return Response(await kept.get(content_type, build), headers={"content-type": content_type})

    def probe(check: Callable[[], str | None]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(_request: Request) -> Response:
            missing = check()
            return PlainTextResponse(f"{missing or 'ok'}\n", status_code=503 if missing else 200)

        return answer

    routes = [
        Route("/metrics", metrics),
        Route("/healthz", probe(pages.healthy)),
        Route("/readyz", probe(pages.ready)),
    ]
    if pages.status is not None:
        build = pages.status

        async def status(request: Request) -> Response:
            params = dict(request.query_params)
            body = await kept.get(f"status?{request.url.query}", partial(build, params))
            return Response(body, media_type="application/json")

        routes.append(Route("/status", status))
    return Starlette(routes=routes)


class Kept:
    """Bodies of pages, each built by one request at a time and kept for a moment: however many ask, the process that
    decides is not busy with answering."""

    def __init__(self, *, kept_s: float = KEPT_S) -> None:
        self._kept_s = kept_s
        self._lock = anyio.Lock()
        self._bodies: dict[str, tuple[float, bytes]] = {}

    async def get(self, page: str, build: Callable[[], Awaitable[bytes]]) -> bytes:
        """The body of a page, at most `kept_s` old when its building ended."""
        async with self._lock:
            until, body = self._bodies.get(page, (0.0, b""))
            if time.monotonic() >= until:
                body = await build()
                if len(self._bodies) >= MAX_KEPT:
                    self._bodies.clear()
                self._bodies[page] = time.monotonic() + self._kept_s, body
            return body


class _Connection(H11Protocol):
    """A connection that is closed when it has no request for IDLE_S, and the idlest first when there are too many.

    So neither idle nor slow clients can keep the kubelet's probes out.
    """

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._seen: object = None
        self._used = self.loop.time()
        self._check()
        if len(self.connections) > MAX_CONNECTIONS:
            idle = [other for other in self.connections if isinstance(other, _Connection) and not other.busy]
            if idle:
                min(idle, key=lambda other: other.used).give_up()

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    @property
    def used(self) -> float:
        """When it was opened, or last seen with another request."""
        return self._used

    def give_up(self) -> None:
        """Close it."""
        self.transport.close()

    def _check(self) -> None:
        if self.transport.is_closing():
            return
        now = self.loop.time()
        if self.busy or self.cycle is not self._seen:
            self._seen, self._used = self.cycle, now
        elif now - self._used >= IDLE_S:
            self.give_up()
            return
        self.loop.call_later(IDLE_S / 4, self._check)


class _Server(uvicorn.Server):
    """uvicorn inside an event loop that is not its own: signals belong to the process, which ends it by cancelling."""

    @override
    async def main_loop(self) -> None:
        # uvicorn's looks ten times a second whether it is to end.
        await anyio.sleep_forever()

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket; an empty host means all addresses of both families. Raises OSError."""
    if host:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=64)
    if socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):  # IPv6 can be compiled in and switched off
            return socket.create_server(("::", port), family=socket.AF_INET6, backlog=64, dualstack_ipv6=True)
    return socket.create_server(("", port), backlog=64)


async def serve(pages: Pages, listener: socket.socket) -> None:
    """Serve until cancelled."""
    config = uvicorn.Config(
        application(pages),
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        interface="asgi3",
        http=_Connection,
        loop="none",
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=int(IDLE_S),
    )
    await _Server(config).serve(sockets=[listener])
