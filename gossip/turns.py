"""When the ring's one owner runs: as soon as its socket can be read, when its deadline has come, when it is asked to.

By callbacks of asyncio's loop. A task that waits for either of the two anew each time costs several times as much, and a
member of a ring at rest wakes dozens of times a second (docs/decisions/005-turns-by-callbacks.md).
"""

import asyncio
import socket
import time
from collections.abc import Callable

Turn = Callable[[], float | None]
"""Does some of what there is to do and returns the deadline of the next turn (monotonic seconds). None where no deadline is
to be set: there is none, or the socket holds more."""


class Turns:
    """Calls a function again and again, never twice at once.

    Args:
        readable: a socket; while it holds something, there is a turn in every round of the loop.
        turn: what to call.
    """

    def __init__(self, readable: socket.socket, turn: Turn) -> None:
        self._readable = readable
        self._turn = turn
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Future[None]
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = float("inf")
        self._asked = False

    async def run(self) -> None:
        """Take turns until cancelled. Raises what a turn raises."""
        loop = self._loop = asyncio.get_running_loop()
        self._over = loop.create_future()
        loop.add_reader(self._readable, self._take)
        try:
            self.ask()
            await self._over
        finally:
            loop.remove_reader(self._readable)
            self._loop = None
            if self._alarm is not None:
                self._alarm.cancel()

    def ask(self) -> None:
        """Have a turn soon."""
        if self._loop is not None and not self._asked:
            self._asked = True
            self._loop.call_soon(self._take)

    def _take(self) -> None:
        if self._loop is None or self._over.done():
            return
        self._asked = False
        try:
            deadline = self._turn()
        except Exception as error:  # noqa: BLE001 - the task raises it
            self._over.set_exception(error)
            return
        # One that is set too early only costs a turn; moving it back at each turn would cost more.
        if deadline is not None and deadline < self._alarm_at:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm_at = deadline
            self._alarm = self._loop.call_later(max(0.0, deadline - time.monotonic()), self._ring)

    def _ring(self) -> None:
        self._alarm, self._alarm_at = None, float("inf")
        self._take()
