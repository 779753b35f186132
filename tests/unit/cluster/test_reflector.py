"""The reflector against a real HTTP server on loopback that behaves as written here."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio

from cluster.backoff import Backoff
from cluster.client import ApiClient
from cluster.credentials import Access
from cluster.objects import Service
from cluster.reflector import Reflector
from cluster.watch import Change, Deleted, ObjectSkipped, Recovered, Synced, Trouble, Upserted
from tests.unit.cluster.scripted import Answer, Request, ScriptedServer, until
from tests.unit.cluster.support import bookmark, event, service, status

PATH = "/api/v1/services"
Step = Callable[[Request, Answer], Awaitable[None]]


class Api:
    """Lists from `objects`; each watch is the next of `watches`, the last one for ever."""

    def __init__(self, *watches: Step) -> None:
        self.objects: list[dict[str, object]] = [service("a", 1), service("b", 2)]
        self.version = 10
        self._watches = list(watches)

    async def __call__(self, request: Request, answer: Answer) -> None:
        if "watch" in request.query:
            await (self._watches.pop(0) if len(self._watches) > 1 else self._watches[0])(request, answer)
            return
        limit, start = int(request.query["limit"]), int(request.query.get("continue", "0"))
        more = str(start + limit) if start + limit < len(self.objects) else ""
        metadata = {"resourceVersion": str(self.version), "continue": more}
        await answer.json({"metadata": metadata, "items": self.objects[start : start + limit]})


def sending(*lines: bytes, then: str = "stay") -> Step:
    """A watch that sends lines and then stays open, ends in order, or breaks."""

    async def step(request: Request, answer: Answer) -> None:
        await answer.begin()
        for line in lines:
            await answer.chunk(line)
        if then == "stay":
            await answer.stream.receive()
        elif then == "end":
            await answer.end()
        else:
            await answer.abort()

    return step


def refusing(code: int, reason: str) -> Step:
    async def step(request: Request, answer: Answer) -> None:
        await answer.status(code, reason)

    return step


class Seen:
    """What the handler was told, as short text."""

    def __init__(self) -> None:
        self.changes: list[str] = []
        self.trouble: list[Trouble | Recovered | ObjectSkipped] = []

    def change(self, change: Change[Service]) -> None:
        match change:
            case Upserted(obj=obj):
                self.changes.append(f"+{obj.metadata.name}@{obj.metadata.resource_version}")
            case Deleted(obj=obj):
                self.changes.append(f"-{obj.metadata.name}")
            case Synced():
                self.changes.append("synced")


def reflector_of(client: ApiClient, seen: Seen, page_limit: int = 250) -> Reflector[Service]:
    rng = random.Random(1)
    return Reflector(
        client,
        PATH,
        Service,
        label_selector="app=x",
        rng=rng,
        page_limit=page_limit,
        backoff=Backoff(rng, first_s=0.001, cap_s=0.01),
        on_trouble=seen.trouble.append,
    )


@asynccontextmanager
async def reflected(
    api: Api, page_limit: int = 250
) -> AsyncIterator[tuple[Reflector[Service], Seen, ScriptedServer]]:
    seen = Seen()
    async with ScriptedServer(api) as server, ApiClient(Access(server.url)) as client:
        reflector = reflector_of(client, seen, page_limit)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reflector.run, seen.change)
            yield reflector, seen, server
            tasks.cancel_scope.cancel()


def watches(server: ScriptedServer) -> list[str]:
    return [request.query["resourceVersion"] for request in server.requests if "watch" in request.query]


def lists(server: ScriptedServer) -> int:
    return sum(
        "watch" not in request.query and "continue" not in request.query for request in server.requests
    )


async def test_pages_then_events() -> None:
    api = Api(sending(event("ADDED", service("c", 11)), event("DELETED", service("a", 12))))
    async with reflected(api, page_limit=1) as (reflector, seen, server):
        await until(lambda: len(seen.changes) == 5)
        assert seen.changes == ["+a@1", "+b@2", "synced", "+c@11", "-a"]
        assert reflector.synced
        assert reflector.last_error is None
        assert set(reflector.store) == {"d/b", "d/c"}
        query = server.requests[-1].query
        assert (query["resourceVersion"], query["allowWatchBookmarks"], query["labelSelector"]) == (
            "10",
            "true",
            "app=x",
        )
        assert 240 <= int(query["timeoutSeconds"]) <= 320


async def test_server_that_closes_is_followed_without_repeats() -> None:
    api = Api(
        sending(event("MODIFIED", service("a", 11)), then="end"),
        sending(bookmark(15), then="end"),
        sending(event("ADDED", service("c", 16)), then="break"),
        sending(event("ADDED", service("c", 16)), event("MODIFIED", service("a", 17))),
    )
    async with reflected(api) as (_, seen, server):
        await until(lambda: "+a@17" in seen.changes)
        assert seen.changes == ["+a@1", "+b@2", "synced", "+a@11", "+c@16", "+a@17"]
        assert watches(server) == ["10", "11", "15", "16"]
        assert lists(server) == 1


async def test_gone_as_event_and_as_status() -> None:
    async def change_and_refuse(request: Request, answer: Answer) -> None:
        api.objects, api.version = [service("b", 2), service("c", 20)], 20
        await sending(status(410, "Expired"))(request, answer)

    api = Api(change_and_refuse, refusing(410, "Expired"), sending(event("MODIFIED", service("b", 21))))
    async with reflected(api) as (_, seen, server):
        await until(lambda: "+b@21" in seen.changes)
        assert seen.changes == ["+a@1", "+b@2", "synced", "-a", "+c@20", "+b@21"]
        assert watches(server) == ["10", "20", "20"]
        assert lists(server) == 3


async def test_failing_server_is_reported_and_survived() -> None:
    api = Api(refusing(500, "InternalError"), sending(b"<html>\n"), sending(event("ADDED", service("c", 11))))
    async with reflected(api) as (reflector, seen, server):
        await until(lambda: "+c@11" in seen.changes)
        assert reflector.last_error is None
        troubles = [item.error for item in seen.trouble if isinstance(item, Trouble)]
        assert "500 InternalError" in troubles[0]
        assert "Invalid JSON" in troubles[1] or "JSON is malformed" in troubles[1]
        assert isinstance(seen.trouble[-1], Recovered)
        assert lists(server) == 1


async def test_restarted_server_is_found_again() -> None:
    before, after, seen = Api(sending()), Api(refusing(410, "Expired"), sending()), Seen()
    after.objects, after.version = [service("a", 31)], 31
    reflectors: list[Reflector[Service]] = []

    async def follow(url: str) -> None:
        async with ApiClient(Access(url)) as client:
            reflectors.append(reflector_of(client, seen))
            await reflectors[0].run(seen.change)

    async with anyio.create_task_group() as tasks:
        async with ScriptedServer(before) as first:
            tasks.start_soon(follow, first.url)
            await until(lambda: bool(watches(first)))
            (reflector,) = reflectors
        await until(lambda: reflector.last_error is not None)
        assert set(reflector.store) == {"d/a", "d/b"}, "what was known stays"
        async with ScriptedServer(after, port=first.port) as second:
            await until(lambda: len(watches(second)) == 2 and reflector.last_error is None)
            tasks.cancel_scope.cancel()
    assert seen.changes == ["+a@1", "+b@2", "synced", "-b", "+a@31"]


async def test_large_first_list_lets_other_tasks_run() -> None:
    api = Api(sending())
    api.objects = [service(f"s{number}", number + 1) for number in range(2000)]
    turns: list[int] = []

    async def count(seen: Seen) -> None:
        while True:
            turns.append(len(seen.changes))
            await anyio.lowlevel.checkpoint()

    async with reflected(api) as (reflector, seen, _), anyio.create_task_group() as tasks:
        tasks.start_soon(count, seen)
        await until(lambda: reflector.synced and len(seen.changes) == 2001)
        tasks.cancel_scope.cancel()
    between = {length for length in turns if 0 < length < 2001}
    assert len(between) >= 5, "the first list is handed over in pieces"
