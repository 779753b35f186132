"""What a node asks of its shell and tells its application: one ordered union of frozen dataclasses."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from gossip.address import Endpoint
from gossip.errors import RejectReason
from gossip.member import MemberView

__all__ = [
    "CloseStream",
    "Endpoint",
    "EventsLost",
    "ExchangeEnded",
    "LeaveDone",
    "MemberAlive",
    "MemberDead",
    "MemberDoubtful",
    "MemberJoined",
    "MemberLeft",
    "MemberSuspect",
    "MemberUpdated",
    "MembershipEvent",
    "OpenStream",
    "Output",
    "PeerRejected",
    "PingPayload",
    "Refuted",
    "RejectReason",
    "RemoteState",
    "SendDatagram",
    "StreamPurpose",
    "UserMessage",
    "WriteStream",
]


class StreamPurpose(StrEnum):
    """Why a stream is opened."""

    JOIN = "join"
    SYNC = "sync"
    PING = "ping"
    USER = "user"


@dataclass(frozen=True, slots=True)
class SendDatagram:
    """Send one UDP packet from the ring's own socket; a failure to send is not reported back."""

    to: Endpoint
    data: bytes


@dataclass(frozen=True, slots=True)
class OpenStream:
    """Dial a peer by TCP, write `data`, and hand everything that comes back to `SwimNode.receive_stream`."""

    stream: int
    to: Endpoint
    purpose: StreamPurpose
    data: bytes


@dataclass(frozen=True, slots=True)
class WriteStream:
    """Write to an accepted stream; close it afterwards."""

    stream: int
    data: bytes


@dataclass(frozen=True, slots=True)
class CloseStream:
    """Give a stream up at once, whatever is still under way on it (also a dial)."""

    stream: int


@dataclass(frozen=True, slots=True)
class ExchangeEnded:
    """A stream that we opened has served its purpose, or failed: then `error` says why."""

    stream: int
    to: Endpoint
    purpose: StreamPurpose
    error: str | None


@dataclass(frozen=True, slots=True)
class LeaveDone:
    """Our leave has been sent as often as it will be; the sockets may be closed."""


@dataclass(frozen=True, slots=True)
class MemberJoined:
    """A member that was unknown, dead or left is alive. Events are about others only, never about this node."""

    view: MemberView


@dataclass(frozen=True, slots=True)
class MemberSuspect:
    """`by` accuses the member of not answering; it has some seconds to refute and still counts as living."""

    view: MemberView
    by: str


@dataclass(frozen=True, slots=True)
class MemberAlive:
    """A suspicion ended: the member refuted it."""

    view: MemberView


@dataclass(frozen=True, slots=True)
class MemberDead:
    """The member is taken for dead; `by` is who declared it."""

    view: MemberView
    by: str


@dataclass(frozen=True, slots=True)
class MemberLeft:
    """The member said goodbye."""

    view: MemberView


@dataclass(frozen=True, slots=True)
class MemberUpdated:
    """A living member announced another meta."""

    view: MemberView


@dataclass(frozen=True, slots=True)
class MemberDoubtful:
    """The member did not answer so many questions of the fast lane in a row. Who has a wire to ask it on (ARP, NDP)
    does so, and tells `SwimNode.wire_evidence`."""

    view: MemberView
    misses: int


@dataclass(frozen=True, slots=True)
class Refuted:
    """Somebody took this node for suspect, dead or left, and it answered with a higher incarnation."""

    incarnation: int
    accuser: str
    """Name of the accuser; empty where a pushed state does not tell."""


@dataclass(frozen=True, slots=True)
class PeerRejected:
    """Something a peer sent was refused. At most one a second for each source and reason; counters count all."""

    source: Endpoint
    reason: RejectReason
    detail: str
    suppressed: int = 0
    """Rejections of the same source and reason that were only counted since the last one told."""


@dataclass(frozen=True, slots=True)
class UserMessage:
    """A message of another application: sent to us, or gossiped (then it may come several times)."""

    source: Endpoint
    payload: bytes
    reliable: bool
    """Whether it came by TCP."""


@dataclass(frozen=True, slots=True)
class RemoteState:
    """What the application of another member adds to an exchange of state."""

    source: Endpoint
    state: bytes
    join: bool
    """Whether the exchange was a join."""


@dataclass(frozen=True, slots=True)
class PingPayload:
    """What the application of a probed member added to its ack."""

    member: str
    rtt_s: float
    payload: bytes


@dataclass(frozen=True, slots=True)
class EventsLost:
    """From the shell: its reader was too slow and this many events are missing; read `Ring.members()` afresh."""

    count: int


MembershipEvent: TypeAlias = (
    MemberJoined
    | MemberSuspect
    | MemberAlive
    | MemberDead
    | MemberLeft
    | MemberUpdated
    | MemberDoubtful
    | Refuted
    | PeerRejected
    | EventsLost
)
"""What the application reads from `Ring.events`."""

UserEvent: TypeAlias = UserMessage | RemoteState | PingPayload
"""What the application reads from `Ring.messages`."""

Output: TypeAlias = (
    SendDatagram
    | OpenStream
    | WriteStream
    | CloseStream
    | ExchangeEnded
    | LeaveDone
    | MemberJoined
    | MemberSuspect
    | MemberAlive
    | MemberDead
    | MemberLeft
    | MemberUpdated
    | MemberDoubtful
    | Refuted
    | PeerRejected
    | UserMessage
    | RemoteState
    | PingPayload
)
"""Everything `SwimNode.take_outputs` may hold."""
