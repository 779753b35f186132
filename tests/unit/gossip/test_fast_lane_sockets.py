"""The fast lane on loopback, with real sockets."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import pytest

from gossip.config import SwimConfig
from gossip.errors import UsageError
from gossip.fastconfig import FastLaneConfig
from gossip.keyring import Keyring
from gossip.meta import Meta
from gossip.outputs import MemberDead, MemberDoubtful, MemberJoined
from gossip.shell import Ring
from gossip.watch import WireAnswer

pytestmark = pytest.mark.anyio

META = Meta(software="vipring", version="1").encode()
NEVER_PROBED = SwimConfig(
    probe_interval_s=3600.0, push_pull_interval_s=0.0, fast_lane=FastLaneConfig(misses_without_wire=20)
)
"""Whoever is found dead is found by the fast lane."""
PATIENCE_S = 15.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def made(name: str) -> Ring:
    return Ring(
        name=name,
        bind=("127.0.0.1", 0),
        advertise=None,
        keyring=Keyring([bytes(32)]),
        config=NEVER_PROBED,
        meta=META,
    )


async def know_two(ring: Ring) -> None:
    """Wait until a member has heard of two others."""
    known: set[str] = set()
    with anyio.fail_after(PATIENCE_S):
        while len(known) < 2:
            event = await ring.events.receive()
            if isinstance(event, MemberJoined):
                known.add(event.view.name)


@asynccontextmanager
async def three() -> AsyncIterator[tuple[Ring, Ring, Ring, AsyncExitStack]]:
    """Three that know each other; closing the stack ends the third without a goodbye."""
    async with made("a") as first, made("b") as second, AsyncExitStack() as stack:
        third = await stack.enter_async_context(made("c"))
        for other in (second, third):
            assert (await other.join([first.endpoint])).contacted
        for ring in (first, second, third):
            await know_two(ring)
        yield first, second, third, stack


async def hear_of_death(ring: Ring, wire: WireAnswer | None) -> str:
    """Who died; meanwhile the wire says this of whoever is doubtful."""
    with anyio.fail_after(PATIENCE_S):
        async for event in ring.events:
            if isinstance(event, MemberDead):
                return event.view.name
            if isinstance(event, MemberDoubtful) and wire is not None:
                await ring.wire_evidence(event.view.name, wire, own_link_proven=True)
    raise AssertionError("the ring was closed")


@pytest.mark.parametrize("wire", [None, WireAnswer.SILENT])
async def test_a_member_that_falls_silent_is_found(wire: WireAnswer | None) -> None:
    found: list[str] = []

    async def listen(ring: Ring) -> None:
        found.append(await hear_of_death(ring, wire))

    async with three() as (first, second, _, stack):
        await stack.aclose()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen, first)
            tasks.start_soon(listen, second)
        assert found == ["c", "c"]
        assert first.counters.verdicts + second.counters.verdicts >= 1


async def test_evidence_needs_a_running_ring() -> None:
    async with made("a") as ring:
        await ring.wire_evidence("b", WireAnswer.SILENT, own_link_proven=True)
    with pytest.raises(UsageError, match="does not run"):
        await ring.wire_evidence("b", WireAnswer.SILENT, own_link_proven=True)
