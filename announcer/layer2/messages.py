"""What the speaker and its responder process say to each other, and its encoding.

They talk over a SOCK_SEQPACKET socket pair: one message a packet, at most MAX_MESSAGE bytes, so a table of 10,000
addresses goes in a few chunks. Both ends run the same build; a message that does not decode is a defect and raises
MessageError. Integers are in network order, addresses packed (4 bytes), times seconds of the monotonic clock, which
both processes read alike.

Every message of the speaker carries the epoch of its table: the responder starts another epoch when a lease runs out
and ignores what was still under way for the one that ended.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from ipaddress import IPv4Address
from typing import NamedTuple, TypeAlias

from announcer.errors import MessageError
from announcer.layer2.arp import DropReason
from announcer.layer2.interfaces import InterfaceView

MAX_MESSAGE = 32_768
"""Bytes of the longest message; far below the send buffer of a Unix socket (212,992 by default)."""


class Renew(NamedTuple):
    """The decision loop lives: the lease runs from `at`."""

    epoch: int
    at: float


class Add(NamedTuple):
    """Announce these addresses as well; also arms or renews the lease."""

    epoch: int
    at: float
    addresses: tuple[bytes, ...]


class Remove(NamedTuple):
    """Announce these addresses no longer; also renews the lease."""

    epoch: int
    at: float
    addresses: tuple[bytes, ...]


Command: TypeAlias = Renew | Add | Remove


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


class Exited(NamedTuple):
    """The responder process is gone and so are its announcements. The last event."""

    detail: str


ResponderEvent: TypeAlias = (
    Announced | Withdrawn | LeaseExpired | Stalled | InterfacesChanged | InterfaceFailed | Counters | Exited
)


class _Kind(IntEnum):
    RENEW = 1
    ADD = 2
    REMOVE = 3
    ANNOUNCED = 16
    WITHDRAWN = 17
    LEASE_EXPIRED = 18
    STALLED = 19
    INTERFACES = 20
    INTERFACE_FAILED = 21
    COUNTERS = 22
    EXITED = 23


_COMMAND = struct.Struct("!BId")
_KIND = struct.Struct("!B")
_ANNOUNCED = struct.Struct("!B4sd")
_LEASE_EXPIRED = struct.Struct("!BdI")
_STALLED = struct.Struct("!Bdd")
_DROPS = struct.Struct(f"!B{len(DropReason)}Q")
_ADDRESS_COUNTERS = struct.Struct("!4sQQQ")
_INTERFACE = struct.Struct("!I6s")
_ADDRESS_BYTES = 4
_CHUNK = (MAX_MESSAGE - _COMMAND.size) // _ADDRESS_BYTES
_COUNTERS_CHUNK = (MAX_MESSAGE - _DROPS.size) // _ADDRESS_COUNTERS.size
_TEXT_BYTES = 1_000


def encode_renew(*, epoch: int, at: float) -> bytes:
    """Encode Renew."""
    return _COMMAND.pack(_Kind.RENEW, epoch, at)


def encode_add(addresses: Sequence[bytes], *, epoch: int, at: float) -> list[tuple[bytes, Sequence[bytes]]]:
    """Encode Add in as many messages as needed, each with the addresses it carries."""
    return _chunks(_Kind.ADD, addresses, epoch, at)


def encode_remove(
    addresses: Sequence[bytes], *, epoch: int, at: float
) -> list[tuple[bytes, Sequence[bytes]]]:
    """Encode Remove in as many messages as needed, each with the addresses it carries."""
    return _chunks(_Kind.REMOVE, addresses, epoch, at)


def _chunks(
    kind: _Kind, addresses: Sequence[bytes], epoch: int, at: float
) -> list[tuple[bytes, Sequence[bytes]]]:
    head = _COMMAND.pack(kind, epoch, at)
    parts = [addresses[start : start + _CHUNK] for start in range(0, len(addresses), _CHUNK)]
    return [(head + b"".join(part), part) for part in parts]


def decode_command(message: bytes) -> Command:
    """Read what the speaker sent. Raises MessageError."""
    try:
        kind, epoch, at = _COMMAND.unpack_from(message)
    except struct.error as error:
        raise MessageError(f"command of {len(message)} bytes: {error}") from None
    if kind == _Kind.RENEW:
        return Renew(epoch, at)
    addresses = _split(message, _COMMAND.size, _ADDRESS_BYTES)
    if kind == _Kind.ADD:
        return Add(epoch, at, addresses)
    if kind == _Kind.REMOVE:
        return Remove(epoch, at, addresses)
    raise MessageError(f"command of kind {kind}")


def encode_event(event: ResponderEvent) -> list[bytes]:
    """Encode one event in as many messages as needed; only Counters and InterfacesChanged can be long."""
    match event:
        case Announced(address, interface, at):
            return [_ANNOUNCED.pack(_Kind.ANNOUNCED, address.packed, at) + _text(interface)]
        case Withdrawn(address):
            return [_KIND.pack(_Kind.WITHDRAWN) + address.packed]
        case LeaseExpired(at, epoch):
            return [_LEASE_EXPIRED.pack(_Kind.LEASE_EXPIRED, at, epoch)]
        case Stalled(at, seconds):
            return [_STALLED.pack(_Kind.STALLED, at, seconds)]
        case InterfacesChanged(interfaces):
            return [_KIND.pack(_Kind.INTERFACES) + b"".join(map(_encode_interface, interfaces))]
        case InterfaceFailed(interface, detail):
            name = _text(interface)
            return [_KIND.pack(_Kind.INTERFACE_FAILED) + bytes([len(name)]) + name + _text(detail)]
        case Counters(addresses, drops):
            return _encode_counters(addresses, drops)
        case Exited(detail):
            return [_KIND.pack(_Kind.EXITED) + _text(detail)]


def decode_event(message: bytes) -> ResponderEvent:
    """Read what the responder sent. Raises MessageError."""
    try:
        return _decode_event(message)
    except (struct.error, IndexError, ValueError) as error:
        raise MessageError(f"event of {len(message)} bytes: {error}") from None


def _decode_event(message: bytes) -> ResponderEvent:  # noqa: PLR0911 - one return a kind
    match message[0]:
        case _Kind.ANNOUNCED:
            _, packed, at = _ANNOUNCED.unpack_from(message)
            return Announced(IPv4Address(packed), message[_ANNOUNCED.size :].decode(), at)
        case _Kind.WITHDRAWN:
            return Withdrawn(IPv4Address(message[1:]))
        case _Kind.LEASE_EXPIRED:
            _, at, epoch = _LEASE_EXPIRED.unpack(message)
            return LeaseExpired(at, epoch)
        case _Kind.STALLED:
            _, at, seconds = _STALLED.unpack(message)
            return Stalled(at, seconds)
        case _Kind.INTERFACES:
            return InterfacesChanged(tuple(_decode_interfaces(message[1:])))
        case _Kind.INTERFACE_FAILED:
            end = 2 + message[1]
            return InterfaceFailed(message[2:end].decode(), message[end:].decode())
        case _Kind.COUNTERS:
            return _decode_counters(message)
        case _Kind.EXITED:
            return Exited(message[1:].decode())
        case kind:
            raise MessageError(f"event of kind {kind}")


def _encode_interface(interface: InterfaceView) -> bytes:
    name = _text(interface.name)
    return _INTERFACE.pack(interface.index, interface.mac) + bytes([len(name)]) + name


def _decode_interfaces(body: bytes) -> Iterable[InterfaceView]:
    offset = 0
    while offset < len(body):
        index, mac = _INTERFACE.unpack_from(body, offset)
        start = offset + _INTERFACE.size + 1
        offset = start + body[start - 1]
        yield InterfaceView(index, body[start:offset].decode(), mac)


def _encode_counters(
    addresses: Mapping[IPv4Address, AddressCounters], drops: Mapping[DropReason, int]
) -> list[bytes]:
    head = _DROPS.pack(_Kind.COUNTERS, *(drops.get(reason, 0) for reason in DropReason))
    entries = [_ADDRESS_COUNTERS.pack(address.packed, *counters) for address, counters in addresses.items()]
    starts = range(0, max(len(entries), 1), _COUNTERS_CHUNK)
    return [head + b"".join(entries[start : start + _COUNTERS_CHUNK]) for start in starts]


def _decode_counters(message: bytes) -> Counters:
    _, *drops = _DROPS.unpack_from(message)
    entries = _ADDRESS_COUNTERS.iter_unpack(message[_DROPS.size :])
    addresses = {IPv4Address(packed): AddressCounters(*counters) for packed, *counters in entries}
    return Counters(addresses, dict(zip(DropReason, drops, strict=True)))


def _split(message: bytes, start: int, size: int) -> tuple[bytes, ...]:
    if (len(message) - start) % size:
        raise MessageError(f"{len(message) - start} bytes of addresses, each {size} bytes")
    return tuple(message[offset : offset + size] for offset in range(start, len(message), size))


def _text(text: str) -> bytes:
    return text.encode(errors="backslashreplace")[:_TEXT_BYTES]
