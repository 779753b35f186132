"""The client against a real HTTP server on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec
import pytest

from cluster.client import ApiClient
from cluster.credentials import Access, StaticToken, TokenFile, TokenSource
from cluster.errors import ApiError, BadResponseError, ClusterError, UnreachableError
from cluster.objects import ConfigMap, Service
from tests.unit.cluster.scripted import Answer, Handler, Request, ScriptedServer
from tests.unit.cluster.support import service

SERVICES = "/api/v1/services"


@asynccontextmanager
async def served(
    handler: Handler, token: TokenSource | None = None, timeout_s: float = 30.0
) -> AsyncIterator[tuple[ApiClient, ScriptedServer]]:
    async with ScriptedServer(handler) as server:
        access = Access(server.url, "metallb-system", token=token)
        async with ApiClient(access, request_timeout_s=timeout_s) as client:
            yield client, server


def answering(*answers: tuple[int, object]) -> Handler:
    """The given answers, one a request; the last one for ever."""
    left = list(answers)

    async def handler(request: Request, answer: Answer) -> None:
        status, value = left.pop(0) if len(left) > 1 else left[0]
        await answer.json(value, status)

    return handler


async def test_get_decodes_only_the_fields_in_use() -> None:
    value = service("web", 3) | {"kind": "Service", "unknown": {"deep": [1, 2]}}
    async with served(answering((200, value)), StaticToken("t0ken", "test")) as (client, server):
        found = await client.get("/api/v1/namespaces/d/services/web", Service, pretty="false")
        assert found.metadata.key == "d/web"
        assert client.namespace == "metallb-system"
    (request,) = server.requests
    assert request.method == "GET"
    assert request.query == {"pretty": "false"}
    assert request.headers["authorization"] == "Bearer t0ken"
    assert request.headers["accept-encoding"] == "identity"


async def test_list_reads_page_by_page() -> None:
    async def handler(request: Request, answer: Answer) -> None:
        number = int(request.query.get("continue", "0"))
        metadata = {"resourceVersion": "7", "continue": str(number + 1) if number < 2 else ""}
        await answer.json({"metadata": metadata, "items": [service(f"s{number}", number)]})

    async with served(handler) as (client, server):
        items, version = await client.list(
            SERVICES, Service, label_selector="a=b", field_selector="x=y", limit=1
        )
    assert [item.metadata.name for item in items] == ["s0", "s1", "s2"]
    assert version == "7"
    assert [request.query.get("continue") for request in server.requests] == [None, "1", "2"]
    assert all(
        (r.query["limit"], r.query["labelSelector"], r.query["fieldSelector"]) == ("1", "a=b", "x=y")
        for r in server.requests
    )


async def test_list_starts_over_once_when_the_continue_token_expires() -> None:
    first = {"metadata": {"continue": "t"}, "items": [service("a", 1)]}
    gone = {"kind": "Status", "reason": "Expired", "message": "too old", "code": 410}
    whole = {"metadata": {"resourceVersion": "9"}, "items": [service("b", 2)]}
    async with served(answering((200, first), (410, gone), (200, whole))) as (client, _):
        items, version = await client.list(SERVICES, Service)
        assert ([item.metadata.name for item in items], version) == (["b"], "9")
    async with served(answering((200, first), (410, gone), (200, first), (410, gone))) as (client, _):
        with pytest.raises(ApiError, match="410 Expired: too old"):
            await client.list(SERVICES, Service)


async def test_null_items_is_an_empty_list() -> None:
    async with served(answering((200, {"metadata": {"resourceVersion": "1"}, "items": None}))) as (client, _):
        assert await client.list(SERVICES, Service) == ([], "1")


async def test_writes_send_what_they_say() -> None:
    async with served(answering((200, {"metadata": {"name": "c"}}))) as (client, server):
        body = ConfigMap(data={"config": "x"})
        created = await client.create("/c", body, ConfigMap, fieldManager="vipring")
        assert created.metadata.name == "c"
        await client.replace("/c/1", {"a": 1}, ConfigMap)
        await client.patch("/c/1", {"b": None}, ConfigMap)
        await client.patch("/c/1", [], ConfigMap, "application/json-patch+json")
        await client.delete("/c/1")
        assert await client.raw("GET", "/version") == b'{"metadata":{"name":"c"}}'
    sent = [(r.method, r.path, r.headers.get("content-type"), r.body) for r in server.requests]
    assert sent == [
        ("POST", "/c", "application/json", b'{"data":{"config":"x"}}'),
        ("PUT", "/c/1", "application/json", b'{"a":1}'),
        ("PATCH", "/c/1", "application/merge-patch+json", b'{"b":null}'),
        ("PATCH", "/c/1", "application/json-patch+json", b"[]"),
        ("DELETE", "/c/1", None, b""),
        ("GET", "/version", None, b""),
    ]
    assert server.requests[0].query == {"fieldManager": "vipring"}


@pytest.mark.parametrize(
    ("code", "reason", "check"),
    [(404, "NotFound", "not_found"), (409, "Conflict", "conflict"), (410, "Expired", "expired"), (503, "", "transient")],
)  # fmt: skip
async def test_refusals_are_typed(code: int, reason: str, check: str) -> None:
    async def handler(request: Request, answer: Answer) -> None:
        await answer.status(code, reason, "the\nmessage", Retry_After="12")

    async with served(handler) as (client, _):
        with pytest.raises(ApiError) as caught:
            await client.get(SERVICES, Service)
    error = caught.value
    assert (error.status, error.reason, error.message, error.retry_after_s) == (
        code,
        reason,
        "the message",
        12.0,
    )
    checks = ("not_found", "conflict", "expired", "transient")
    assert [name for name in checks if getattr(error, name)] == [check]


async def test_refusal_with_a_foreign_body_keeps_its_beginning() -> None:
    async def handler(request: Request, answer: Answer) -> None:
        await answer.body(b"<html>\n" + b"x" * 10_000, 502)

    async with served(handler) as (client, _):
        with pytest.raises(ApiError) as caught:
            await client.get(SERVICES, Service)
    assert caught.value.message.startswith("<html> xxx")
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "data", [b"", b"<html>", b"[]", b'{"items": 3}', b"\xff", b"[" * 100_000, b'{"a":' * 100_000]
)
async def test_garbage_is_an_error_of_the_family(data: bytes) -> None:
    async def handler(request: Request, answer: Answer) -> None:
        await answer.body(data)

    async with served(handler) as (client, _):
        with pytest.raises(BadResponseError):
            await client.list(SERVICES, Service)


async def test_redirects_are_not_followed() -> None:
    async def handler(request: Request, answer: Answer) -> None:
        await answer.body(b"", 302, Location="http://198.18.0.1/")

    async with served(handler) as (client, server):
        with pytest.raises(ApiError):
            await client.get(SERVICES, Service)
        assert len(server.requests) == 1


async def test_nobody_listening() -> None:
    async with ScriptedServer(answering((200, {}))) as server:
        url = server.url
    for given in (url, url.replace("//", "//me:secret@")):
        async with ApiClient(Access(given)) as client:
            with pytest.raises(UnreachableError, match=f"^GET {url}/x: ConnectError"):
                await client.get("/x", Service)
            with pytest.raises(UnreachableError, match=f"^GET {url}/y: ConnectError"):
                async with client.watch("/y", {}):
                    pytest.fail("opened")


async def test_server_that_never_answers() -> None:
    async def handler(request: Request, answer: Answer) -> None:
        await anyio.sleep_forever()

    async with served(handler, timeout_s=0.05) as (client, server):
        with pytest.raises(UnreachableError, match=f"GET {server.url}/x: ReadTimeout"):
            await client.get("/x", Service)
        with pytest.raises(UnreachableError, match=f"watch {server.url}/x: no answer within"):
            async with client.watch("/x", {}):
                pytest.fail("opened")


async def test_server_that_trickles_for_ever() -> None:
    async def handler(request: Request, answer: Answer) -> None:
        await answer.begin()
        while True:
            await answer.chunk(b" ")
            await anyio.sleep(0.01)

    async with served(handler, timeout_s=0.2) as (client, _):
        with pytest.raises(UnreachableError, match=r"no complete answer within 0\.4 s"):
            await client.get("/x", Service)


async def test_server_that_hangs_up_midway() -> None:
    async def handler(request: Request, answer: Answer) -> None:
        await answer.stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        await answer.abort()

    async with served(handler) as (client, _):
        with pytest.raises(UnreachableError, match="RemoteProtocolError"):
            await client.get("/x", Service)


async def test_watch_gives_chunks_until_the_end() -> None:
    async def handler(request: Request, answer: Answer) -> None:
        await answer.begin()
        for data in (b"one\ntw", b"o\n"):
            await answer.chunk(data)
        await answer.end()

    async with (
        served(handler) as (client, server),
        client.watch(SERVICES, {"resourceVersion": "5"}) as chunks,
    ):
        assert b"".join([chunk async for chunk in chunks]) == b"one\ntwo\n"
    assert server.requests[0].query == {"resourceVersion": "5", "watch": "true"}


async def test_watch_refused() -> None:
    async with served(answering((410, {"reason": "Expired", "message": "old"}))) as (client, _):
        with pytest.raises(ApiError, match="410 Expired: old"):
            async with client.watch(SERVICES, {}):
                pytest.fail("opened")


async def test_token_is_read_again_when_the_file_changes(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one\n")
    async with served(answering((200, {})), TokenFile(file)) as (client, server):
        await client.get("/x", Service)
        file.write_text("second")
        await client.get("/x", Service)
        file.unlink()
        await client.get("/x", Service)
    assert [request.headers["authorization"] for request in server.requests] == [
        "Bearer one",
        "Bearer second",
        "Bearer second",
    ]


class Renewing:
    """A token source that has a better token only after it was told that the server refused."""

    def __init__(self, *tokens: str) -> None:
        self._tokens = list(tokens)

    def current(self) -> str:
        return self._tokens[0]

    def refresh(self) -> bool:
        if len(self._tokens) == 1:
            return False
        self._tokens.pop(0)
        return True


async def test_refused_token_is_renewed_and_the_request_sent_once_more() -> None:
    async def handler(request: Request, answer: Answer) -> None:
        if request.headers["authorization"] == "Bearer good":
            await answer.json({"metadata": {"name": "x"}})
        else:
            await answer.status(401, "Unauthorized")

    async with served(handler, Renewing("old", "good")) as (client, server):
        assert (await client.get("/x", Service)).metadata.name == "x"
        assert len(server.requests) == 2
    async with served(handler, Renewing("old")) as (client, server):
        with pytest.raises(ApiError, match="401 Unauthorized"):
            await client.get("/x", Service)
        assert len(server.requests) == 1
    async with served(handler, Renewing("old", "older", "good")) as (client, server):
        with pytest.raises(ApiError, match="401 Unauthorized"):
            await client.get("/x", Service)
        assert len(server.requests) == 2


async def test_every_error_is_of_the_family(tmp_path: Path) -> None:
    async with served(answering((200, {})), TokenFile(tmp_path / "absent")) as (client, _):
        with pytest.raises(ClusterError, match=r"absent: cannot be read: No such file"):
            await client.get("/x", Service)


async def test_cancelled_watch_closes_its_connection() -> None:
    closed = anyio.Event()

    async def handler(request: Request, answer: Answer) -> None:
        await answer.begin()
        try:
            await answer.stream.receive()
        except anyio.EndOfStream:
            closed.set()

    async with served(handler) as (client, _):
        with anyio.move_on_after(0.05):
            async with client.watch("/x", {}) as chunks:
                async for _chunk in chunks:
                    pytest.fail("nothing is sent")
        with anyio.fail_after(10):
            await closed.wait()


async def test_raw_json_stays_whole() -> None:
    value = {"metadata": {"name": "x"}, "spec": {"unknown": [1, {"deep": None}]}}
    async with served(answering((200, value))) as (client, _):
        assert msgspec.json.decode(await client.raw("GET", "/x")) == value
