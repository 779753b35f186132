"""A small real HTTP server on loopback whose every answer a test writes."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, urlsplit

import anyio
import anyio.abc
import msgspec
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSListener


class Request(msgspec.Struct, frozen=True):
    """What came in."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


class Answer:
    """Writes one answer, as well or badly as the test wants."""

    def __init__(self, stream: anyio.abc.ByteStream) -> None:
        self.stream = stream

    async def json(self, value: object, status: int = 200, **headers: str) -> None:
        """A whole answer."""
        await self.body(msgspec.json.encode(value), status, **headers)

    async def body(self, data: bytes, status: int = 200, **headers: str) -> None:
        extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n{extra}\r\n"
        await self.stream.send(head.encode() + data)

    async def status(self, code: int, reason: str, message: str = "m", **headers: str) -> None:
        """A v1.Status."""
        value = {"kind": "Status", "code": code, "reason": reason, "message": message}
        await self.json(value, code, **headers)

    async def begin(self) -> None:
        """The head of a chunked answer."""
        await self.stream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")

    async def chunk(self, data: bytes) -> None:
        await self.stream.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def end(self) -> None:
        """The end of a chunked answer, in good order."""
        await self.stream.send(b"0\r\n\r\n")

    async def abort(self) -> None:
        """Cut the connection."""
        await self.stream.aclose()


Handler = Callable[[Request, Answer], Awaitable[None]]


class ScriptedServer:
    """Calls `handler` for each request, connections kept open; `requests` is what came."""

    def __init__(self, handler: Handler, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.requests: list[Request] = []
        self.handler = handler
        self.port = port
        self._tls = tls

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        tcp = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=self.port)
        self.port = tcp.extra(anyio.abc.SocketAttribute.local_port)
        self._listener = TLSListener(tcp, self._tls, standard_compatible=False) if self._tls else tcp
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._listener.serve, self._serve)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._tasks.cancel_scope.cancel()
        try:
            await self._tasks.__aexit__(kind, error, traceback)
        finally:
            await self._listener.aclose()

    async def _serve(self, stream: anyio.abc.ByteStream) -> None:
        reader = BufferedByteReceiveStream(stream)
        async with stream:
            while True:
                try:
                    head = (await reader.receive_until(b"\r\n\r\n", 65536)).decode()
                    first, *lines = head.split("\r\n")
                    method, target, _ = first.split(" ")
                    headers = {
                        name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
                    }
                    body = b""
                    if length := int(headers.get("content-length", "0")):
                        body = await reader.receive_exactly(length)
                    url = urlsplit(target)
                    request = Request(method, url.path, dict(parse_qsl(url.query)), headers, body)
                    self.requests.append(request)
                    await self.handler(request, Answer(stream))
                except (
                    anyio.EndOfStream,
                    anyio.IncompleteRead,
                    anyio.BrokenResourceError,
                    anyio.ClosedResourceError,
                ):
                    return


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for a condition. Raises TimeoutError."""
    with anyio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - the condition has no event to wait for
            await anyio.sleep(0.005)
