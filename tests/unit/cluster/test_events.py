"""Posting Events to a real HTTP server on loopback."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import msgspec

from cluster.client import ApiClient
from cluster.credentials import Access
from cluster.events import EventRecorder, reference
from cluster.objects import ObjectMeta
from tests.unit.cluster.scripted import Answer, Handler, Request, ScriptedServer, until

WEB = reference("Service", ObjectMeta(name="web", namespace="d", uid="u", resource_version="7"))


@asynccontextmanager
async def recording(handler: Handler) -> AsyncIterator[tuple[EventRecorder, ScriptedServer]]:
    async with ScriptedServer(handler) as server, ApiClient(Access(server.url)) as client:
        recorder = EventRecorder(client, component="metallb-speaker", host="n1", rng=random.Random(1))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(recorder.run)
            yield recorder, server
            tasks.cancel_scope.cancel()


async def echo(request: Request, answer: Answer) -> None:
    await answer.body(request.body)


async def test_event_is_created_then_counted() -> None:
    async with recording(echo) as (recorder, server):
        recorder.event(WEB, "Normal", "nodeAssigned", 'announcing from node "n1"')
        await until(lambda: recorder.posted == 1)
        recorder.event(WEB, "Normal", "nodeAssigned", 'announcing from node "n1"')
        await recorder.flush(10)
        assert recorder.posted == 2
    create, patch = server.requests
    assert (create.method, create.path) == ("POST", "/api/v1/namespaces/d/events")
    body = msgspec.json.decode(create.body, type=dict[str, object])
    name = msgspec.convert(body["metadata"], dict[str, str])["name"]
    first = body["firstTimestamp"]
    assert body == {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": "d"},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Service",
            "name": "web",
            "namespace": "d",
            "uid": "u",
            "resourceVersion": "7",
        },
        "type": "Normal",
        "reason": "nodeAssigned",
        "message": 'announcing from node "n1"',
        "source": {"component": "metallb-speaker", "host": "n1"},
        "firstTimestamp": first,
        "lastTimestamp": first,
        "count": 1,
        "reportingComponent": "metallb-speaker",
        "reportingInstance": "n1",
    }
    assert (patch.method, patch.path) == ("PATCH", f"/api/v1/namespaces/d/events/{name}")
    assert patch.headers["content-type"] == "application/merge-patch+json"
    change = msgspec.json.decode(patch.body, type=dict[str, object])
    assert set(change) == {"count", "lastTimestamp"}
    assert change["count"] == 2


async def test_vanished_event_is_created_anew() -> None:
    async def handler(request: Request, answer: Answer) -> None:
        if request.method == "PATCH":
            await answer.status(404, "NotFound")
        else:
            await echo(request, answer)

    async with recording(handler) as (recorder, server):
        for _ in range(2):
            recorder.event(WEB, "Normal", "r", "m")
            await recorder.flush(10)
        assert [request.method for request in server.requests] == ["POST", "PATCH", "POST"]
        assert (recorder.posted, recorder.dropped) == (2, 0)


async def test_server_trouble_delays_but_loses_nothing() -> None:
    async def handler(request: Request, answer: Answer) -> None:
        if len(server.requests) <= 2:
            await answer.status(503, "ServiceUnavailable")
        else:
            await echo(request, answer)

    async with recording(handler) as (recorder, server):
        recorder.event(WEB, "Warning", "r", "m")
        await until(lambda: recorder.last_error is not None)
        recorder.event(WEB, "Warning", "r", "m")
        await until(lambda: recorder.posted >= 1)
        await recorder.flush(10)
        last = msgspec.json.decode(server.requests[-1].body, type=dict[str, object])
        assert last["count"] == 2
        assert recorder.last_error is None
        assert recorder.dropped == 0


async def test_forbidden_event_is_dropped() -> None:
    async def handler(request: Request, answer: Answer) -> None:
        await answer.status(403, "Forbidden")

    async with recording(handler) as (recorder, server):
        recorder.event(WEB, "Warning", "r", "m")
        await recorder.flush(10)
        assert recorder.dropped == 1
        assert len(server.requests) == 1


async def test_recording_never_blocks_without_a_server() -> None:
    async with ApiClient(Access("http://127.0.0.1:1")) as client:
        recorder = EventRecorder(client, component="c", rng=random.Random(1))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(recorder.run)
            for number in range(1000):
                recorder.event(reference("Service", ObjectMeta(name=f"s{number}")), "Normal", "r", "m")
            assert recorder.dropped == 1000 - 256
            await recorder.flush(0.05)
            tasks.cancel_scope.cancel()
        assert recorder.posted == 0
