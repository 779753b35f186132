"""When the ring's owner runs."""

import socket
import time
from collections.abc import Iterator

import anyio
import anyio.lowlevel
import pytest

from gossip.turns import Turns

pytestmark = pytest.mark.anyio
PATIENCE_S = 10.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    near.setblocking(False)
    with near, far:
        yield near, far


async def test_a_datagram_a_deadline_and_a_wish_are_each_a_turn(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    near, far = pair
    heard: list[bytes] = []
    deadline: float | None = None
    turned = anyio.Event()

    def turn() -> float | None:
        try:
            heard.append(near.recv(100))
        except BlockingIOError:
            heard.append(b"")
        turned.set()
        return deadline

    async def next_turn() -> bytes:
        nonlocal turned
        with anyio.fail_after(PATIENCE_S):
            await turned.wait()
        turned = anyio.Event()
        return heard[-1]

    turns = Turns(near, turn)
    turns.ask()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(turns.run)
        assert await next_turn() == b"", "the first turn is asked for by itself"
        far.send(b"ping")
        assert await next_turn() == b"ping"
        deadline = time.monotonic() + 0.01
        turns.ask()
        turns.ask()
        assert await next_turn() == b""
        asked = len(heard)
        deadline = None
        assert await next_turn() == b""
        assert len(heard) == asked + 1, "two wishes were one turn, and the deadline another"
        tasks.cancel_scope.cancel()
    far.send(b"late")
    turns.ask()
    await anyio.lowlevel.checkpoint()
    assert heard[-1] == b""


async def test_a_turn_that_fails_ends_the_task_with_its_error(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    def turn() -> float | None:
        raise ValueError("broken")

    with anyio.fail_after(PATIENCE_S), pytest.raises(ValueError, match="broken"):
        await Turns(pair[0], turn).run()
