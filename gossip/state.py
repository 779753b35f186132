"""The table of members and the rules by which it changes (memberlist state.go; SWIM; Lifeguard).

In one line: an alive beats only a lower incarnation, suspect and dead win at an equal or lower one, and only the
member itself raises its number.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from gossip.address import Endpoint, display, is_address, packed
from gossip.awareness import Awareness
from gossip.config import META_MAX_SIZE
from gossip.context import Context
from gossip.errors import RejectReason, UsageError
from gossip.member import Member, MemberState, MemberView, Versions
from gossip.messages import UINT32_MAX, Alive, Dead, NodeState, Suspect, encode
from gossip.meta import is_ours
from gossip.outputs import (
    LeaveDone,
    MemberAlive,
    MemberDead,
    MemberJoined,
    MemberLeft,
    MemberSuspect,
    MemberUpdated,
    Refuted,
)
from gossip.queue import BroadcastQueue
from gossip.suspicion import Suspicion
from gossip.timers import TimerKind

_FORMER_MAX: Final = 1024
"""Forgotten members whose addresses are kept for a later join."""


class Membership:
    """Who is in the ring, as this node believes."""

    def __init__(
        self,
        context: Context,
        queue: BroadcastQueue,
        awareness: Awareness,
        *,
        name: str,
        advertise: Endpoint,
        meta: bytes,
        now: float,
    ) -> None:
        self._context = context
        self._queue = queue
        self._awareness = awareness
        self.members: dict[str, Member] = {}
        self.order: list[Member] = []
        """Every member in random order: probing walks it, gossip draws from it."""
        self.former: OrderedDict[str, MemberView] = OrderedDict()
        """Members that died and were forgotten, the latest last."""
        self.leaving = False
        self._goodbye_unsaid = False
        self._forgotten: OrderedDict[str, int] = OrderedDict()
        """Last incarnation of members that died or left and were forgotten."""
        self.on_return: Callable[[Alive, Endpoint, Endpoint, float], None] | None = None
        """Told of a forgotten member that is said to live at an incarnation that it already had: what was said, where
        it is said to be, and who said so."""
        self.on_change: Callable[[Member, float], None] | None = None
        """Told of each member, with the time, that came to life, died, left, or has another meta or address."""
        self._meta_since = now - context.config.meta_min_interval_s
        self._meta_wanted: bytes | None = None

        self.me = Member(name, packed(advertise.host), advertise.port, context.config.versions, now)
        self.me.meta = checked_meta(meta)
        self.me.state = MemberState.ALIVE
        self.me.incarnation = 1
        self._insert(self.me)
        self._announce_self(name)

    def sizes(self) -> dict[str, int]:
        """What is held of members, by what it counts."""
        return {
            "members": len(self.order),
            "former members": len(self.former),
            "forgotten members": len(self._forgotten),
            "suspicions": sum(member.suspicion is not None for member in self.order),
        }

    def alive(self, message: Alive, source: Endpoint, now: float, *, proven: bool = False) -> None:
        """A member is said to be alive; `proven` when it has answered us since."""
        name = message.node
        if name == self.me.name and self.leaving:
            return
        vsn = message.vsn
        # Upstream stores shorter ones as zeros, and every exchange of state then fails wherever such a member is known.
        if len(vsn) != 6 or not vsn[0] or not vsn[1] or vsn[0] > vsn[1]:
            self._context.reject(
                source, RejectReason.INCOMPATIBLE, f"{name}: versions {vsn.hex() or 'none'}", now
            )
            return
        if name == self.me.name:
            self._alive_about_me(message, source, now)
            return
        port = message.port or self.me.port
        member = self.members.get(name)
        moved = False
        if member is None:
            if not proven and self._is_old_news(message, port, source, now):
                return
            member = self._new_member(message, port, source, now)
            if member is None:
                return
        elif (member.addr, member.port) != (message.addr, port):
            moved = self._may_move(member, message.meta, now) and is_address(message.addr)
            if not moved:
                self._reject_conflict(member, message.addr, port, source, now)
                return
        if not moved and message.incarnation <= member.incarnation:
            return
        self._stop_suspicion(member)
        self._queue.put(name, encode(message))
        self._become_alive(member, message, port, now)

    def _is_old_news(self, message: Alive, port: int, source: Endpoint, now: float) -> bool:
        last = self._forgotten.get(message.node)
        if last is None or message.incarnation > last or not is_address(message.addr):
            return False
        if self.on_return is not None and message.incarnation:
            self.on_return(message, Endpoint(display(message.addr), port), source, now)
        return True

    def suspect(self, message: Suspect, now: float) -> None:
        """A member is said not to answer."""
        member = self.members.get(message.node)
        if member is None or message.incarnation < member.incarnation:
            return
        if member.suspicion is not None:
            if member.suspicion.confirm(message.accuser):
                self._context.timers.set((TimerKind.SUSPICION, member.name), member.suspicion.deadline)
                self._queue.put(member.name, encode(message))
            return
        if member.state is not MemberState.ALIVE:
            return
        if member is self.me:
            self._refute(message.incarnation, message.accuser)
            return
        self._queue.put(member.name, encode(message))
        member.incarnation = message.incarnation
        member.state = MemberState.SUSPECT
        member.since = now
        member.suspicion = Suspicion(message.accuser, self._context.config, len(self.order), now)
        self._context.timers.set((TimerKind.SUSPICION, member.name), member.suspicion.deadline)
        self._context.counters.suspicions += 1
        self._context.emit(MemberSuspect(member.view(), message.accuser))

    def dead(self, message: Dead, now: float, *, gossip: bool = True) -> None:
        """A member is said to be dead, or by itself to have left; `gossip` tells whether the word is passed on."""
        member = self.members.get(message.node)
        if member is None or message.incarnation < member.incarnation:
            return
        self._stop_suspicion(member)
        if not member.state.present:
            return
        left = message.accuser == message.node
        if member is self.me:
            if not self.leaving:
                self._refute(message.incarnation, message.accuser)
                return
            self._queue.put(member.name, encode(message), on_done=self._goodbye_said)
        elif gossip:
            self._queue.put(member.name, encode(message))
        member.incarnation = message.incarnation
        member.state = MemberState.LEFT if left else MemberState.DEAD
        member.since = now
        if member is self.me:
            return
        self._changed(member, now)
        if left:
            self._context.emit(MemberLeft(member.view()))
        else:
            self._context.counters.deaths += 1
            self._context.emit(MemberDead(member.view(), message.accuser))

    def merge(self, states: Sequence[NodeState], source: Endpoint, now: float) -> str | None:
        """Take in a pushed table; None, or why the whole of it was refused."""
        fault = self._version_fault(states)
        if fault is not None:
            self._context.reject(source, RejectReason.INCOMPATIBLE, fault, now)
            return fault
        for state in states:
            if state.state == MemberState.ALIVE:
                self.alive(
                    Alive(state.incarnation, state.name, state.addr, state.port, state.meta, state.vsn),
                    source,
                    now,
                )
            elif state.state == MemberState.LEFT:
                self.dead(Dead(state.incarnation, state.name, state.name), now)
            else:
                # A pushed death is only hearsay: the member gets its time to refute.
                self.suspect(Suspect(state.incarnation, state.name, self.me.name), now)
        return None

    def assume(self, states: Sequence[NodeState], now: float) -> None:
        """Insert members that are unknown here as alive, with no event and no word to others."""
        for state in states:
            if state.name in self.members:
                continue
            member = Member(state.name, state.addr, state.port, Versions.decode(state.vsn), now)
            member.meta = state.meta
            member.incarnation = state.incarnation
            member.state = MemberState.ALIVE
            self._insert(member)
            self._changed(member, now)

    def suspicion_expired(self, name: str, now: float) -> None:
        """The time to refute is over."""
        member = self.members.get(name)
        if member is None or member.suspicion is None or now < member.suspicion.deadline:
            return
        self.dead(Dead(member.incarnation, name, self.me.name), now)

    def set_meta(self, meta: bytes, now: float) -> None:
        """Announce another meta, now or as soon as the least interval between two is over."""
        self._meta_wanted = checked_meta(meta)
        self.meta_due(now)

    def meta_due(self, now: float) -> None:
        """Announce the wanted meta if it is time."""
        wanted = self._meta_wanted
        if self.leaving:
            return  # `come_back` announces it.
        if wanted is None or wanted == self.me.meta:
            self._meta_wanted = None
            return
        due = self._meta_since + self._context.config.meta_min_interval_s
        if now < due:
            self._context.timers.set((TimerKind.META, 0), due)
            return
        self._meta_wanted = None
        self._meta_since = now
        self.me.meta = wanted
        self.me.incarnation = min(self.me.incarnation + 1, UINT32_MAX)
        self._announce_self(self.me.name)

    def leave(self, now: float) -> None:
        """Say goodbye. `LeaveDone` follows at once where nobody else is alive."""
        if self.leaving:
            return
        self.leaving = self._goodbye_unsaid = True
        self.dead(Dead(self.me.incarnation, self.me.name, self.me.name), now)
        if not any(member.state.present for member in self.order if member is not self.me):
            self._goodbye_said()

    def _goodbye_said(self) -> None:
        # Told once: nobody was there to hear it, or it went through the queue, out of which a return of our own pushes it unspread.
        if self._goodbye_unsaid:
            self._goodbye_unsaid = False
            self._context.emit(LeaveDone())

    def come_back(self, now: float) -> None:
        """Be alive again after a goodbye, above its incarnation and with the meta that was wanted last."""
        me = self.me
        self.leaving = self._goodbye_unsaid = False
        me.state = MemberState.ALIVE
        me.since = now
        me.incarnation = min(me.incarnation + 1, UINT32_MAX)
        if self._meta_wanted is not None:
            me.meta, self._meta_wanted, self._meta_since = self._meta_wanted, None, now
        self._announce_self(me.name)

    def forget_dead(self, now: float) -> None:
        """Drop members that were dead or left for long enough."""
        horizon = now - self._context.config.gossip_to_the_dead_time_s
        stale = [member for member in self.order if not member.state.present and member.since < horizon]
        for member in stale:
            if member is self.me:
                continue
            del self.members[member.name]
            self.order.remove(member)
            self._forgotten[member.name] = member.incarnation
            if len(self._forgotten) > _FORMER_MAX:
                self._forgotten.popitem(last=False)
            if member.state is MemberState.DEAD:
                self.former[member.name] = member.view()
                if len(self.former) > _FORMER_MAX:
                    self.former.popitem(last=False)

    def pick(self, count: int, wanted: Callable[[Member], bool]) -> list[Member]:
        """Up to `count` distinct random members that are wanted; may find fewer than there are in a large ring."""
        order, rng = self.order, self._context.rng
        total = len(order)
        if total < 3 * count:
            return [member for member in rng.sample(order, total) if wanted(member)][:count]
        picked: list[Member] = []
        for _ in range(3 * total):
            if len(picked) >= count:
                break
            member = order[int(rng.random() * total)]
            if member not in picked and wanted(member):
                picked.append(member)
        return picked

    def states(self) -> list[NodeState]:
        """The whole table for a push/pull."""
        return [
            NodeState(
                member.name,
                member.addr,
                member.port,
                member.meta,
                member.incarnation,
                int(member.state),
                member.versions.encode(),
            )
            for member in self.order
        ]

    def views(self) -> Mapping[str, MemberView]:
        """A frozen copy of the table."""
        return {name: member.view() for name, member in self.members.items()}

    def _alive_about_me(self, message: Alive, source: Endpoint, now: float) -> None:
        me = self.me
        port = message.port or me.port
        if (me.addr, me.port) != (message.addr, port):
            self._reject_conflict(me, message.addr, port, source, now)
            return
        if message.incarnation < me.incarnation:
            return
        same = (message.incarnation, message.meta) == (me.incarnation, me.meta)
        if same and message.vsn == me.versions.encode():
            return
        self._refute(message.incarnation, "")

    def _new_member(self, message: Alive, port: int, source: Endpoint, now: float) -> Member | None:
        config = self._context.config
        if not is_address(message.addr) or not message.incarnation or not message.node:
            detail = f"{message.node!r}: alive needs a name, an address and an incarnation above 0"
            self._context.reject(source, RejectReason.MALFORMED, detail, now)
            return None
        if len(self.order) >= config.max_members:
            self._context.reject(source, RejectReason.TABLE_FULL, f"{config.max_members} members", now)
            return None
        member = Member(message.node, message.addr, port, Versions.decode(message.vsn), now)
        self._insert(member)
        return member

    def _insert(self, member: Member) -> None:
        """Put a member at a random place, so that newcomers are not probed by everyone in the same order."""
        self.members[member.name] = member
        self.order.append(member)
        place = self._context.rng.randrange(len(self.order))
        self.order[place], self.order[-1] = self.order[-1], self.order[place]

    def _become_alive(self, member: Member, message: Alive, port: int, now: float) -> None:
        before, meta_before = member.state, member.meta
        member.versions = Versions.decode(message.vsn)
        member.incarnation = message.incarnation
        member.meta = message.meta
        if (member.addr, member.port) != (message.addr, port):
            member.move(message.addr, port)
        if before is not MemberState.ALIVE:
            member.state = MemberState.ALIVE
            member.since = now
        self._changed(member, now)
        if not before.present:
            self.former.pop(member.name, None)
            self._forgotten.pop(member.name, None)
            self._context.emit(MemberJoined(member.view()))
            return
        if before is MemberState.SUSPECT:
            self._context.emit(MemberAlive(member.view()))
        if member.meta != meta_before:
            self._context.emit(MemberUpdated(member.view()))

    def _may_move(self, member: Member, meta: bytes, now: float) -> bool:
        if member.state is MemberState.LEFT:
            return True
        config = self._context.config
        reclaim = config.dead_node_reclaim_time_s
        if config.fast_lane is not None and is_ours(member.meta) and is_ours(meta):
            reclaim = min(reclaim or config.fast_lane.reclaim_s, config.fast_lane.reclaim_s)
        return member.state is MemberState.DEAD and reclaim > 0 and now - member.since > reclaim

    def _changed(self, member: Member, now: float) -> None:
        if self.on_change is not None:
            self.on_change(member, now)

    def _reject_conflict(self, member: Member, addr: bytes, port: int, source: Endpoint, now: float) -> None:
        other = Endpoint(display(addr), port).text
        detail = f"{member.name} is at {member.endpoint.text}, announced at {other}"
        self._context.reject(source, RejectReason.CONFLICT, detail, now)

    def _stop_suspicion(self, member: Member) -> None:
        if member.suspicion is not None:
            member.suspicion = None
            self._context.timers.cancel((TimerKind.SUSPICION, member.name))

    def _refute(self, incarnation: int, accuser: str) -> None:
        me = self.me
        me.incarnation = min(max(me.incarnation, incarnation) + 1, UINT32_MAX)
        self._awareness.apply(1)
        self._context.counters.refutations += 1
        # Queued by our address, not our name, so that it displaces no other message about us (memberlist state.go).
        self._announce_self(me.endpoint.host)
        self._context.emit(Refuted(me.incarnation, accuser))

    def own_alive(self) -> bytes:
        """What this node says of itself, as a message."""
        me = self.me
        return encode(Alive(me.incarnation, me.name, me.addr, me.port, me.meta, me.versions.encode()))

    def _announce_self(self, key: str) -> None:
        self._queue.put(key, self.own_alive())

    def _version_fault(self, states: Sequence[NodeState]) -> str | None:
        """Whether all tables together could agree on versions (memberlist state.go, verifyProtocol)."""
        tables = [(state.name, state.state, state.vsn) for state in states]
        tables += [(member.name, int(member.state), member.versions.encode()) for member in self.order]
        alive = [vsn for _, state, vsn in tables if len(vsn) >= 5 and state == MemberState.ALIVE]
        low = max((vsn[0] for vsn in alive), default=0), max((vsn[3] for vsn in alive), default=0)
        high = min((vsn[1] for vsn in alive), default=255), min((vsn[4] for vsn in alive), default=255)
        for name, _, vsn in tables:
            current = (vsn[2], vsn[5]) if len(vsn) >= 6 else (0, 0)
            for which, version, least, most in zip(("protocol", "delegate"), current, low, high, strict=True):
                if not least <= version <= most:
                    return f"{name}: {which} version {version} is outside of {least} to {most}"
        return None


def checked_meta(meta: bytes) -> bytes:
    """The same bytes.

    Raises:
        UsageError: more than 512 bytes.
    """
    if len(meta) > META_MAX_SIZE:
        raise UsageError(f"meta: {len(meta)} bytes; {META_MAX_SIZE} are allowed")
    return meta
