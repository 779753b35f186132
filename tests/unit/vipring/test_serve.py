"""The pages of a resident process, over real HTTP on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import anyio
import anyio.lowlevel
import httpx2
import pytest
from prometheus_client import CollectorRegistry, Gauge

from vipring.serve import MAX_CONNECTIONS, Kept, Pages, listen, serve


@asynccontextmanager
async def served(pages: Pages, host: str = "127.0.0.1") -> AsyncIterator[httpx2.AsyncClient]:
    with listen(host, 0) as listener:
        port = listener.getsockname()[1]
        async with (
            anyio.create_task_group() as tasks,
            httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10) as client,
        ):
            tasks.start_soon(serve, pages, listener)
            yield client
            tasks.cancel_scope.cancel()


def pages(missing: str | None, *, with_status: bool = True) -> Pages:
    registry = CollectorRegistry()
    Gauge("vipring_test", "A value.", registry=registry).set(4)

    async def status(params: Mapping[str, str]) -> bytes:
        return repr(dict(params)).replace("'", '"').encode()

    return Pages(
        registry=registry,
        ready=lambda: missing,
        healthy=lambda: None,
        status=status if with_status else None,
    )


async def test_probes_say_what_is_missing() -> None:
    async with served(pages("waiting for the ring")) as client:
        ready, healthy = await client.get("/readyz"), await client.get("/healthz")
    assert (ready.status_code, ready.text) == (503, "waiting for the ring\n")
    assert (healthy.status_code, healthy.text) == (200, "ok\n")


async def test_status_gets_its_parameters_and_metrics_both_formats() -> None:
    async with served(pages(None)) as client:
        status = await client.get("/status", params={"service": "default/web"})
        plain = await client.get("/metrics")
        openmetrics = await client.get(
            "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
        )
    assert status.json() == {"service": "default/web"}
    assert status.headers["content-type"] == "application/json"
    assert "vipring_test 4.0" in plain.text
    assert plain.headers["content-type"].startswith("text/plain")
    assert openmetrics.headers["content-type"].startswith("application/openmetrics-text")
    assert openmetrics.text.endswith("# EOF\n")


async def test_all_addresses_and_other_paths() -> None:
    async with served(pages(None, with_status=False), host="") as client:
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.get("/status")).status_code == 404
        assert (await client.post("/metrics")).status_code == 405


async def test_probes_are_answered_however_many_connections_idle() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        async with anyio.create_task_group() as tasks, AsyncExitStack() as stack:
            tasks.start_soon(serve, pages(None), listener)
            for number in range(MAX_CONNECTIONS * 3):
                idle = await stack.enter_async_context(await anyio.connect_tcp("127.0.0.1", port))
                await idle.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n"[: number % 30])
            async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
                assert (await client.get("/healthz")).status_code == 200
            tasks.cancel_scope.cancel()


async def test_one_request_builds_the_page_for_all_that_wait() -> None:
    built = 0

    async def status(_params: Mapping[str, str]) -> bytes:
        nonlocal built
        built += 1
        await anyio.lowlevel.checkpoint()
        return b"{}"

    codes: list[int] = []
    async with served(replace(pages(None), status=status)) as client:

        async def get() -> None:
            codes.append((await client.get("/status")).status_code)

        async with anyio.create_task_group() as readers:
            for _ in range(40):
                readers.start_soon(get)
    assert codes == [200] * 40
    assert built <= 2, "one for all, unless the machine took over a second for them"


async def test_a_page_is_built_again_when_it_is_too_old_and_a_failure_is_not_kept() -> None:
    kept = Kept(kept_s=0.0)
    bodies = iter([b"first", b"second"])

    async def build() -> bytes:
        return next(bodies)

    async def fail() -> bytes:
        raise TimeoutError

    assert await kept.get("page", build) == b"first"
    with pytest.raises(TimeoutError):
        await kept.get("page", fail)
    assert await kept.get("page", build) == b"second"
