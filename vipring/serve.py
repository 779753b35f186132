"""What the resident processes serve over HTTP: /metrics, /healthz, /readyz and (speaker) /status."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass

import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from typing_extensions import override


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

    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(pages.registry), headers={"content-type": content_type})

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
            return Response(await build(dict(request.query_params)), media_type="application/json")

        routes.append(Route("/status", status))
    return Starlette(routes=routes)


class _Server(uvicorn.Server):
    """uvicorn inside an event loop that is not its own: signals belong to the process."""

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
        http="h11",
        loop="none",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=64,
        timeout_keep_alive=15,
    )
    await _Server(config).serve(sockets=[listener])
