"""Probing: one member after the other is asked for a sign of life (memberlist state.go, probeNode; SWIM; Lifeguard)."""

from typing import Final

from gossip.awareness import Awareness
from gossip.context import Context
from gossip.exchange import Exchanges
from gossip.member import Member, MemberState
from gossip.messages import Ack, IndirectPing, Ping, Suspect, encode
from gossip.outputs import PingPayload, StreamPurpose
from gossip.state import Membership
from gossip.timers import TimerKind
from gossip.transmit import Transmitter

_TCP_PING_SINCE: Final = 3
"""Protocol version from which members answer a ping by TCP (memberlist state.go)."""

_NACK_SINCE: Final = 4
"""Protocol version from which relays send nacks."""


class _Probe:
    """The probe under way."""

    __slots__ = (
        "asked_at",
        "direct",
        "end",
        "incarnation",
        "member",
        "nacks",
        "nacks_due",
        "seq",
        "stream",
        "tcp_answered",
    )

    def __init__(self, member: Member, seq: int, asked_at: float, end: float) -> None:
        self.member = member
        self.asked_at = asked_at
        self.direct = True
        self.incarnation = member.incarnation
        self.seq = seq
        self.end = end
        self.nacks = 0
        self.nacks_due = 0
        self.stream: int | None = None
        self.tcp_answered = False


class Prober:
    """One probe at a time, at the pace of the probe interval."""

    def __init__(
        self,
        context: Context,
        transmitter: Transmitter,
        membership: Membership,
        awareness: Awareness,
        exchanges: Exchanges,
    ) -> None:
        self._context = context
        self._transmitter = transmitter
        self._membership = membership
        self._awareness = awareness
        self._exchanges = exchanges
        self._current: _Probe | None = None
        self._index = 0
        self._missed_tick = False

    def start(self, now: float) -> None:
        """Begin probing after a random part of the interval, so that members do not move in step."""
        stagger = self._context.rng.random() * self._context.config.probe_interval_s
        self._context.timers.set((TimerKind.PROBE_TICK, 0), now + stagger)

    def tick(self, due: float, now: float) -> None:
        """An interval is over; while a slow probe runs, one tick is kept for its end."""
        interval = self._context.config.probe_interval_s
        self._context.timers.set(
            (TimerKind.PROBE_TICK, 0), due + interval if due + interval > now else now + interval
        )
        if self._current is not None:
            self._missed_tick = True
        else:
            self._probe_next(now)

    def acked(self, ack: Ack, now: float) -> bool:
        """A direct, late or relayed ack; False if it is not for the current probe."""
        probe = self._current
        if probe is None or probe.seq != ack.seq:
            return False
        if probe.direct:
            self._measured(probe, ack, now - probe.asked_at)
        self._finish(probe, alive=True, now=now)
        return True

    def _measured(self, probe: _Probe, ack: Ack, rtt_s: float) -> None:
        probe.member.rtt_s = rtt_s
        self._context.counters.rtt.add(rtt_s)
        if ack.payload:
            self._context.emit(PingPayload(probe.member.name, rtt_s, ack.payload))

    @property
    def target(self) -> str | None:
        """Name of the member that is probed now."""
        return None if self._current is None else self._current.member.name

    @property
    def direct(self) -> bool:
        """Whether only the member itself can answer the probe so far: relays were not asked yet."""
        return self._current is not None and self._current.direct

    def nacked(self, seq: int) -> None:
        """A relay lives, but got no answer from the member either."""
        if self._current is not None and self._current.seq == seq:
            self._current.nacks += 1

    def tcp_answered(self, seq: int) -> None:
        """The member answered by TCP; that counts at the end of the probe."""
        if self._current is not None and self._current.seq == seq:
            self._current.tcp_answered = True

    def direct_timeout(self, now: float) -> None:
        """No direct answer: ask relays, and the member itself by TCP."""
        probe = self._current
        if probe is None:
            return
        config, me, member = self._context.config, self._membership.me, probe.member
        probe.direct = False
        # After a stall of this process the relays still get their time.
        probe.end = max(probe.end, now + config.probe_interval_s - config.probe_timeout_s)
        self._context.timers.set((TimerKind.PROBE_END, 0), probe.end)
        relays = self._membership.pick(
            config.indirect_checks,
            lambda other: other.state is MemberState.ALIVE and other is not me and other is not member,
        )
        for relay in relays:
            wants_nack = relay.versions.protocol_max >= _NACK_SINCE
            probe.nacks_due += wants_nack
            request = IndirectPing(
                probe.seq, member.addr, member.port, member.name, wants_nack, me.addr, me.port, me.name
            )
            self._transmitter.send(relay.endpoint, encode(request))
        if not config.disable_tcp_pings and member.versions.protocol_max >= _TCP_PING_SINCE:
            probe.stream = self._exchanges.open(
                StreamPurpose.PING, member.endpoint, now, timeout_s=probe.end - now, ping=self._ping(probe)
            )

    def end(self, now: float) -> None:
        """The time of the probe is over."""
        if self._current is not None:
            self._finish(self._current, alive=self._current.tcp_answered, now=now)

    def _probe_next(self, now: float) -> None:
        membership = self._membership
        for _ in range(len(membership.order)):
            if self._index >= len(membership.order):
                membership.forget_dead(now)
                self._context.rng.shuffle(membership.order)
                self._index = 0
                continue
            member = membership.order[self._index]
            self._index += 1
            if member is not membership.me and member.state.present:
                self._begin(member, now)
                return

    def _begin(self, member: Member, now: float) -> None:
        config = self._context.config
        end = now + self._awareness.scale(config.probe_interval_s)
        probe = self._current = _Probe(member, self._context.next_sequence(), now, end)
        self._context.counters.probes += 1
        ping = encode(self._ping(probe))
        if member.state is MemberState.ALIVE:
            self._transmitter.send(member.endpoint, ping)
        else:
            # The suspect learns of the suspicion with the ping, and so refutes as soon as it can.
            accusation = Suspect(member.incarnation, member.name, self._membership.me.name)
            self._transmitter.send_together(member, [ping, encode(accusation)])
        self._context.timers.set((TimerKind.PROBE_TIMEOUT, 0), now + config.probe_timeout_s)

    def _ping(self, probe: _Probe) -> Ping:
        me = self._membership.me
        return Ping(probe.seq, probe.member.name, me.addr, me.port, me.name)

    def _finish(self, probe: _Probe, *, alive: bool, now: float) -> None:
        self._current = None
        timers = self._context.timers
        timers.cancel((TimerKind.PROBE_TIMEOUT, 0))
        timers.cancel((TimerKind.PROBE_END, 0))
        if probe.stream is not None:
            self._exchanges.abandon(probe.stream)
        if alive:
            self._awareness.apply(-1)
        else:
            self._context.counters.probes_failed += 1
            self._awareness.apply(probe.nacks_due - probe.nacks if probe.nacks_due else 1)
            me = self._membership.me.name
            self._membership.suspect(Suspect(probe.incarnation, probe.member.name, me), now)
        if self._missed_tick:
            self._missed_tick = False
            self._probe_next(now)
