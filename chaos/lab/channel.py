"""What the lab's processes say to each other over pipes: one JSON object a line.

Handle and engine, engine and node agents use the same three messages; requests are answered in any order.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal

import anyio
import msgspec

from chaos.lab.errors import LabError

Op = Literal["power_off", "power_on", "kill", "kill_children", "throttle", "disconnect", "connect"]


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    """Do something: `what` is a container name or a network, `signal` a signal number. A container is throttled for
    `seconds`, in which it stands still for `stop_s` and runs for `run_s` in turn."""

    id: int
    op: Op
    node: str = ""
    what: str = ""
    signal: int = 0
    seconds: float = 0.0
    stop_s: float = 0.0
    run_s: float = 0.0


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """The end of a request: `at` is when the thing happened (CLOCK_MONOTONIC, seconds), `error` why it did not.

    With id 0 it is word from the other side by itself: `event` "pid" (of the engine, as the host sees it),
    "say" with a progress `text`, "ready", or "failed".
    """

    id: int = 0
    at: float = 0.0
    pid: int = 0
    error: str = ""
    event: Literal["", "pid", "say", "ready", "failed"] = ""
    text: str = ""


_LIMIT = 1 << 20


async def lines(fd: int) -> AsyncIterator[bytes]:
    """Lines of a pipe until its end. The descriptor is made non-blocking."""
    os.set_blocking(fd, False)
    buffer = b""
    while len(buffer) < _LIMIT:
        await anyio.wait_readable(fd)
        try:
            piece = os.read(fd, 65536)
        except BlockingIOError:
            continue
        if not piece:
            return
        *whole, buffer = (buffer + piece).split(b"\n")
        for line in whole:
            yield line
    raise LabError("a line of the lab's control channel is too long")


def write(fd: int, message: Request | Reply) -> None:
    """Write one message. Messages are far smaller than a pipe, so that this does not block."""
    os.write(fd, msgspec.json.encode(message) + b"\n")


async def serve(source: int, sink: int, perform: Callable[[Request], Awaitable[Reply]]) -> None:
    """Perform requests as they come, each in a task of its own, until the other side has gone."""

    async def one(request: Request) -> None:
        try:
            reply = await perform(request)
        except (LabError, OSError) as error:
            reply = Reply(error=str(error))
        write(sink, msgspec.structs.replace(reply, id=request.id))

    async with anyio.create_task_group() as tasks:
        async for line in lines(source):
            tasks.start_soon(one, msgspec.json.decode(line, type=Request))
        tasks.cancel_scope.cancel()


class Peer:
    """The asking side of a channel. Run `listen` in a task; it ends when the other side has gone."""

    def __init__(self, source: int, sink: int, on_event: Callable[[Reply], None]) -> None:
        self._source = source
        self._sink = sink
        self._on_event = on_event
        self._next = 1
        self._open: dict[int, tuple[anyio.Event, list[Reply]]] = {}
        self._gone = False

    async def listen(self) -> None:
        """Take replies until the end."""
        try:
            async for line in lines(self._source):
                reply = msgspec.json.decode(line, type=Reply)
                if reply.id == 0:
                    self._on_event(reply)
                elif reply.id in self._open:
                    event, answers = self._open.pop(reply.id)
                    answers.append(reply)
                    event.set()
        finally:
            self._gone = True
            for event, _ in self._open.values():
                event.set()
            self._open.clear()

    async def ask(
        self,
        op: Op,
        *,
        node: str = "",
        what: str = "",
        signal: int = 0,
        seconds: float = 0.0,
        stop_s: float = 0.0,
        run_s: float = 0.0,
    ) -> Reply:
        """Have something done. Raises LabError with the other side's reason."""
        if self._gone:
            raise LabError(f"{op}: the other process of the lab has ended")
        request = Request(
            id=self._next,
            op=op,
            node=node,
            what=what,
            signal=signal,
            seconds=seconds,
            stop_s=stop_s,
            run_s=run_s,
        )
        self._next += 1
        event, answers = anyio.Event(), list[Reply]()
        self._open[request.id] = (event, answers)
        try:
            write(self._sink, request)
        except OSError as error:
            self._open.pop(request.id, None)
            raise LabError(f"{op}: the other process of the lab has ended") from error
        await event.wait()
        if not answers:
            raise LabError(f"{op}: the other process of the lab ended before it answered")
        if answers[0].error:
            raise LabError(f"{op} {node}: {answers[0].error}")
        return answers[0]
