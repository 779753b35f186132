"""Rings on loopback, with real sockets."""

import socket
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import anyio
import pytest

from gossip.address import Endpoint
from gossip.config import SwimConfig
from gossip.errors import ConfigError, RejectReason, UsageError
from gossip.keyring import Keyring
from gossip.member import MemberState
from gossip.messages import Alive
from gossip.outputs import EventsLost, MemberDead, MemberJoined, MemberLeft, MemberUpdated, PeerRejected
from gossip.shell import Ring

pytestmark = pytest.mark.anyio

FAST = replace(
    SwimConfig.local(),
    probe_interval_s=0.2,
    probe_timeout_s=0.1,
    gossip_interval_s=0.02,
    push_pull_interval_s=1.0,
    meta_min_interval_s=0.0,
)
KEY = bytes(32)
PATIENCE_S = 15.0

T = TypeVar("T")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def ring(name: str, key: bytes | None = KEY, config: SwimConfig = FAST, host: str = "127.0.0.1") -> Ring:
    return Ring(
        name=name,
        bind=(host, 0),
        advertise=None,
        keyring=None if key is None else Keyring([key]),
        config=config,
        meta=name.encode(),
    )


async def event(of: Ring, kind: type[T], wanted: Callable[[T], bool] = lambda _: True) -> T:
    """The next event of a kind; fails when the patience is over."""
    with anyio.fail_after(PATIENCE_S):
        async for happened in of.events:
            if isinstance(happened, kind) and wanted(happened):
                return happened
    raise AssertionError("the ring was closed")


async def knows(of: Ring, *names: str) -> None:
    """Wait until the ring takes exactly these for alive."""

    def alive() -> set[str]:
        return {name for name, view in of.members().items() if view.state is MemberState.ALIVE}

    with anyio.fail_after(PATIENCE_S):
        while alive() != set(names):
            await of.events.receive()


async def test_three_join_one_crashes_one_leaves() -> None:
    async with ring("a") as a, ring("b") as b:
        async with ring("c") as c:
            joined = await b.join([a.endpoint])
            assert joined.contacted == (a.endpoint,)
            assert not joined.failed
            assert (await c.join([b.endpoint])).contacted == (b.endpoint,)
            for member in (a, b, c):
                await knows(member, "a", "b", "c")
            assert a.members()["c"].meta == b"c"
            assert a.members()["c"].endpoint == c.endpoint
        for member in (a, b):
            await event(member, MemberDead, lambda dead: dead.view.name == "c")
        await b.leave(timeout_s=PATIENCE_S)
        left = await event(a, MemberLeft)
        assert (left.view.name, left.view.state) == ("b", MemberState.LEFT)
        await b.come_back()
        await event(a, MemberJoined, lambda joined: joined.view.name == "b")
        await b.leave(timeout_s=PATIENCE_S)
        await event(a, MemberLeft)
        assert a.counters.deaths >= 1
        assert a.counters.packets_in > 0
        assert not a.counters.rejected


@pytest.mark.parametrize(
    ("ours", "theirs", "here", "there"),
    [
        (KEY, bytes([1]) * 32, RejectReason.UNDECRYPTABLE, RejectReason.UNDECRYPTABLE),
        (KEY, bytes([1]) * 16, RejectReason.UNDECRYPTABLE, RejectReason.UNDECRYPTABLE),
        (KEY, None, RejectReason.UNENCRYPTED, RejectReason.ENCRYPTED),
        (None, KEY, RejectReason.ENCRYPTED, RejectReason.UNENCRYPTED),
    ],
)
async def test_another_secret_is_told_on_both_sides_and_nothing_joins(
    ours: bytes | None, theirs: bytes | None, here: RejectReason, there: RejectReason
) -> None:
    async with ring("a", ours) as a, ring("b", theirs) as b:
        joined = await b.join([a.endpoint])
        assert not joined.contacted
        assert list(joined.failed) == [a.endpoint]
        rejected = await event(a, PeerRejected)
        assert (rejected.reason, rejected.source.host) == (here, "127.0.0.1")
        rejected = await event(b, PeerRejected)
        assert (rejected.reason, rejected.source) == (there, a.endpoint)
        assert set(a.members()) == {"a"}
        assert set(b.members()) == {"b"}


async def test_a_join_names_who_could_not_be_reached() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = Endpoint("127.0.0.1", closed.getsockname()[1])
        async with ring("a") as a, ring("b") as b:
            result = await b.join([nobody, a.endpoint])
            assert result.contacted == (a.endpoint,)
            assert result.failed == {nobody: "Connection refused"}
            assert (await b.join([])).contacted == ()
            (reason,) = (await b.join([("no..such.host.invalid", 7946)])).failed.values()
            assert reason
            with pytest.raises(UsageError, match=r"127\.0\.0\.1:70000; a port from 1 to 65535 is allowed"):
                await b.join([("127.0.0.1", 70_000)])


async def test_a_large_table_is_exchanged_whole() -> None:
    # Nothing may be sent to the members that this test only invents.
    config = replace(FAST, probe_interval_s=60.0, push_pull_interval_s=0.0, gossip_nodes=0)
    async with ring("a", config=config) as a, ring("b", config=config) as b:
        now = a.members()["a"].since
        vsn = config.versions.encode()
        for number in range(4000):
            addr = bytes((198, 18, number >> 8, number & 255))
            a._running()._membership.alive(
                Alive(1, f"n{number}", addr, 7946, b"m" * 500, vsn), a.endpoint, now
            )
        assert (await b.join([a.endpoint])).contacted == (a.endpoint,)
        assert len(b.members()) == 4002


