"""The fast lane: a dead member is found in about half a second, in a ring of three or of a thousand.

Each member is asked by the next three of ours in the order of the hashes of their names, ten times a second. What
speaks against a silence being a death is looked for before anybody is accused: a relay, the wire, TCP, our own link,
our own lateness, the member's past silences. Two that tried it themselves decide, and tell all others directly.
Ordinary probing goes on underneath, so the lane can only be faster. Members without our Meta are not watched; they hear
ordinary suspicions and decide by their own timers.
"""

from itertools import islice
from typing import Final

from gossip.address import Endpoint
from gossip.circle import Circle, is_later
from gossip.context import Context
from gossip.direct import Direct
from gossip.exchange import Exchanges
from gossip.fastconfig import MISSES_MAX, FastLaneConfig
from gossip.healing import Healing
from gossip.member import Member, MemberState
from gossip.messages import Dead, IndirectPing, Ping, Suspect, encode
from gossip.meta import Meta, is_ours
from gossip.outputs import MemberDoubtful, StreamPurpose
from gossip.patience import Lateness, Silences
from gossip.questions import Questions, Way
from gossip.rhythm import Rhythm
from gossip.state import Membership
from gossip.timers import TimerKind
from gossip.transmit import Transmitter
from gossip.watch import Watch, WireAnswer

_WATCHERS: Final = 3
_RELAYS: Final = 2

_BEYOND: Final = 2
"""Further members asked at each of a member's first two misses: when half a rack dies, nobody waits in line."""

_EXTRA_MAX: Final = 32
"""Members asked at once beyond those this node watches."""

_FRESH: Final = 3
"""Paces for which a sign of life counts: for being asked to agree, and as proof of our own link."""

_WORD: Final = 5
"""Paces for which an accusation by another member counts; it repeats it every pace."""

_PASTS_MAX: Final = 256


