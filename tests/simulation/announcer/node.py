"""A node of the simulated segment: a real responder core, and the speaker's own decisions and claims."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cache, partial
from ipaddress import IPv4Address, IPv4Interface
from typing import TYPE_CHECKING, cast

from announcer.layer2 import arp, signed
from announcer.layer2.arp import ArpFrame
from announcer.layer2.claims import ANYONE, State
from announcer.layer2.gateways import Gateway
from announcer.layer2.handle import Responder
from announcer.layer2.interfaces import InterfaceView
from announcer.layer2.messages import (
    Add,
    Announced,
    ClaimChanged,
    Command,
    HandOver,
    Introduce,
    LeaseExpired,
    LinkProven,
    Members,
    Remove,
    Renew,
    ResponderEvent,
)
from announcer.layer2.responder import ArpResponder
from announcer.layer2.turns import LAST_TURN
from election.order import Order
from gossip.member import MemberState, MemberView
from speaker.able import Ability
from speaker.claims import Claims
from speaker.decide import Address, Decider
from speaker.ring import JoinTiming
from speaker.roster import may_own
from tests.simulation.announcer.api import Change
from tests.unit.speaker.builders import our_meta, view

if TYPE_CHECKING:
    from tests.simulation.announcer.segment import Segment

KEY = signed.claim_key(b"k" * 32)
GATEWAY = bytes([198, 18, 0, 1])
GATEWAY_MAC = bytes.fromhex("0200000000fe")
RENEW_S = 0.25
WAKE_S = 0.0001
"""What poll and the interpreter take at least."""
TICK_S = 0.1
"""Longest sleep of a responder process."""


class FakeResponder:
    """The speaker's end: turns calls into commands for the core of the same node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.epoch = 0
        self._names: dict[bytes, str] = {b"": ""}

    def _tell(self, command: Command) -> None:
        self._node.command(command)

    def own(self, addresses: Collection[IPv4Address], *, known: bool = False, turn: int = LAST_TURN) -> None:
        self._tell(Add(self.epoch, self._node.now, tuple(a.packed for a in addresses), known, turn))

    def hand_over(self, addresses: Collection[IPv4Address], to: str | None) -> None:
        name = signed.name_hash(to) if to is not None else ANYONE
        self._tell(HandOver(self.epoch, self._node.now, name, tuple(a.packed for a in addresses)))

    def drop(self, addresses: Collection[IPv4Address]) -> None:
        self._tell(Remove(self.epoch, self._node.now, tuple(a.packed for a in addresses)))

    def introduce(self, name: str, _keys: Sequence[bytes]) -> None:
        self._tell(Introduce(self.epoch, self._node.now, name, (KEY,)))

    def set_members(self, names: Collection[str], *, alive: bool) -> None:
        self._names.update((signed.name_hash(name), name) for name in names)
        hashes = tuple(signed.name_hash(name) for name in sorted(names))
        self._tell(Members(self.epoch, self._node.now, alive, hashes))

    def name_of(self, hashed: bytes) -> str:
        return self._names.get(hashed, "")


def member(name: str, *, alive: bool, meta: bytes) -> MemberView:
    """A member as the ring shows it."""
    return view(name, "198.18.0.9", MemberState.ALIVE if alive else MemberState.DEAD, meta=meta)


class Plain:
    """A member of the ring that is no speaker of ours: it says nothing of itself and takes no part in claims."""

    side = 0
    stalled = leaving = False
    meta = b""

    def __init__(self, number: int) -> None:
        self.name = f"plain{number}"
        self.up = True


