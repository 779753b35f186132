"""The ring's conversations over TCP: those that the node opens, and those that others begin.

What is said, to whom and for how long is decided in gossip.exchange; here it is carried.
"""

import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import anyio
from anyio.abc import SocketAttribute, SocketListener, SocketStream, TaskGroup

from gossip.address import Endpoint, display, packed
from gossip.node import SwimNode
from gossip.outputs import OpenStream

_CHUNK: Final = 65_536
_ACCEPT_PAUSE_S: Final = 0.1
_LINGER_S: Final = 1.0

T = TypeVar("T")


class Ask(Protocol):
    """How the node is reached from a task that does not own it."""

    def __call__(self, action: Callable[[SwimNode, float], T], /) -> Awaitable[T]:
        """Have the owner run something, with the node and the time now; what came of it."""
        ...


@dataclass(slots=True)
class _Link:
    """A stream's task: how to stop it, and what it shall still write."""

    scope: anyio.CancelScope
    reply: bytes | None = None


class Connections:
    """The connections of one node, each a task of its own, by the numbers that the node gives them.

    Args:
        tasks: where they run; they end with it.
        ask: how they reach the node.
        timeout_s: for writing a reply, seconds.
    """

    def __init__(self, tasks: TaskGroup, ask: Ask, timeout_s: float) -> None:
        self._tasks = tasks
        self._ask = ask
        self._timeout_s = timeout_s
        self._links: dict[int, _Link] = {}

    def open(self, output: OpenStream) -> None:
        """Connect, write, and hand over what comes."""
        link = self._links[output.stream] = _Link(anyio.CancelScope())
        self._tasks.start_soon(self._dial, output, link.scope)

    def write(self, stream: int, data: bytes) -> None:
        """Reply on a stream that another member began, if it is still there."""
        if stream in self._links:
            self._links[stream].reply = data

    def close(self, stream: int) -> None:
        """Give a stream up, if it is still there; the node hears no more of it."""
        if stream in self._links:
            self._links[stream].scope.cancel()

    async def serve(self, listener: SocketListener) -> None:
        """Take what others begin, until cancelled."""
        # Not listener.accept(): asyncio's raises out of its loop when it is cancelled just as somebody connects.
        waiting: socket.socket = listener.extra(SocketAttribute.raw_socket)  # noqa: S610 - anyio's
        while True:
            await anyio.wait_readable(waiting)
            try:
                connection, _ = waiting.accept()
            except BlockingIOError:
                continue
            except OSError:
                # Out of descriptors, or the peer was gone before it was accepted.
                await anyio.sleep(_ACCEPT_PAUSE_S)
                continue
            try:
                stream = await SocketStream.from_socket(connection)
            except BaseException:
                connection.close()
                raise
            self._tasks.start_soon(self._answer, stream)

    async def _dial(self, output: OpenStream, scope: anyio.CancelScope) -> None:
        number, error = output.stream, None
        with scope:
            try:
                async with await anyio.connect_tcp(output.to.host, output.to.port) as stream:
                    await stream.send(output.data)
                    while True:
                        await self._pass_on(number, await stream.receive(_CHUNK))
            except anyio.EndOfStream:
                pass
            except (OSError, ValueError, anyio.BrokenResourceError) as failure:
                error = why(failure)
        del self._links[number]
        if not scope.cancelled_caught:
            await self._ask(lambda node, now: node.stream_ended(number, error=error, now=now))

    async def _pass_on(self, number: int, data: bytes) -> None:
        await self._ask(lambda node, now: node.receive_stream(number, data, now=now))

    async def _answer(self, stream: SocketStream) -> None:
        async with stream:
            try:
                source = endpoint_of(stream.extra(SocketAttribute.raw_socket).getpeername())  # noqa: S610 - anyio's
            except OSError:
                return
            number = await self._ask(lambda node, now: node.accept_stream(source=source, now=now))
            if number is None:
                return
            with anyio.CancelScope() as scope:
                link = self._links[number] = _Link(scope)
                error = await self._converse(stream, number, link)
            del self._links[number]
            if not scope.cancelled_caught:
                await self._ask(lambda node, now: node.stream_ended(number, error=error, now=now))

    async def _converse(self, stream: SocketStream, number: int, link: _Link) -> str | None:
        """Hand over what comes until there is a reply to write; the reason if the stream broke."""
        try:
            while link.reply is None:
                await self._pass_on(number, await stream.receive(_CHUNK))
            with anyio.move_on_after(self._timeout_s):
                await stream.send(link.reply)
                await stream.send_eof()
            # Closing at once would throw away what the peer has not taken yet.
            with anyio.move_on_after(_LINGER_S):
                while True:
                    await stream.receive(_CHUNK)
        except anyio.EndOfStream:
            return None
        except (OSError, anyio.BrokenResourceError) as failure:
            return why(failure)
        return None


def endpoint_of(address: tuple[str, int] | tuple[str, int, int, int]) -> Endpoint:
    """A socket address; IPv4 seen through an IPv6 socket becomes IPv4."""
    host = address[0].partition("%")[0]
    return Endpoint(display(packed(host)) if host.startswith("::ffff:") else host, address[1])


def why(failure: BaseException) -> str:
    """A failure of a socket in the words of the system."""
    cause = failure.__cause__ or failure
    if isinstance(cause, OSError) and cause.errno and not isinstance(cause, socket.gaierror):
        return os.strerror(cause.errno)
    return str(cause) or type(cause).__name__