class FastLane:
    """Watching, accusing and declaring dead, for one node."""

    def __init__(
        self,
        config: FastLaneConfig,
        context: Context,
        transmitter: Transmitter,
        membership: Membership,
        exchanges: Exchanges,
    ) -> None:
        self._config = config
        self._context = context
        self._transmitter = transmitter
        self._membership = membership
        self._exchanges = exchanges
        self._me = membership.me
        self._questions = Questions(context)
        self._circle = Circle()
        self._circle.add(self._me.name)
        self._plain = Circle()
        self._plain.add(self._me.name)
        self._targets: frozenset[str] = frozenset()
        self._chosen = True
        self._watches: dict[str, Watch] = {}
        self._pasts: dict[str, Silences] = {}
        self._heard: dict[str, float] = {}
        self._last_ack: tuple[str, float] = ("", float("-inf"))
        self._other_ack: tuple[str, float] = ("", float("-inf"))
        self._wire_proof = float("-inf")
        self._refuted_at = float("-inf")
        self._rhythm = Rhythm(config.pace_s, context.rng)
        self._lateness = Lateness(config.pace_s)
        self._direct = Direct(context, transmitter, config.pace_s)
        self._healing = Healing(context, transmitter, membership, exchanges, self._questions)

    def sizes(self) -> dict[str, int]:
        """What is held of the lane, by what it counts."""
        return {
            "watches": len(self._watches),
            "open questions": len(self._questions),
            "silences": len(self._pasts),
            "members heard": len(self._heard),
            "members asked after": len(self._healing),
            "direct messages": len(self._direct),
        }

    # What the node tells

    def changed(self, member: Member, now: float) -> None:
        """A member came, went, or has another state, meta or address."""
        name = member.name
        if member is self._me:
            return
        if member.state.present:
            self._healing.taken(member.endpoint, name)
        if member.state.present and is_ours(member.meta):
            self._plain.remove(name)
            self._returned(member, now)
            if name not in self._circle:
                self._circle.add(name)
                self._chosen = False
            self._begin(now)
            return
        if member.state.present:
            self._plain.add(name)
        else:
            self._plain.remove(name)
        watched = False
        if name in self._circle:
            self._circle.remove(name)
            self._heard.pop(name, None)
            self._chosen = False
            watched = self._watches.pop(name, None) is not None
        if member.state is not MemberState.DEAD:
            self._healing.remove(name)
        elif watched or self._asks_after(name):
            self._healing.add(member, now)

    def _begin(self, now: float) -> None:
        timers = self._context.timers
        if (TimerKind.FAST_TICK, 0) not in timers and not self._membership.leaving:
            timers.set((TimerKind.FAST_TICK, 0), self._rhythm.begin(now))

    def come_back(self, now: float) -> None:
        """This node is a member again: watch and heal from now on. Questions from before the goodbye prove nothing."""
        self._watches.clear()
        self._chosen = False
        self._begin(now)
        self._healing.begin(now)

    def fire(self, kind: TimerKind, due: float, now: float) -> None:
        """A deadline of the lane has come."""
        if kind is TimerKind.FAST_TICK:
            self._tick(due, now)
        elif kind is TimerKind.DIRECT:
            self._direct.due(now)
        elif not self._membership.leaving:
            self._healing.due(now)

    def _tick(self, due: float, now: float) -> None:
        """A pace is over: see who did not answer, and ask again."""
        if self._membership.leaving:
            return
        pace = self._config.pace_s
        late = self._lateness.tick(now - due)
        self._choose()
        for watch in list(self._watches.values()):
            if now - watch.asked_at < pace / 2:
                continue
            if watch.unanswered and not late:
                self._miss(watch, now)
            self._ask(watch, now)
            if watch.misses:
                self._judge(watch, now)
        if not self._watches:
            return
        self._context.timers.set((TimerKind.FAST_TICK, 0), self._rhythm.ticked(now))

    def acked(self, sequence: int, now: float) -> bool:
        """An ack came; False if it answers no question of the lane."""
        question = self._questions.answer(sequence)
        if question is None:
            return False
        name, way = question
        if way is Way.HEAL:
            self._healing.acked(name, now)
            return True
        if way is Way.BY_RELAY:
            if (watch := self._watches.get(name)) is not None:
                self._vouch(watch)
        else:
            self._answered(name, now)
        return True

    def tcp_answered(self, sequence: int) -> bool:
        """A ping was answered by TCP; False if it is no question of the lane."""
        question = self._questions.answer(sequence)
        if question is None:
            return False
        watch = self._watches.get(question[0])
        if watch is not None:
            self._vouch(watch)
        return True

    def probed(self, name: str, now: float, *, direct: bool) -> None:
        """An ordinary probe of a member was answered: by itself, which is as good as an answer to a question of the lane,
        or perhaps by a relay, which vouches for it. The latter says nothing of the way between the two, so it is not heard
        by that, nor is our own link proven: it is no more than what the lane's own relays say."""
        if direct:
            self._answered(name, now)
        elif (watch := self._watches.get(name)) is not None:
            self._vouch(watch)

    def _answered(self, name: str, now: float) -> None:
        """A member answered a question of ours itself, so it lives, and our own link works both ways."""
        if self._last_ack[0] != name:
            self._other_ack = self._last_ack
        self._last_ack = name, now
        self.heard(name, now)
        watch = self._watches.get(name)
        if watch is None:
            return
        silence = watch.answered(now)
        if silence is not None:
            self._past(name, now).ended(max(1, int(silence / self._config.pace_s)), now)
        if name not in self._targets:
            del self._watches[name]

    def asked(self, name: str, now: float) -> None:
        """A member that watches this one has asked it."""
        self.heard(name, now)
        # Only those later in the order are followed, and so nobody follows himself by way of others: members that chase
        # each other round the circle may never meet.
        due = self._rhythm.met(now) if is_later(name, self._me.name) else None
        if due is None or (TimerKind.FAST_TICK, 0) not in self._context.timers:
            return
        # A question has its whole pace to be answered; the answer may wait in the socket behind this ping.
        if not any(watch.unanswered for watch in self._watches.values()):
            self._tick(due, now)

    def heard(self, name: str, now: float) -> None:
        """A member answered, or asked us something."""
        if name in self._circle:
            self._heard[name] = now

    def watchers(self, name: str) -> tuple[str, ...]:
        """Who watches a member of ours, the next one after it first; empty for any other."""
        if name not in self._circle:
            return ()
        return tuple(islice(self._circle.after(name), _WATCHERS))

    def watched_by(self, name: str) -> bool:
        """Whether this member's pings come at the lane's pace."""
        return name in self._circle.next_after(self._me.name, _WATCHERS)

    def accused(self, message: Suspect, source: Endpoint, now: float) -> None:
        """A suspicion came. Counts only from an accuser of ours itself: gossip is no second opinion."""
        accuser = self._of_ours(message.accuser, source)
        member = self._membership.members.get(message.node)
        if accuser is None or member is None or member is self._me:
            return
        if member.state is MemberState.DEAD:
            if message.incarnation <= member.incarnation:
                verdict = Dead(member.incarnation, member.name, self._me.name)
                self._transmitter.send_together(accuser, [encode(verdict)])
            return
        if member.name not in self._circle or message.incarnation < member.incarnation:
            return
        watch = self._watch(member.name, now)
        if watch is not None:
            watch.accusers[accuser.name] = now
            # Our own accusation may be old by now, and our link gone since. The next tick looks again.
            if watch.accused and self._link_proven(watch, now):
                self._conclude(watch, self._jury(watch.name, now), now)

    def secret(self, message: Dead, source: Endpoint) -> bool:
        """Whether this verdict must not be gossiped on: plain members, who take over without asking, would hear it."""
        return (
            self._among_plain
            and message.node in self._circle
            and message.node != message.accuser
            and self._of_ours(message.accuser, source) is not None
        )

    def refute(self, news: bytes, now: float) -> None:
        """This node was accused and has a higher incarnation: all of ours are told at once, where it is not for the
        second time within a pace (gossip tells them then, and an accuser cannot make us shout)."""
        if now - self._refuted_at >= self._config.pace_s:
            self._refuted_at = now
            self._direct.tell(self._others(), news, now)

    def wire_evidence(self, name: str, answer: WireAnswer, *, own_link_proven: bool, now: float) -> None:
        """The application asked on the wire."""
        if own_link_proven:
            self._wire_proof = now
        watch = self._watches.get(name)
        if watch is None or not watch.doubtful:
            return
        watch.wire = answer
        if answer is WireAnswer.ANSWERED:
            self._vouch(watch)

    def give_up(self, name: str) -> None:
        """A member that died will not come back."""
        self._healing.remove(name)

    # Watching

    def _choose(self) -> None:
        """Watch the three before us; whoever is beyond them and has answered need not be asked any more."""
        if self._chosen:
            return
        self._chosen = True
        before = list(islice(self._circle.before(self._me.name), _WATCHERS))
        self._targets = frozenset(before)
        # In their own order: that of a set differs from run to run, and a simulation has to replay from its seed.
        for name in before:
            self._watches.setdefault(name, Watch(name))
        for name in [name for name, watch in self._watches.items() if not watch.unanswered]:
            if name not in self._targets:
                del self._watches[name]

    def _watch(self, name: str, now: float) -> Watch | None:
        """The watch of a member, begun at once if there is none and not too many are."""
        watch = self._watches.get(name)
        if watch is None and len(self._watches) < _WATCHERS + _EXTRA_MAX:
            watch = self._watches[name] = Watch(name)
            self._ask(watch, now)
        return watch

    def _ask(self, watch: Watch, now: float) -> None:
        member = self._membership.members.get(watch.name)
        if member is None or not member.state.present:
            return
        watch.asked_at = now
        ping = self._ping(member, Way.DIRECT, now)
        if watch.accused:
            # The accused learns of it with the question, and so refutes as soon as it can.
            accusation = Suspect(member.incarnation, member.name, self._me.name)
            self._transmitter.send_together(member, [encode(ping), encode(accusation)])
        else:
            self._transmitter.send_alone(member.endpoint, encode(ping))

    def _ping(self, member: Member, way: Way, now: float) -> Ping:
        me = self._me
        return Ping(self._questions.ask(member.name, way, now), member.name, me.addr, me.port, me.name)

    def _miss(self, watch: Watch, now: float) -> None:
        if not watch.doubtful:
            self._context.counters.doubts += 1
        watch.missed(now)
        if watch.misses > MISSES_MAX:
            return
        member = self._membership.members[watch.name]
        if watch.misses <= 2:
            self._reach_beyond(now)
        self._ask_relays(member, now)
        if watch.misses == self._config.misses_without_wire // 2 and watch.wire is WireAnswer.NO_WIRE:
            wait_s = self._config.pace_s * self._config.misses_without_wire
            ping = self._ping(member, Way.BY_TCP, now)
            self._exchanges.open(StreamPurpose.PING, member.endpoint, now, timeout_s=wait_s, ping=ping)
        self._context.emit(MemberDoubtful(member.view(), watch.misses))

    def _reach_beyond(self, now: float) -> None:
        """Begin with the next members beyond those already asked."""
        begun = 0
        for name in self._circle.before(self._me.name):
            if name not in self._watches:
                if begun == _BEYOND or self._watch(name, now) is None:
                    return
                begun += 1

    def _ask_relays(self, member: Member, now: float) -> None:
        me = self._me
        relays = self._membership.pick(
            _RELAYS,
            lambda other: (
                other.state is MemberState.ALIVE
                and other is not me
                and other is not member
                and not (other.name in self._watches and self._watches[other.name].doubtful)
            ),
        )
        for relay in relays:
            sequence = self._questions.ask(member.name, Way.BY_RELAY, now)
            request = IndirectPing(
                sequence, member.addr, member.port, member.name, False, me.addr, me.port, me.name
            )
            self._transmitter.send_alone(relay.endpoint, encode(request))

    def _vouch(self, watch: Watch) -> None:
        if watch.misses:
            self._context.counters.vetoes += 1
        watch.vouched()
        if watch.name not in self._targets:
            del self._watches[watch.name]

    # Judging

    def _judge(self, watch: Watch, now: float) -> None:
        """Accuse a member that was silent for long enough, and declare it dead where others agree."""
        if watch.misses < self._needed(watch, now):
            return
        if not self._link_proven(watch, now):
            if not watch.unproven:
                watch.unproven = True
                self._context.counters.vetoes += 1
            return
        member = self._membership.members[watch.name]
        accusation = Suspect(member.incarnation, member.name, self._me.name)
        if not watch.accused:
            watch.accused = True
            self._membership.suspect(accusation, now)
        jury = self._jury(watch.name, now)
        for other in jury:
            self._transmitter.send_together(other, [encode(accusation)])
        self._conclude(watch, jury, now)

    def _needed(self, watch: Watch, now: float) -> int:
        """Misses in a row after which the member is accused."""
        config = self._config
        base = config.misses if watch.wire is WireAnswer.SILENT else config.misses_without_wire
        past = self._pasts.get(watch.name)
        longest = past.longest(now) if past is not None else 0
        return min(MISSES_MAX, max(base, 2 * longest)) * self._lateness.stretch

    def _link_proven(self, watch: Watch, now: float) -> bool:
        """Whether somebody else answered us since the doubt began, and just lately."""
        assert watch.doubted_at is not None
        since = max(watch.doubted_at, now - _FRESH * self._config.pace_s)
        ack = self._other_ack if self._last_ack[0] == watch.name else self._last_ack
        return ack[1] >= since or self._wire_proof >= since

    def _jury(self, name: str, now: float) -> list[Member]:
        """The next members after this one that were heard just lately; silent ones have no say."""
        horizon = now - _FRESH * self._config.pace_s
        jury: list[Member] = []
        for other in self._circle.after(name):
            if other != self._me.name and self._heard.get(other, horizon - 1) >= horizon:
                jury.append(self._membership.members[other])
                if len(jury) == _WATCHERS:
                    break
        return jury

    def _conclude(self, watch: Watch, jury: list[Member], now: float) -> None:
        horizon = now - _WORD * self._config.pace_s
        agreeing = 1 + sum(at >= horizon for at in watch.accusers.values())
        if agreeing < min(self._config.agreement, 1 + len(jury)):
            return
        member = self._membership.members[watch.name]
        self._context.counters.verdicts += 1
        verdict = Dead(member.incarnation, member.name, self._me.name)
        # The dead is told as well: if it lives after all, it refutes. Its watchers, who come to this together, begin at
        # different places of the circle.
        recipients = self._others()
        watchers = self.watchers(watch.name)
        if self._me.name in watchers:
            start = len(recipients) * watchers.index(self._me.name) // len(watchers)
            recipients = recipients[start:] + recipients[:start]
        self._membership.dead(verdict, now, gossip=not self._among_plain)
        self._direct.tell(recipients, encode(verdict), now)

    # Members

    @property
    def _among_plain(self) -> bool:
        """Whether members that are not ours are in the ring."""
        return len(self._plain) > 1

    def _others(self) -> list[Member]:
        members = self._membership.members
        return [members[name] for name in self._circle if name != self._me.name]

    def _of_ours(self, name: str, source: Endpoint) -> Member | None:
        """A member of ours, if the packet came from its own address."""
        member = self._membership.members.get(name)
        if member is None or name not in self._circle or member.endpoint.host != source.host:
            return None
        return member

    def _asks_after(self, name: str) -> bool:
        """Whether this node is one of those that ask after a member that died, of ours or not: the next three of ours, or
        where nobody else is known for ours, of all. So few ask the same one, however large the ring is."""
        circle = self._circle if len(self._circle) > 1 else self._plain
        return self._me.name in islice(circle.after(name), _WATCHERS)

    def _past(self, name: str, now: float) -> Silences:
        if name not in self._pasts and len(self._pasts) >= _PASTS_MAX:
            self._pasts = {name: past for name, past in self._pasts.items() if past.longest(now)}
        return self._pasts.setdefault(name, Silences())

    def _returned(self, member: Member, now: float) -> None:
        """A member that we asked after lives. Where it did not start anew, the verdict was wrong."""
        dead = self._healing.remove(member.name)
        if dead is None:
            return
        before, after = Meta.decode(dead[1]), Meta.decode(member.meta)
        # One that was not ours when it died is another program now.
        restarted = before is None or (after is not None and before.instance != after.instance)
        if not restarted:
            self._context.counters.false_deaths += 1
            self._past(member.name, now).refuted(now)
