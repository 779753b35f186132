"""Asking after the dead: whoever answers gets the whole table at once, and so a parted ring is one again."""

from collections import OrderedDict
from typing import Final

from gossip.address import Endpoint
from gossip.context import Context
from gossip.exchange import Exchanges
from gossip.member import Member
from gossip.messages import Ping, encode
from gossip.outputs import StreamPurpose
from gossip.questions import Questions, Way
from gossip.state import Membership
from gossip.timers import TimerKind
from gossip.transmit import Transmitter

_OFTEN_S: Final = 0.25
_OFTEN_FOR_S: Final = 600.0
_SELDOM_S: Final = 2.0
_SELDOM_FOR_S: Final = 86_400.0
"""After a day a member that came back comes by joining."""

_MAX: Final = 256
"""Dead members asked at once; the oldest are dropped first."""

_SYNC_PAUSE_S: Final = 1.0
"""Between two exchanges of state with the same member."""


class _Dead:
    """One member that died."""

    __slots__ = ("at", "due", "endpoint", "meta", "synced_at")

    def __init__(self, endpoint: Endpoint, meta: bytes, now: float) -> None:
        self.endpoint = endpoint
        self.meta = meta
        self.at = now
        self.due = now + _OFTEN_S
        self.synced_at = now - _SYNC_PAUSE_S


class Healing:
    """Pings members that died (not those that left) every 250 ms for 10 minutes, then every 2 s for a day, or until it is
    said not to come back."""

    def __init__(
        self,
        context: Context,
        transmitter: Transmitter,
        membership: Membership,
        exchanges: Exchanges,
        questions: Questions,
    ) -> None:
        self._context = context
        self._transmitter = transmitter
        self._membership = membership
        self._exchanges = exchanges
        self._questions = questions
        self._dead: OrderedDict[str, _Dead] = OrderedDict()

    def __contains__(self, name: object) -> bool:
        return name in self._dead

    def __len__(self) -> int:
        return len(self._dead)

    def add(self, member: Member, now: float) -> None:
        """Begin to ask after a member that has just died."""
        self._dead[member.name] = _Dead(member.endpoint, member.meta, now)
        self._dead.move_to_end(member.name)
        if len(self._dead) > _MAX:
            self._dead.popitem(last=False)
        self.begin(now)

    def begin(self, now: float) -> None:
        """Ask soon, where there is somebody to ask after and it was not begun."""
        if self._dead and (TimerKind.HEAL, 0) not in self._context.timers:
            self._context.timers.set((TimerKind.HEAL, 0), now + _OFTEN_S)

    def remove(self, name: str) -> tuple[float, bytes] | None:
        """The member is back, or will not come: when it died and the meta it had, None if nobody asked after it."""
        dead = self._dead.pop(name, None)
        return None if dead is None else (dead.at, dead.meta)

    def taken(self, endpoint: Endpoint, by: str) -> None:
        """A living member has this address, and would wonder for whom the pings are: nobody else is asked there."""
        for name in [name for name, dead in self._dead.items() if dead.endpoint == endpoint and name != by]:
            del self._dead[name]

    def due(self, now: float) -> None:
        """Ping those whose turn it is."""
        for name in [name for name, dead in self._dead.items() if now - dead.at > _SELDOM_FOR_S]:
            del self._dead[name]
        me = self._membership.me
        for name, dead in self._dead.items():
            if dead.due > now:
                continue
            dead.due = now + (_OFTEN_S if now - dead.at < _OFTEN_FOR_S else _SELDOM_S)
            sequence = self._questions.ask(name, Way.HEAL, now)
            ping = Ping(sequence, name, me.addr, me.port, me.name)
            self._transmitter.send_alone(dead.endpoint, encode(ping))
        if self._dead:
            self._context.timers.set((TimerKind.HEAL, 0), min(dead.due for dead in self._dead.values()))

    def acked(self, name: str, now: float) -> None:
        """The member lives: exchange state, so that each hears what the other holds of it and refutes."""
        dead = self._dead.get(name)
        if dead is None or now - dead.synced_at < _SYNC_PAUSE_S:
            return
        dead.synced_at = now
        timeout_s = self._context.config.tcp_timeout_s
        self._exchanges.open(StreamPurpose.SYNC, dead.endpoint, now, timeout_s=timeout_s)
