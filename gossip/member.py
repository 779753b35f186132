"""What is known of one member: the view handed out, and the record behind it."""

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from gossip.address import Endpoint, display

if TYPE_CHECKING:
    from gossip.suspicion import Suspicion


class MemberState(IntEnum):
    """State of a member; the numbers are those of the push/pull wire (memberlist state.go)."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3

    @property
    def word(self) -> str:
        """The state in lower case, as logs and status pages print it."""
        return self.name.lower()

    @property
    def present(self) -> bool:
        """Whether the member counts as living: alive or merely suspected."""
        return self in (MemberState.ALIVE, MemberState.SUSPECT)


@dataclass(frozen=True, slots=True)
class Versions:
    """The six version bytes of a member, in wire order (memberlist state.go: protocol, then delegate)."""

    protocol_min: int
    protocol_max: int
    protocol: int
    delegate_min: int
    delegate_max: int
    delegate: int

    def encode(self) -> bytes:
        """The six bytes as they travel in the field Vsn."""
        return bytes(
            (
                self.protocol_min,
                self.protocol_max,
                self.protocol,
                self.delegate_min,
                self.delegate_max,
                self.delegate,
            )
        )

    @staticmethod
    @lru_cache(maxsize=256)
    def decode(data: bytes) -> "Versions":
        """Read a Vsn field; anything but six bytes counts as six zeros, as upstream stores it."""
        return Versions(*data) if len(data) == 6 else Versions(0, 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class MemberView:
    """One member as this node sees it at one instant."""

    name: str
    address: str
    """IP address as text; an IPv4-mapped address is shown as IPv4."""
    port: int
    state: MemberState
    incarnation: int
    meta: bytes
    """At most 512 bytes, the application's own (see gossip.meta)."""
    versions: Versions
    since: float
    """Monotonic seconds of the last change of state."""
    rtt_s: float | None = None
    """Round trip of the last probe of this node that was answered directly."""

    @property
    def endpoint(self) -> Endpoint:
        """Where the member's UDP and TCP sockets are."""
        return Endpoint(self.address, self.port)


class Member:
    """The mutable record of one member; only gossip.state writes it."""

    __slots__ = (
        "addr",
        "endpoint",
        "incarnation",
        "meta",
        "name",
        "port",
        "rtt_s",
        "since",
        "state",
        "suspicion",
        "versions",
    )

    def __init__(self, name: str, addr: bytes, port: int, versions: Versions, now: float) -> None:
        self.name = name
        self.addr = addr
        self.port = port
        self.endpoint = Endpoint(display(addr), port)
        self.versions = versions
        self.meta = b""
        self.incarnation = 0
        self.state = MemberState.DEAD
        self.since = now
        self.rtt_s: float | None = None
        self.suspicion: Suspicion | None = None

    def move(self, addr: bytes, port: int) -> None:
        """Take an address in the form in which the member announced it (4 or 16 bytes)."""
        self.addr = addr
        self.port = port
        self.endpoint = Endpoint(display(addr), port)

    def view(self) -> MemberView:
        """A frozen copy."""
        return MemberView(
            self.name,
            self.endpoint.host,
            self.port,
            self.state,
            self.incarnation,
            self.meta,
            self.versions,
            self.since,
            self.rtt_s,
        )
