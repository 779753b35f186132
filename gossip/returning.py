"""Forgotten members that are said to live again, at an incarnation that they already had.

A recorded packet would do to say so, and a dead member would win addresses for the time of a probe. Hence each is asked
first: only an answer to a question of our own is a sign of life.
"""

from typing import Final, NamedTuple

from gossip.address import Endpoint
from gossip.context import Context
from gossip.messages import Alive, Ping, encode
from gossip.state import Membership
from gossip.timers import TimerKind
from gossip.transmit import Transmitter

_QUESTIONS: Final = 3
"""How often one claim is asked about: what is said is soon said no more, so one lost packet must not decide."""


class _Claim(NamedTuple):
    sequence: int
    message: Alive
    at: Endpoint
    source: Endpoint
    asked: int = 0


class Returning:
    """The questions under way, at most one for each forgotten member."""

    def __init__(self, context: Context, transmitter: Transmitter, membership: Membership) -> None:
        self._context = context
        self._transmitter = transmitter
        self._membership = membership
        self._claims: dict[str, _Claim] = {}
        self._names: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._claims)

    def ask(self, message: Alive, at: Endpoint, source: Endpoint, now: float) -> None:
        """Ping who is said to live at this address."""
        name = message.node
        if name in self._claims:
            return
        sequence = self._context.next_sequence()
        self._names[sequence] = name
        self._question(name, _Claim(sequence, message, at, source), now)

    def acked(self, sequence: int, now: float) -> None:
        """An ack came; if it answers a question of ours, what was said is true."""
        name = self._names.get(sequence)
        if name is None:
            return
        claim = self._drop(name)
        self._context.timers.cancel((TimerKind.RETURN, name))
        self._membership.alive(claim.message, claim.source, now, proven=True)

    def expired(self, name: str, now: float) -> None:
        """No answer: asked again, and after the last time it may be said anew."""
        claim = self._claims[name]
        if claim.asked < _QUESTIONS:
            self._question(name, claim, now)
        else:
            self._drop(name)

    def _question(self, name: str, claim: _Claim, now: float) -> None:
        me = self._membership.me
        self._claims[name] = claim._replace(asked=claim.asked + 1)
        self._context.timers.set((TimerKind.RETURN, name), now + self._context.config.probe_timeout_s)
        self._transmitter.send_alone(claim.at, encode(Ping(claim.sequence, name, me.addr, me.port, me.name)))

    def _drop(self, name: str) -> _Claim:
        claim = self._claims.pop(name)
        del self._names[claim.sequence]
        return claim
