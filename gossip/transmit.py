"""Sending datagrams: a message with what the gossip queue can add to it."""

from typing import Final

from gossip.address import Endpoint
from gossip.context import Context
from gossip.member import Member
from gossip.messages import class_name
from gossip.outputs import SendDatagram
from gossip.packet import COMPOUND_OVERHEAD, PacketCodec
from gossip.queue import BroadcastQueue
from gossip.state import Membership

_CRC_SINCE: Final = 5
"""Protocol version from which members understand the CRC wrapper (memberlist net.go)."""


def understands_crc(member: Member) -> bool:
    """Whether packets to this member carry a CRC."""
    return member.versions.protocol_max >= _CRC_SINCE


class Transmitter:
    """Packs messages, adds queued broadcasts, emits the datagrams."""

    def __init__(
        self, context: Context, codec: PacketCodec, queue: BroadcastQueue, membership: Membership
    ) -> None:
        self._context = context
        self._codec = codec
        self._queue = queue
        self._membership = membership

    def send(self, to: Endpoint, message: bytes) -> None:
        """One message with queued broadcasts behind it, as pings, acks and their like travel."""
        parts = [message]
        if len(self._queue):
            free = self._codec.budget - len(message) - COMPOUND_OVERHEAD
            parts += self._queue.take(free, len(self._membership.order))
        self._emit(to, parts, crc=self._namesake_understands_crc(to))

    def send_alone(self, to: Endpoint, message: bytes) -> None:
        """One message with nothing behind it: what goes to the same few members at a quick pace would take all the
        queued broadcasts with it, and they would never reach the others."""
        self._emit(to, [message], crc=self._namesake_understands_crc(to))

    def send_together(self, to: Member, parts: list[bytes]) -> None:
        """Just these messages in one packet to a member."""
        self._emit(to.endpoint, parts, crc=understands_crc(to))

    def gossip(self, to: Member) -> bool:
        """A packet of queued broadcasts; False if none is left."""
        parts = self._queue.take(self._codec.budget, len(self._membership.order))
        if not parts:
            return False
        self._emit(to.endpoint, parts, crc=understands_crc(to))
        return True

    def _namesake_understands_crc(self, to: Endpoint) -> bool:
        """Pings, acks and their like travel without CRC, except to a member whose name is the text of its IP address:
        upstream looks the receiver up by that text (memberlist net.go, rawSendMsgPacket)."""
        namesake = self._membership.members.get(to.host)
        return namesake is not None and understands_crc(namesake)

    def _emit(self, to: Endpoint, parts: list[bytes], *, crc: bool) -> None:
        data = self._codec.pack(parts, crc=crc, to=to)
        counters = self._context.counters
        counters.packets_out += 1
        counters.bytes_out += len(data)
        kind = class_name(parts[0])
        counters.packets_out_by[kind] += 1
        counters.bytes_out_by[kind] += len(data)
        self._context.outputs.append(SendDatagram(to, data))