class Node:
    """One node: a core, and the speaker's half reduced to its view of the ring. `stalled`: the whole process stands still;
    `hung`: only the deciding half does; `deaf`: the data port carries nothing, while the ring runs over another network."""

    def __init__(self, segment: Segment, number: int) -> None:
        self.segment = segment
        self.name = f"n{number}"
        self.view = InterfaceView(
            1, "eth0", bytes([2, 0, 0, 0, 0, number]), (IPv4Interface(f"198.18.0.{10 + number}/16"),)
        )
        self.port = segment.new_port()
        self.up = False
        self.side = 0
        self.deaf = False
        self.bursts = 0
        """How many bursts its data port is in: it loses every frame."""
        self.stalled = self.hung = self.leaving = False
        self.start()

    @property
    def now(self) -> float:
        return self.segment.now

    @property
    def carries(self) -> bool:
        """Whether the data port carries frames."""
        return not (self.deaf or self.bursts)

    def start(self) -> None:
        """The speaker starts; it knows of nobody."""
        self.life = object()
        self.up, self.stalled, self.hung, self.leaving = True, False, False, False
        self.core = ArpResponder(now=self.now, entropy=self.segment.rng.randbytes)
        self.core.set_gateways({1: Gateway(GATEWAY)}, now=self.now)
        self.core.set_interfaces([self.view], now=self.now)
        self.states: dict[IPv4Address, tuple[State, bytes]] = {}
        """State and holder of each claim, as of its last change."""
        self.members: dict[str, MemberView] = {}
        self.ability = Ability(JoinTiming().able_again_s)
        self.joined = False
        self.since = self.now
        self.decider = Decider(node=self.name, order=Order.CURRENT)
        self.decider.set_members((), "")
        self.segment.api.look(self.decider)
        self.knew: dict[Address, float] = {}
        """Since when this node has known of another owner of each address, or was one itself."""
        self.behind = 0
        """Changes at the API server that this node has not heard of."""
        self.read_at: dict[str, float] = {}
        """When the last of them arrives, for each kind of object."""
        self.responder = FakeResponder(self)
        self.claims = Claims(self.name, cast("Responder", self.responder))
        self.waiting: list[Callable[[], None]] = []
        self.queue: list[bytes] = []
        self._answers: dict[IPv4Address, bool] = {}
        self.commands: list[Command] = []
        self.asked_gateway: list[float] = []
        """When the gateway was asked since it was heard last."""
        self.wake_at: float | None = None
        self.claims.introduce(())
        self._renew(self.life)

    def stop(self) -> None:
        """All processes of the node are gone."""
        self.up = False
        self.life = object()

    # The deciding half

    def _renew(self, life: object) -> None:
        if life is self.life and self.up:
            if not self.hung and not self.stalled:
                self.command(Renew(self.responder.epoch, self.now))
            self.segment.at(RENEW_S, partial(self._renew, life))

    def think(self, thought: Callable[[], None]) -> None:
        """Something reaches the deciding half, which may stand still."""
        if self.hung or self.stalled:
            self.waiting.append(thought)
        elif self.up:
            thought()

    @property
    def meta(self) -> bytes:
        """What this node says of itself in the ring."""
        return our_meta(eligible=self.ability.able)

    def sees(self, seen: MemberView) -> None:
        """The ring tells of another member."""
        if self.members.get(seen.name) != seen:
            self.members[seen.name] = seen
            self.claims.member_changed(seen)
            self.decide()

    def set_able(self, able: bool) -> None:
        """As the ring keeper does."""
        if self.ability.told(able, self.now, others=self.decider.others_may_own()):
            self._say_able()
        elif self.ability.again_at is not None:
            self.segment.at(
                self.ability.again_at - self.now, partial(self.think, partial(self._look, self.life))
            )

    def _look(self, life: object) -> None:
        if life is self.life and self.ability.look(self.now, others=self.decider.others_may_own()):
            self._say_able()

    def _say_able(self) -> None:
        self.segment.able_changed(self)
        self.decide()

    def learn(self, change: Change) -> None:
        """The API server tells of a change."""
        self.behind -= 1
        change.apply(self.decider)
        self.decide()

    def join(self) -> None:
        """The first contact with the ring is complete."""
        self.joined = True
        self.since = self.now
        self.decide()

    def decide(self) -> None:
        """Elect over the own view and tell the claims what changed."""
        if not self.joined or self.leaving:
            return
        live = {name for name, seen in self.members.items() if may_own(seen)}
        self.decider.set_members(live | {self.name} if self.ability.able else live, "")
        while self.decider.pending:
            decisions = self.decider.take(self.now)
            for change in decisions.owner_changes:
                if change.owner is None:
                    self.segment.given_up(change.ip)
                elif change.owner != self.name:
                    self.knew.setdefault(change.ip, self.now)
            self.claims.decided(decisions, self.decider.table, self.decider.owner)
        self._look(self.life)

    def asks(self, said: ArpFrame) -> None:
        """A frame of this node leaves; it may ask for the gateway, in its own name and not in that of an address."""
        if said.target_ip == GATEWAY and said.sender_ip == self.view.addresses[0].packed:
            self.asked_gateway.append(self.now)

    def leave(self) -> None:
        """SIGTERM: hand everything over; the ring says goodbye for us."""
        self.leaving = True
        self.claims.leave()

    # The responder process

    def command(self, command: Command) -> None:
        if self.stalled:
            self.commands.append(command)
        else:
            self.core.observe(self.now)
            self.core.receive_command(command, now=self.now)
            self.follow()

    def receive(self, frame: bytes) -> None:
        if self.stalled:
            self.queue.append(frame)
        elif self.up:
            self._take(frame)
            self.follow()

    def _take(self, frame: bytes) -> None:
        reply = self.core.receive_frame(1, frame, foreign=False, now=self.now)
        if reply is not None:
            self.core.reply_sent(1, frame, success=True)
            self.segment.send(self, reply)

    def wake(self, life: object, due: float) -> None:
        if life is self.life and self.up and not self.stalled and self.wake_at == due:
            self.wake_at = None
            self.core.observe(self.now)
            self.core.handle_timer(self.now)
            self.follow()

    def resume(self) -> None:
        """The process runs again: what waited comes first, in the order of the real process."""
        if not self.up:
            return
        self.stalled = False
        self.core.observe(self.now)
        for command in self.commands:
            self.core.receive_command(command, now=self.now)
        self.commands.clear()
        for frame in self.queue:
            self._take(frame)
        self.queue.clear()
        self.core.resume(self.now)
        self.follow()
        self.go_on()

    def go_on(self) -> None:
        """The deciding half runs again."""
        self.hung = False
        waiting, self.waiting = self.waiting, []
        for thought in waiting:
            self.think(thought)

    def follow(self) -> None:
        self._answers.clear()
        for _, frame in self.core.take_questions():
            self.segment.send(self, frame)
        for due, frame in self.core.take_frames(self.now):
            self.segment.send(self, frame)
            self.core.frame_sent(due, success=True, now=self.now)
        for event in self.core.take_outputs():
            if isinstance(event, LeaseExpired):
                self.states.clear()
            elif isinstance(event, ClaimChanged):
                self.states[event.address] = (event.state, event.holder)
            self.think(partial(self._hear, event))
        due_at = min(self.core.next_deadline() or self.now + TICK_S, self.now + TICK_S)
        due_at = max(due_at, self.now + WAKE_S)
        if self.wake_at is None or due_at < self.wake_at or self.wake_at <= self.now:
            self.wake_at = due_at
            self.segment.at(due_at - self.now, partial(self.wake, self.life, due_at))

    def _hear(self, event: ResponderEvent) -> None:
        if isinstance(event, LeaseExpired):
            self.responder.epoch = event.epoch
            self.claims.own_again()
        elif isinstance(event, ClaimChanged):
            self.claims.changed(event, self.now)
            self.segment.note(self.name, event)
            if event.state is State.CONFLICTED:
                self.segment.conflicted(self, event.address)
        elif isinstance(event, Announced):
            self.decider.announced(event.address)
            self.knew.setdefault(event.address, self.now)
        elif isinstance(event, LinkProven):
            self.set_able(event.proven)
            self.segment.note(self.name, event)

    def answers(self, address: IPv4Address) -> bool:
        """Whether a request that arrives now would be answered. The core is not asked again before something has reached
        it: what it does by its clock has woken it up."""
        if not self.up or self.stalled:
            return False
        if address not in self._answers:
            asked = question(address)
            self._answers[address] = (
                self.core.receive_frame(1, asked, foreign=False, now=self.now) is not None
            )
        return self._answers[address]


@cache
def question(address: IPv4Address) -> bytes:
    """A request of the gateway's."""
    return ArpFrame(
        arp.BROADCAST, GATEWAY_MAC, arp.REQUEST, GATEWAY_MAC, GATEWAY, bytes(6), address.packed
    ).encode()
