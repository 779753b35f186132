"""The pages of a resident process, over real HTTP on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import anyio
import httpx2
from prometheus_client import CollectorRegistry, Gauge

from vipring.serve import Pages, listen, serve


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
