"""Keeps this speaker in the ring: joins when it has looked at the API, and again whenever a known speaker is missing."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import anyio
import structlog
from anyio.abc import TaskGroup

from gossip.member import MemberView
from gossip.meta import Meta
from gossip.outputs import MemberJoined, MembershipEvent
from gossip.shell import Ring
from gossip.watch import WireAnswer
from speaker.able import Ability
from speaker.options import RingOptions
from speaker.ringconfig import swim_config
from speaker.roster import Peers
from speaker.secret import SecretKeeper

log = structlog.get_logger()

LEAVE_S: Final = 1.0
"""How long a goodbye may take (MetalLB's own time)."""
FIRST_PEERS: Final = 5
"""Peers asked at first: one answer brings the whole list of members."""
_INSTANCE_BYTES: Final = 8
REJOIN_PEERS: Final = 3
"""Missing speakers asked at once, so that many dead nodes cost a bounded number of dials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinTiming:
    """When to join, in seconds."""

    look_patience_s: float = 30.0
    """How long to wait for the API server before joining the ring as a member that may not own addresses."""
    first_join_s: float = 2.0
    """How long the first contact may take before this speaker acts on what it knows."""
    first_retry_s: float = 0.25
    """Between two rounds of dialling until the first contact."""
    settle_s: float = 0.3
    """How long no further member may come before the first contact counts as complete."""
    able_again_s: float = 5.0
    """How long an interface has to be there before this speaker may own addresses again."""
    rejoin_s: tuple[float, float] = (4.0, 6.0)
    """Between two looks for speakers that the ring misses: a healed partition is one ring again within 10 s."""


def meta(version: str, *, eligible: bool, draining: bool = False, instance: bytes = b"") -> bytes:
    """What this speaker says of itself in the ring; `instance` tells one start of it from the next."""
    return Meta(
        software="vipring", version=version, eligible=eligible, draining=draining, instance=instance
    ).encode()


class RingKeeper:
    """The ring of one speaker. `on_event` hears every membership event, `on_joined` the moment from which its view of
    the ring may be acted upon. `others` tells whether another node may own addresses."""

    def __init__(
        self,
        *,
        node: str,
        version: str,
        options: RingOptions,
        peers: Peers,
        rng: random.Random,
        on_event: Callable[[MembershipEvent], None],
        on_joined: Callable[[], None],
        on_keys: Callable[[Sequence[bytes]], None],
        others: Callable[[], bool],
        timing: JoinTiming = JoinTiming(),
    ) -> None:
        self._node = node
        self._version = version
        self._options = options
        self._rng = rng
        self._peers = peers
        self._on_event = on_event
        self._on_joined = on_joined
        self._on_keys = on_keys
        self._others = others
        self._tasks: TaskGroup | None = None
        self._joins: TaskGroup | None = None
        self._leaving = False
        self._timing = timing
        self._joining: set[str] = set()
        self._contact = anyio.Event()
        self._secret = SecretKeeper(options.secret, options) if options.secret is not None else None
        self._config = swim_config(options)
        self._instance = rng.randbytes(_INSTANCE_BYTES)
        self._looked = False
        self._met = False
        self._ability = Ability(timing.able_again_s)
        self.ring: Ring | None = None

    @property
    def eligible(self) -> bool:
        """Whether this speaker may own addresses: it has looked at the API and has an interface to announce on."""
        return self._looked and self._ability.able

    def set_able(self, able: bool) -> None:
        """This node has a link to announce on, or has none: what follows, and when, is told in speaker/able.py."""
        if self._ability.told(able, anyio.current_time(), others=self._others()):
            self._say_able()

    def look_at_time(self) -> None:
        """To be called a few times a second: a link that has returned counts after some time."""
        if self._ability.look(anyio.current_time(), others=self._others()):
            self._say_able()

    def _say_able(self) -> None:
        if self.ring is not None:
            self.ring.set_meta(self._meta())
            if self._met:
                self._on_joined()

    @property
    def encrypted(self) -> bool:
        """Whether nothing is sent or taken in plain text."""
        both = self._config.gossip_verify_incoming and self._config.gossip_verify_outgoing
        return self._secret is not None and both

    def members(self) -> Mapping[str, MemberView]:
        """Every known member, this speaker included."""
        return self.ring.members() if self.ring is not None else {}

    def watchers(self, name: str) -> tuple[str, ...]:
        """The members that watch this one in the fast lane."""
        return self.ring.watchers(name) if self.ring is not None else ()

    def queue_depth(self) -> int:
        """Messages waiting to be gossiped."""
        return self.ring.queue_depth if self.ring is not None else 0

    async def run(self, looked: anyio.Event) -> None:
        """Be in the ring until cancelled. `looked` is set after the first full look at the API.

        While the API server is away, this speaker joins after some patience as a member that may not own addresses.
        Plain members (MetalLB) cannot read that and would yield addresses to it: it leaves their ring until it has
        looked.
        """
        with anyio.move_on_after(self._timing.look_patience_s):
            await looked.wait()
        while not self._leaving:
            self._looked = looked.is_set()
            await self._live(looked)
            await looked.wait()

    async def _live(self, looked: anyio.Event) -> None:
        """One stay in the ring; returns only when it must be left until the API was looked at."""
        async with self._made() as ring, anyio.create_task_group() as tasks:
            if self._leaving:
                return  # The goodbye was said while the sockets were opened: nobody has heard of us.
            self.ring, self._tasks = ring, tasks
            try:
                tasks.start_soon(self._listen, ring, tasks)
                if self._secret is not None:
                    tasks.start_soon(self._secret.run, ring, self._on_keys)
                else:
                    self._on_keys(())
                if not self._looked:
                    log.warning("joiningNotEligible", reason="no full look at the API server yet")
                async with anyio.create_task_group() as joins:
                    self._joins = joins
                    await self._keep_joined(ring, joins, looked)
                # A goodbye has ended that: what came in the meantime is still listened to.
                await anyio.sleep_forever()
            finally:
                self.ring, self._tasks, self._joins, self._met = None, None, None, False

    async def _keep_joined(self, ring: Ring, joins: TaskGroup, looked: anyio.Event) -> None:
        if not self._looked:
            joins.start_soon(self._become_eligible, ring, joins, looked)
        await self._first_join(ring, joins)
        self._met = True
        self._on_joined()
        while True:
            await anyio.sleep(self._rng.uniform(*self._timing.rejoin_s))
            self._rejoin(ring, joins)

    def wire_evidence(self, name: str, answer: WireAnswer, *, proven: bool) -> None:
        """Tell the ring what the wire said of a member; `proven`: somebody else answered meanwhile."""
        if self.ring is not None and self._tasks is not None:
            self._tasks.start_soon(partial(self.ring.wire_evidence, name, answer, own_link_proven=proven))

    def node_gone(self, name: str) -> None:
        """Kubernetes has no Node of this name any more: who died there is asked after no longer."""
        if self.ring is not None and self._tasks is not None:
            self._tasks.start_soon(self.ring.give_up, name)

    async def leave(self) -> None:
        """Say goodbye, for good: nobody is joined from now on. Takes at most a second."""
        self._leaving = True
        if self.ring is not None:
            await self._say_goodbye(self.ring)

    async def _say_goodbye(self, ring: Ring) -> None:
        if self._joins is not None:
            self._joins.cancel_scope.cancel()
        await ring.leave(LEAVE_S)

    def _made(self) -> Ring:
        return Ring(
            name=self._node,
            bind=(self._options.bind_address, self._options.port),
            advertise=None,
            keyring=self._secret.rotation.keyring() if self._secret is not None else None,
            config=self._config,
            meta=self._meta(),
            rng=self._rng,
        )

    def _meta(self) -> bytes:
        return meta(self._version, eligible=self.eligible, instance=self._instance)

    async def _become_eligible(self, ring: Ring, tasks: TaskGroup, looked: anyio.Event) -> None:
        """The other speakers may only now be known: meet them before anything is decided from who is there."""
        await looked.wait()
        await self._first_join(ring, tasks)
        self._looked = True
        ring.set_meta(self._meta())
        self._on_joined()

    async def _listen(self, ring: Ring, tasks: TaskGroup) -> None:
        async for event in ring.events:
            self._on_event(event)
            if isinstance(event, MemberJoined):
                self._contact.set()
                if not self._looked and Meta.decode(event.view.meta) is None:
                    log.warning(
                        "leavingMixedRing",
                        member=event.view.name,
                        reason="no full look at the API server yet",
                    )
                    await self._say_goodbye(ring)
                    tasks.cancel_scope.cancel()

    async def _first_join(self, ring: Ring, tasks: TaskGroup) -> None:
        """Wait for the first contact with another member, whoever dials, and until no more come, or for the time to pass.

        Peers that refuse are dialled again at once: after a power cut or a rollout all speakers start together, and
        each would otherwise announce everything for a moment.
        """
        with anyio.move_on_after(self._timing.first_join_s):
            while missing := self._missing(ring):
                if self._contact.is_set():
                    known = len(ring.members())
                    await anyio.sleep(self._timing.settle_s)
                    if len(ring.members()) == known:
                        return
                    continue
                chosen = [address for address in missing if address not in self._joining]
                for address in self._rng.sample(chosen, min(FIRST_PEERS, len(chosen))):
                    tasks.start_soon(self._join, ring, address)
                with anyio.move_on_after(self._timing.first_retry_s):
                    await self._contact.wait()

    def _rejoin(self, ring: Ring, tasks: TaskGroup) -> None:
        missing = [address for address in self._missing(ring) if address not in self._joining]
        for address in self._rng.sample(missing, min(REJOIN_PEERS, len(missing))):
            tasks.start_soon(self._join, ring, address)

    def _missing(self, ring: Ring) -> Sequence[str]:
        return self._peers.to_join(ring.members().values())

    async def _join(self, ring: Ring, address: str) -> None:
        self._joining.add(address)
        try:
            result = await ring.join([(address, self._options.port)])
        finally:
            self._joining.discard(address)
        if result.contacted:
            self._contact.set()
