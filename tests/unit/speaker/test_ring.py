"""When a speaker joins the ring, on real sockets of loopback; 127.0.1.1 is the speaker's, 127.0.1.2 the peer's."""

from __future__ import annotations

import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest

from gossip.config import SwimConfig
from gossip.member import MemberState
from gossip.meta import Meta
from gossip.outputs import MembershipEvent
from gossip.shell import Ring
from speaker.options import RingOptions
from speaker.ring import JoinTiming, RingKeeper
from speaker.roster import Peers
from tests.seed import chosen_seed
from tests.unit.speaker.builders import our_meta, pod

QUICK = JoinTiming(look_patience_s=0.05, first_join_s=0.5, first_retry_s=0.05, rejoin_s=(0.05, 0.1))
OWN, PEER, THIRD = "127.0.1.1", "127.0.1.2", "127.0.1.3"


@pytest.fixture
def port() -> int:
    with socket.create_server((OWN, 0)) as free:
        found: int = free.getsockname()[1]
        return found


@pytest.fixture
def rng() -> random.Random:
    return random.Random(chosen_seed())


class Stage:
    """A keeper and what it told."""

    def __init__(self, port: int, rng: random.Random, timing: JoinTiming = QUICK) -> None:
        self.events: list[MembershipEvent] = []
        self.joined = 0
        self.others = True
        self.looked = anyio.Event()
        self.peers = Peers(own_address=OWN)
        self.port = port
        self.keeper = RingKeeper(
            node="n1",
            version="0.1.0",
            options=RingOptions(bind_address=OWN, labels="a=b", namespace="x", port=port),
            peers=self.peers,
            rng=rng,
            on_event=self.events.append,
            on_joined=self._joined,
            on_keys=lambda _: None,
            others=lambda: self.others,
            timing=timing,
        )

    def _joined(self) -> None:
        self.joined += 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.keeper.run, self.looked)
            yield
            tasks.cancel_scope.cancel()

    def peer(self, meta: bytes, *, name: str = "n2", host: str = PEER) -> Ring:
        return Ring(
            name=name,
            bind=(host, self.port),
            advertise=None,
            keyring=None,
            config=SwimConfig.local(),
            meta=meta,
            rng=random.Random(1),
        )


async def until(check: Callable[[], object]) -> None:
    with anyio.fail_after(20):
        while not check():  # noqa: ASYNC110  (the ring's own tasks tell nobody)
            await anyio.sleep(0.01)


def meta_of(ring: Ring, name: str) -> Meta | None:
    view = ring.members().get(name)
    return Meta.decode(view.meta) if view is not None and view.state.present else None


async def test_alone_it_joins_as_soon_as_it_has_looked(port: int, rng: random.Random) -> None:
    stage = Stage(port, rng, JoinTiming(look_patience_s=60.0))
    async with stage.running():
        await anyio.lowlevel.checkpoint()
        assert stage.keeper.members() == {}
        stage.looked.set()
        await until(lambda: stage.joined)
        assert stage.keeper.eligible
        assert set(stage.keeper.members()) == {"n1"}
    assert stage.keeper.members() == {}


async def test_known_peers_are_met_before_the_view_counts(port: int, rng: random.Random) -> None:
    stage = Stage(port, rng, JoinTiming())
    stage.peers.set_pod(pod("speaker-2", "n2", PEER))
    stage.looked.set()
    async with stage.peer(our_meta()), stage.running():
        await until(lambda: stage.joined)
        assert set(stage.keeper.members()) == {"n1", "n2"}


async def test_a_peer_that_appears_later_is_joined_without_being_told(port: int, rng: random.Random) -> None:
    stage = Stage(port, rng)
    stage.peers.set_pod(pod("speaker-2", "n2", PEER))
    stage.looked.set()
    async with stage.running():
        await until(lambda: stage.joined)
        async with stage.peer(our_meta()):
            await until(lambda: "n2" in stage.keeper.members())


async def test_without_the_api_it_joins_as_not_eligible_until_it_has_looked(
    port: int, rng: random.Random
) -> None:
    stage = Stage(port, rng)
    stage.peers.set_pod(pod("speaker-2", "n2", PEER))
    async with stage.peer(our_meta()) as peer, stage.running():
        await until(lambda: stage.joined)
        await until(lambda: meta_of(peer, "n1"))
        seen = meta_of(peer, "n1")
        assert seen is not None
        assert not seen.eligible
        assert not stage.keeper.eligible
        stage.looked.set()
        await until(lambda: (meta_of(peer, "n1") or seen).eligible)
        await until(lambda: stage.keeper.eligible and stage.joined >= 2)


async def test_a_ring_with_plain_members_is_left_until_it_has_looked(port: int, rng: random.Random) -> None:
    stage = Stage(port, rng)
    stage.peers.set_pod(pod("speaker-2", "n2", PEER))
    async with stage.peer(b"") as peer, stage.running():
        await until(lambda: stage.events)
        await until(lambda: stage.keeper.ring is None)
        await until(lambda: meta_of(peer, "n1") is None)
        stage.looked.set()
        await until(lambda: meta_of(peer, "n1"))
        seen = meta_of(peer, "n1")
        assert seen is not None
        assert seen.eligible


