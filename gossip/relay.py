"""Pings on behalf of members that got no answer themselves (memberlist net.go, handleIndirectPing)."""

from typing import NamedTuple

from gossip.address import Endpoint, display, is_address
from gossip.context import Context
from gossip.errors import RejectReason
from gossip.messages import Ack, IndirectPing, Nack, Ping, encode
from gossip.state import Membership
from gossip.timers import TimerKind
from gossip.transmit import Transmitter


class _Asked(NamedTuple):
    reply_to: Endpoint
    sequence: int
    nack: bool


class Relay:
    """Pings under way for others; the target need not be a member."""

    def __init__(self, context: Context, transmitter: Transmitter, membership: Membership) -> None:
        self._context = context
        self._transmitter = transmitter
        self._membership = membership
        self._asked: dict[int, _Asked] = {}

    def __len__(self) -> int:
        return len(self._asked)

    def ask(self, request: IndirectPing, source: Endpoint, now: float) -> None:
        """Ping the target; its ack goes back to who asked, and so does a nack if it was wanted and none comes."""
        if not is_address(request.target):
            self._context.reject(source, RejectReason.MALFORMED, "indirect ping without an address", now)
            return
        if len(self._asked) >= self._context.config.max_relays:
            self._context.reject(source, RejectReason.BUSY, "too many indirect pings at once", now)
            return
        me = self._membership.me
        sequence = self._context.next_sequence()
        reply_to = reply_endpoint(request.source_addr, request.source_port, source)
        self._asked[sequence] = _Asked(reply_to, request.seq, request.nack)
        self._context.timers.set((TimerKind.RELAY, sequence), now + self._context.config.probe_timeout_s)
        ping = Ping(sequence, request.node, me.addr, me.port, me.name)
        self._transmitter.send(Endpoint(display(request.target), request.port or me.port), encode(ping))

    def acked(self, sequence: int) -> bool:
        """Pass an ack on; False if it is not for a ping of ours on behalf of somebody."""
        asked = self._asked.pop(sequence, None)
        if asked is None:
            return False
        self._context.timers.cancel((TimerKind.RELAY, sequence))
        self._transmitter.send(asked.reply_to, encode(Ack(asked.sequence)))
        return True

    def expired(self, sequence: int) -> None:
        """No ack came in time."""
        asked = self._asked.pop(sequence, None)
        if asked is not None and asked.nack:
            self._transmitter.send(asked.reply_to, encode(Nack(asked.sequence)))


def reply_endpoint(addr: bytes, port: int, source: Endpoint) -> Endpoint:
    """Where an answer goes: to the address given in the question, else to where the packet came from."""
    return Endpoint(display(addr), port) if port and is_address(addr) else source
