"""What the application says and hears over the ring: messages, state within exchanges, a word in every ack.

Upstream calls back into a delegate (memberlist delegate.go, ping_delegate.go); here the application hands over bytes
when it has some, and reads outputs when it likes, so that it can delay no answer of the node.
"""

from typing import Final

from gossip.context import Context
from gossip.errors import UsageError
from gossip.exchange import Exchanges
from gossip.member import Member
from gossip.messages import Ack, Ping, User, encode
from gossip.outputs import StreamPurpose
from gossip.packet import COMPOUND_OVERHEAD, PacketCodec
from gossip.queue import BroadcastQueue
from gossip.state import Membership
from gossip.transmit import Transmitter

_MAX_WAITING: Final = 1024
"""Messages of the application that may wait to be gossiped."""


class Delegate:
    """The application's side of a node."""

    def __init__(
        self,
        context: Context,
        codec: PacketCodec,
        queue: BroadcastQueue,
        transmitter: Transmitter,
        membership: Membership,
        exchanges: Exchanges,
    ) -> None:
        self._context = context
        self._budget = codec.budget - COMPOUND_OVERHEAD - len(encode(User(b"")))
        self._queue = queue
        self._transmitter = transmitter
        self._membership = membership
        self._exchanges = exchanges
        self._waiting = 0
        self._number = 0
        self._ack_payload = b""

    def __len__(self) -> int:
        return self._waiting

    def answer(self, ping: Ping) -> bytes:
        """The ack to a ping that came by UDP."""
        return encode(Ack(ping.seq, self._ack_payload))

    def set_ack_payload(self, payload: bytes) -> None:
        """Add these bytes to every ack by UDP."""
        self._check(payload, self._budget // 2, "ack payload")
        self._ack_payload = payload

    def set_local_state(self, state: bytes) -> None:
        """Send these bytes with every exchange of state."""
        self._check(state, self._context.config.max_user_bytes, "state")
        self._exchanges.local_state = state

    def send(self, name: str, payload: bytes, now: float, *, reliable: bool) -> int | None:
        """To one member; the number of the stream for a reliable one."""
        member = self._known(name)
        if not reliable:
            self._check(payload, self._budget, "message")
            self._transmitter.send_together(member, [encode(User(payload))])
            return None
        config = self._context.config
        self._check(payload, config.max_user_bytes, "message")
        number = self._exchanges.open(
            StreamPurpose.USER, member.endpoint, now, timeout_s=config.tcp_timeout_s, user=payload
        )
        if number is None:
            raise UsageError(f"message: {config.max_streams} streams are under way; try again later")
        return number

    def broadcast(self, payload: bytes) -> None:
        """To all members, by gossip."""
        self._check(payload, self._budget, "broadcast")
        if self._waiting >= _MAX_WAITING:
            raise UsageError(f"broadcast: {_MAX_WAITING} messages wait to be gossiped; try again later")
        self._waiting += 1
        self._number += 1
        # The queue is keyed by member; a name that begins like this could only displace a message.
        self._queue.put(f"\0user{self._number}", encode(User(payload)), on_done=self._sent)

    def _sent(self) -> None:
        self._waiting -= 1

    def _known(self, name: str) -> Member:
        member = self._membership.members.get(name)
        if member is None or not member.state.present:
            raise UsageError(f"message: no member {name!r} is present in the ring")
        return member

    @staticmethod
    def _check(data: bytes, limit: int, what: str) -> None:
        if len(data) > limit:
            raise UsageError(f"{what}: has {len(data)} bytes; {limit} are allowed")