async def test_once_the_api_is_back_its_peers_are_met_before_the_view_counts(
    port: int, rng: random.Random
) -> None:
    stage = Stage(port, rng, JoinTiming(look_patience_s=0.05, first_join_s=5.0, rejoin_s=(60.0, 60.0)))
    async with stage.running():
        await until(lambda: stage.joined == 1)
        async with stage.peer(our_meta()):
            stage.peers.set_pod(pod("speaker-2", "n2", PEER))
            stage.looked.set()
            await until(lambda: stage.joined == 2)
            assert set(stage.keeper.members()) == {"n1", "n2"}


async def test_without_an_interface_it_says_that_it_may_not_own_addresses(
    port: int, rng: random.Random
) -> None:
    stage = Stage(port, rng, JoinTiming(able_again_s=0.05))
    stage.peers.set_pod(pod("speaker-2", "n2", PEER))
    stage.looked.set()
    async with stage.peer(our_meta()) as peer, stage.running():
        await until(lambda: stage.joined)
        joined = stage.joined
        stage.keeper.set_able(False)
        assert not stage.keeper.eligible
        assert stage.joined == joined + 1, "its own view changes at once"
        await until(lambda: (meta := meta_of(peer, "n1")) is not None and not meta.eligible)
        stage.keeper.set_able(True)
        assert not stage.keeper.eligible, "not before the interface has been there for a while"

        def looked() -> bool:
            stage.keeper.look_at_time()
            return stage.keeper.eligible

        await until(looked)
        await until(lambda: (meta := meta_of(peer, "n1")) is not None and meta.eligible)
        stage.keeper.set_able(True)
        stage.keeper.set_able(False)
        assert not stage.keeper.eligible


async def test_where_no_other_may_own_addresses_it_says_at_once_that_it_may(
    port: int, rng: random.Random
) -> None:
    stage = Stage(port, rng, JoinTiming(able_again_s=3_600.0))
    stage.looked.set()
    async with stage.running():
        await until(lambda: stage.joined)
        stage.keeper.set_able(False)
        stage.keeper.set_able(True)
        assert not stage.keeper.eligible
        stage.others = False
        stage.keeper.look_at_time()
        assert stage.keeper.eligible


async def test_who_died_is_asked_after_until_its_node_is_gone(port: int, rng: random.Random) -> None:
    stage = Stage(port, rng)
    stage.looked.set()
    stage.peers.set_pod(pod("speaker-2", "n2", PEER))
    async with stage.running():
        async with stage.peer(Meta(software="vipring", version="1").encode()) as other:
            await until(lambda: meta_of(other, "n1"))
        ring = stage.keeper.ring
        assert ring is not None
        await until(lambda: not stage.keeper.members()["n2"].state.present)
        node = ring._running()
        assert node.sizes()["members asked after"] == 1
        stage.keeper.node_gone("n2")
        await until(lambda: not node.sizes()["members asked after"])


async def test_who_says_goodbye_joins_nobody_any_more(port: int, rng: random.Random) -> None:
    """A known speaker that is missing is joined again and again; a speaker that leaves was once brought back by that."""
    stage = Stage(port, rng)
    stage.peers.set_pod(pod("speaker-2", "n2", PEER))
    stage.peers.set_pod(pod("speaker-3", "n3", THIRD))
    stage.looked.set()
    async with stage.peer(our_meta()) as peer, stage.running():
        await until(lambda: meta_of(peer, "n1"))
        await until(lambda: stage.joined)
        await stage.keeper.leave()
        await until(lambda: peer.members()["n1"].state is MemberState.LEFT)
        async with stage.peer(our_meta(), name="n3", host=THIRD) as third:
            # Ten to twenty looks for missing speakers.
            with anyio.move_on_after(1.0):
                await until(lambda: len(third.members()) > 1 or meta_of(peer, "n1"))
            assert set(third.members()) == {"n3"}
        assert meta_of(peer, "n1") is None


async def test_a_goodbye_before_the_ring_was_made_is_for_good(port: int, rng: random.Random) -> None:
    stage = Stage(port, rng, JoinTiming(look_patience_s=60.0))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stage.keeper.run, stage.looked)
        await anyio.lowlevel.checkpoint()
        await stage.keeper.leave()
        stage.looked.set()
        # `run` returns, or the test runs into its own limit.
        tasks.cancel_scope.deadline = anyio.current_time() + 20.0
    assert not tasks.cancel_scope.cancelled_caught
    assert stage.joined == 0


async def test_a_goodbye_while_the_sockets_are_opened_is_for_good(
    port: int, rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(port, rng)
    stage.peers.set_pod(pod("speaker-2", "n2", PEER))
    stage.looked.set()
    made = stage.keeper._made

    @asynccontextmanager
    async def opened() -> AsyncIterator[Ring]:
        async with made() as ring:
            await stage.keeper.leave()
            yield ring

    monkeypatch.setattr(stage.keeper, "_made", opened)
    async with stage.peer(our_meta()) as peer:
        with anyio.fail_after(20):
            await stage.keeper.run(stage.looked)
        assert "n1" not in peer.members()
    assert stage.joined == 0