async def test_meta_is_announced() -> None:
    async with ring("a") as a, ring("b") as b:
        await b.join([a.endpoint])
        await knows(a, "a", "b")
        b.set_meta(b"draining")
        assert (await event(a, MemberUpdated)).view.meta == b"draining"
        with pytest.raises(UsageError, match="512"):
            b.set_meta(bytes(513))


async def test_a_restart_under_the_same_name_is_taken_back() -> None:
    async with ring("a") as a:
        async with ring("b") as b:
            await b.join([a.endpoint])
            await event(a, MemberJoined)
            port = b.endpoint.port
        await event(a, MemberDead)
        again = Ring(
            name="b",
            bind=("127.0.0.1", port),
            advertise=None,
            keyring=Keyring([KEY]),
            config=FAST,
            meta=b"again",
        )
        async with again:
            await again.join([a.endpoint])
            assert (await event(a, MemberJoined)).view.meta == b"again"


async def test_garbage_on_both_sockets_is_counted_and_harmless() -> None:
    async with ring("a") as a, ring("b") as b:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            for size in range(200):
                udp.sendto(b"\x01" + bytes(size), a.endpoint)
        for junk in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x0a\x00", bytes(70_000)):
            async with await anyio.connect_tcp(*a.endpoint) as stream:
                with anyio.move_on_after(0.01):
                    await stream.send(junk)
        await b.join([a.endpoint])
        await knows(a, "a", "b")
        with anyio.fail_after(PATIENCE_S):
            while a.counters.rejected[RejectReason.UNDECRYPTABLE] < 100:
                await anyio.lowlevel.checkpoint()
        assert a.counters.rejected[RejectReason.UNENCRYPTED] >= 1


class Flood:
    """A socket that never runs empty."""

    def __init__(self) -> None:
        self.taken = 0

    def recvfrom(self, size: int) -> tuple[bytes, tuple[str, int]]:
        self.taken += 1
        return b"\xff", ("127.0.0.1", 9)

    def sendto(self, data: bytes, to: tuple[str, int]) -> None:
        pass

    def close(self) -> None:
        pass


async def test_a_flood_does_not_stop_what_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ring("a", key=None) as one:
        assert one._node is not None
        handled: list[int] = []
        flood = Flood()
        with monkeypatch.context() as patched:
            patched.setattr(one, "_udp", flood)
            patched.setattr(one, "_batches", 0)
            patched.setattr(one._node, "handle_timer", lambda now: handled.append(flood.taken))
            for _ in range(96):
                assert one._turn() is None, "the socket holds more"
    assert handled == [2048, 4096, 6144], "what waited in the socket before the deadline comes first"


async def test_a_slow_reader_is_told_what_it_missed() -> None:
    async with ring("a") as a, ring("b") as b:
        await b.join([a.endpoint])
        await knows(a, "a", "b")
        view = a.members()["b"]
        for _ in range(5000):
            a._emit(MemberUpdated(view))
        lost = a.counters.events_lost
        assert lost > 0
        await a.events.receive()
        await a.events.receive()
        a._emit(MemberUpdated(view))
        assert (await event(a, EventsLost)).count == lost


async def test_ipv6() -> None:
    async with ring("a", host="::1") as a, ring("b", host="::1") as b:
        assert a.endpoint.text.startswith("[::1]:")
        assert (await b.join([a.endpoint])).contacted == (a.endpoint,)
        await knows(a, "a", "b")


async def test_a_wildcard_takes_part_under_its_advertised_address() -> None:
    wide = Ring(
        name="w", bind=("0.0.0.0", 0), advertise=("127.0.0.1", 0), keyring=None, config=FAST, meta=b""
    )
    async with wide, ring("a", None) as a:
        await wide.join([a.endpoint])
        await knows(a, "a", "w")
        assert a.members()["w"].address == "127.0.0.1"


async def test_wrong_addresses_are_named() -> None:
    with pytest.raises(ConfigError, match=r"advertise: needed, because bind is 0\.0\.0\.0"):
        ring("a", host="0.0.0.0")
    with pytest.raises(ConfigError, match="bind: 'node-1'; an IP address is allowed"):
        ring("a", host="node-1")
    async with ring("a") as a:
        taken = Ring(name="b", bind=a.endpoint, advertise=None, keyring=None, config=FAST, meta=b"")
        with pytest.raises(ConfigError, match="Address already in use"):
            async with taken:
                pass


async def test_a_closed_ring_refuses_calls_and_releases_who_waits() -> None:
    a = ring("a", config=replace(FAST, tcp_timeout_s=60.0))
    results: list[object] = []
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        nowhere = Endpoint(*silent.getsockname())

        async def join() -> None:
            results.append(await a.join([nowhere]))

        async with anyio.create_task_group() as tasks, a:
            tasks.start_soon(join)
            with anyio.fail_after(PATIENCE_S):
                while not a.counters.streams_out:
                    await anyio.lowlevel.checkpoint()
        assert [result.failed for result in results] == [{nowhere: "the ring was closed"}]  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="does not run"):
        a.members()
    with pytest.raises(UsageError, match="does not run"):
        await a.join([nowhere])


async def test_an_error_of_the_body_comes_out_as_it_is() -> None:
    with pytest.raises(RuntimeError, match="mine"):
        async with ring("a"):
            raise RuntimeError("mine")
