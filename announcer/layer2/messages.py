"""What the speaker and its responder process say to each other. announcer/layer2/encoding.py gives it its bytes.

Addresses are packed (4 bytes, network order) in what the speaker says, times seconds of the monotonic clock, which both
processes read alike.

Every message of the speaker carries the epoch of its table: the responder starts another epoch when a lease runs out
and ignores what was still under way for the one that ended.
"""

from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import NamedTuple, TypeAlias

from announcer.layer2.arp import DropReason
from announcer.layer2.claims import Reason, State
from announcer.layer2.evidence import Answer
from announcer.layer2.interfaces import InterfaceView
from announcer.layer2.turns import LAST_TURN


class Renew(NamedTuple):
    """The decision loop lives: the lease runs from `at`."""

    epoch: int
    at: float


class Add(NamedTuple):
    """Announce these addresses as well; also arms or renews the lease. `known`: members announced them before; `turn`: lower
    ones go first where many have to wait, and to tell another one for what is announced changes nothing else."""

    epoch: int
    at: float
    addresses: tuple[bytes, ...]
    known: bool = False
    turn: int = LAST_TURN


class Remove(NamedTuple):
    """Announce these addresses no longer; also renews the lease."""

    epoch: int
    at: float
    addresses: tuple[bytes, ...]


class HandOver(NamedTuple):
    """The member `to` (hashed name), or whoever asks, is to have these addresses; also renews the lease."""

    epoch: int
    at: float
    to: bytes
    addresses: tuple[bytes, ...]


class Introduce(NamedTuple):
    """Be this member, with these keys of the ring: from here on the wire is asked before an address is announced."""

    epoch: int
    at: float
    name: str
    keys: tuple[bytes, ...]


class Members(NamedTuple):
    """The ring holds these members (hashed names) alive, or no longer."""

    epoch: int
    at: float
    alive: bool
    names: tuple[bytes, ...]


class Ask(NamedTuple):
    """Ask a member (hashed name) on the wire whether it lives, where it has this address if it has it anywhere."""

    epoch: int
    at: float
    name: bytes
    address: bytes


class Pace(NamedTuple):
    """Send this many gratuitous frames a second at most."""

    epoch: int
    at: float
    frames_per_s: int


Command: TypeAlias = Renew | Add | Remove | HandOver | Introduce | Members | Ask | Pace


class Announced(NamedTuple):
    """The first gratuitous frame for the address has been sent on the interface, at `at`."""

    address: IPv4Address
    interface: str
    at: float


class Withdrawn(NamedTuple):
    """The address is no longer answered for: the speaker took it out of the table."""

    address: IPv4Address


class LeaseExpired(NamedTuple):
    """No renewal came in time: every address was withdrawn at `at`; only announce() starts the table of `epoch`."""

    at: float
    epoch: int


class Stalled(NamedTuple):
    """The responder did not run for `seconds` before `at`: what was queued meanwhile has been dropped."""

    at: float
    seconds: float


class InterfacesChanged(NamedTuple):
    """All interfaces that addresses are announced on from now on."""

    interfaces: tuple[InterfaceView, ...]


class InterfaceFailed(NamedTuple):
    """An interface that should carry announcements cannot be used; it is tried again every second."""

    interface: str
    detail: str


class AddressCounters(NamedTuple):
    """Frames for one address since the responder started."""

    requests_received: int
    responses_sent: int
    gratuitous_sent: int


class Counters(NamedTuple):
    """Totals since the start: every drop reason, and the addresses whose counters moved since the last such event."""

    addresses: Mapping[IPv4Address, AddressCounters]
    drops: Mapping[DropReason, int]


class ClaimChanged(NamedTuple):
    """The claim for an address is in another state. `holder` is a hashed name, empty where no member holds it; `mac` is
    that of the stranger that answered, where the state is CONFLICTED."""

    address: IPv4Address
    state: State
    reason: Reason
    holder: bytes
    mac: bytes = b""


class ForeignAnswer(NamedTuple):
    """Something that is no responder answers for an address of ours or announces it. `member` (hashed name) is set where the
    MAC is, or was, a member's: a cache, a proxy, a kernel that has the address."""

    address: IPv4Address
    mac: bytes
    member: bytes


class LinkProven(NamedTuple):
    """Nobody is heard on the interface any more although several must be there, or it is down (`proven` False), or somebody
    is again."""

    interface: str
    proven: bool


class MemberEvidence(NamedTuple):
    """What the wire said of a member (hashed name); `proven`: somebody else was heard meanwhile."""

    name: bytes
    answer: Answer
    proven: bool


class Exited(NamedTuple):
    """The responder process is gone and so are its announcements. The last event."""

    detail: str


ResponderEvent: TypeAlias = (
    Announced
    | Withdrawn
    | LeaseExpired
    | Stalled
    | InterfacesChanged
    | InterfaceFailed
    | Counters
    | ClaimChanged
    | ForeignAnswer
    | LinkProven
    | MemberEvidence
    | Exited
)
