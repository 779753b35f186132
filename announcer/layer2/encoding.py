"""The encoding of what the speaker and its responder process say to each other (announcer/layer2/messages.py).

They talk over a SOCK_SEQPACKET socket pair: one message a packet, at most MAX_MESSAGE bytes; a long table goes in chunks
and later as differences. Both ends run the same build; a message that does not decode is a defect and raises
MessageError. Integers are in network order, addresses packed (4 bytes).
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface, ip_interface
from itertools import groupby

from announcer.errors import MessageError
from announcer.layer2.arp import DropReason
from announcer.layer2.claims import Reason, State
from announcer.layer2.evidence import Answer
from announcer.layer2.interfaces import InterfaceView
from announcer.layer2.messages import (
    Add,
    AddressCounters,
    Announced,
    Ask,
    ClaimChanged,
    Command,
    Counters,
    Exited,
    ForeignAnswer,
    HandOver,
    InterfaceFailed,
    InterfacesChanged,
    Introduce,
    LeaseExpired,
    LinkProven,
    MemberEvidence,
    Members,
    Pace,
    Remove,
    Renew,
    ResponderEvent,
    Stalled,
    Withdrawn,
)
from announcer.layer2.turns import LAST_TURN

MAX_MESSAGE = 65_536
"""Bytes of the longest message; far below the send buffer of a Unix socket (212,992 by default)."""

MAX_ADDRESSES = 8
"""Addresses of one interface that an event carries at most."""


class _Kind(IntEnum):
    RENEW = 1
    ADD = 2
    REMOVE = 3
    ADD_KNOWN = 4
    HAND_OVER = 5
    INTRODUCE = 6
    MEMBERS_ALIVE = 7
    MEMBERS_GONE = 8
    ASK = 9
    PACE = 10
    ANNOUNCED = 16
    WITHDRAWN = 17
    LEASE_EXPIRED = 18
    STALLED = 19
    INTERFACES = 20
    INTERFACE_FAILED = 21
    COUNTERS = 22
    EXITED = 23
    CLAIM = 24
    FOREIGN = 25
    EVIDENCE = 26
    LINK = 27


_COMMAND = struct.Struct("!BId")
_TURN = struct.Struct("!i")
_ANNOUNCED = struct.Struct("!4sd")
_LEASE_EXPIRED = struct.Struct("!BdI")
_STALLED = struct.Struct("!Bdd")
_DROPS = struct.Struct(f"!B{len(DropReason)}Q")
_ADDRESS_COUNTERS = struct.Struct("!4sQQQ")
_INTERFACE = struct.Struct("!I6sBB")
_ADDRESS_BYTES = 4
_CHUNK = 256
"""Addresses of one command: what the responder takes in without keeping requests waiting."""
_EVENTS_CHUNK = 4_000
_COUNTERS_CHUNK = (MAX_MESSAGE - _DROPS.size) // _ADDRESS_COUNTERS.size
_TEXT_BYTES = 200
_NAME_BYTES = 4
_PACE_BYTES = 4
_CLAIM = struct.Struct("!4sBB4s6s")
_FOREIGN = struct.Struct("!B4s6s4s")
_EVIDENCE = struct.Struct("!B4sBB")
_NOBODY = bytes(_NAME_BYTES)
"""Stands for no member; SHA-256 gives it to one name in 4,000,000,000."""
_NO_MAC = bytes(6)
"""Stands for no MAC: no interface has it."""


def encode_renew(*, epoch: int, at: float) -> bytes:
    """Encode Renew."""
    return _COMMAND.pack(_Kind.RENEW, epoch, at)


def encode_add(
    addresses: Sequence[bytes], *, epoch: int, at: float, known: bool = False, turn: int = LAST_TURN
) -> list[tuple[bytes, Sequence[bytes]]]:
    """Encode Add in as many messages as needed, each with the addresses it carries."""
    return _chunks(_Kind.ADD_KNOWN if known else _Kind.ADD, addresses, epoch, at, _TURN.pack(turn))


def encode_remove(
    addresses: Sequence[bytes], *, epoch: int, at: float
) -> list[tuple[bytes, Sequence[bytes]]]:
    """Encode Remove in as many messages as needed, each with the addresses it carries."""
    return _chunks(_Kind.REMOVE, addresses, epoch, at)


def encode_hand_over(
    addresses: Sequence[bytes], *, to: bytes, epoch: int, at: float
) -> list[tuple[bytes, Sequence[bytes]]]:
    """Encode HandOver in as many messages as needed, each with the addresses it carries."""
    return _chunks(_Kind.HAND_OVER, addresses, epoch, at, to)


def encode_introduce(name: str, keys: Sequence[bytes], *, epoch: int, at: float) -> bytes:
    """Encode Introduce. A name has at most 255 bytes, a key as well."""
    parts = b"".join(bytes([len(part)]) + part for part in (name.encode(), *keys))
    return _COMMAND.pack(_Kind.INTRODUCE, epoch, at) + parts


def encode_members(
    names: Sequence[bytes], *, alive: bool, epoch: int, at: float
) -> list[tuple[bytes, Sequence[bytes]]]:
    """Encode Members in as many messages as needed, each with the names it carries."""
    return _chunks(_Kind.MEMBERS_ALIVE if alive else _Kind.MEMBERS_GONE, names, epoch, at)


def encode_ask(name: bytes, address: bytes, *, epoch: int, at: float) -> bytes:
    """Encode Ask."""
    return _COMMAND.pack(_Kind.ASK, epoch, at) + name + address


def encode_pace(frames_per_s: int, *, epoch: int, at: float) -> bytes:
    """Encode Pace."""
    return _COMMAND.pack(_Kind.PACE, epoch, at) + frames_per_s.to_bytes(_PACE_BYTES, "big")


def _chunks(
    kind: _Kind, addresses: Sequence[bytes], epoch: int, at: float, more: bytes = b""
) -> list[tuple[bytes, Sequence[bytes]]]:
    head = _COMMAND.pack(kind, epoch, at) + more
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
    if kind == _Kind.INTRODUCE:
        name, *keys = _pascal(message[_COMMAND.size :])
        return Introduce(epoch, at, name.decode(), tuple(keys))
    items = _split(message, _COMMAND.size, _ADDRESS_BYTES)
    match kind:
        case _Kind.ADD | _Kind.ADD_KNOWN if items:
            (turn,) = _TURN.unpack(items[0])
            return Add(epoch, at, items[1:], kind == _Kind.ADD_KNOWN, turn)
        case _Kind.REMOVE:
            return Remove(epoch, at, items)
        case _Kind.HAND_OVER if items:
            return HandOver(epoch, at, items[0], items[1:])
        case _Kind.MEMBERS_ALIVE | _Kind.MEMBERS_GONE:
            return Members(epoch, at, kind == _Kind.MEMBERS_ALIVE, items)
        case _Kind.ASK if len(items) == len(Ask._fields) - 2:
            return Ask(epoch, at, *items)
        case _Kind.PACE if len(items) == 1 and any(items[0]):
            return Pace(epoch, at, int.from_bytes(items[0], "big"))
        case _:
            raise MessageError(f"command of kind {kind}")


def _pascal(body: bytes) -> list[bytes]:
    """Split texts that each follow their length in a byte; at least one. Raises MessageError."""
    parts: list[bytes] = []
    while body or not parts:
        if not body or len(body) <= body[0]:
            raise MessageError("text shorter than it says")
        parts.append(body[1 : 1 + body[0]])
        body = body[1 + body[0] :]
    return parts


def encode_events(events: Iterable[ResponderEvent]) -> list[bytes]:
    """Encode events in their order; those that come in thousands share messages."""
    messages: list[bytes] = []
    for (kind, interface), run in groupby(events, key=_batch):
        batch = list(run)
        if kind is Announced:
            name = _text(interface)
            head = bytes([_Kind.ANNOUNCED, len(name)]) + name
            entries = [
                _ANNOUNCED.pack(event.address.packed, event.at)
                for event in batch
                if isinstance(event, Announced)
            ]
            messages += _joined(head, entries)
        elif kind is Withdrawn:
            entries = [event.address.packed for event in batch if isinstance(event, Withdrawn)]
            messages += _joined(bytes([_Kind.WITHDRAWN]), entries)
        elif kind is ClaimChanged:
            entries = [
                _CLAIM.pack(
                    event.address.packed,
                    event.state,
                    event.reason,
                    event.holder or _NOBODY,
                    event.mac or _NO_MAC,
                )
                for event in batch
                if isinstance(event, ClaimChanged)
            ]
            messages += _joined(bytes([_Kind.CLAIM]), entries)
        else:
            for event in batch:
                messages += _encode_event(event)
    return messages


def _batch(event: ResponderEvent) -> tuple[type[ResponderEvent], str]:
    return type(event), event.interface if isinstance(event, Announced) else ""


def _joined(head: bytes, entries: Sequence[bytes]) -> list[bytes]:
    starts = range(0, len(entries), _EVENTS_CHUNK)
    return [head + b"".join(entries[start : start + _EVENTS_CHUNK]) for start in starts]


def _encode_event(event: ResponderEvent) -> list[bytes]:
    match event:
        case Announced() | Withdrawn() | ClaimChanged():
            return encode_events([event])
        case ForeignAnswer(address, mac, member):
            return [_FOREIGN.pack(_Kind.FOREIGN, address.packed, mac, member or _NOBODY)]
        case MemberEvidence(name, answer, proven):
            return [_EVIDENCE.pack(_Kind.EVIDENCE, name, answer, proven)]
        case LinkProven(interface, proven):
            return [bytes([_Kind.LINK, proven]) + _text(interface)]
        case LeaseExpired(at, epoch):
            return [_LEASE_EXPIRED.pack(_Kind.LEASE_EXPIRED, at, epoch)]
        case Stalled(at, seconds):
            return [_STALLED.pack(_Kind.STALLED, at, seconds)]
        case InterfacesChanged(interfaces):
            return [bytes([_Kind.INTERFACES]) + b"".join(map(_encode_interface, interfaces))]
        case InterfaceFailed(interface, detail):
            name = _text(interface)
            return [bytes([_Kind.INTERFACE_FAILED, len(name)]) + name + _text(detail)]
        case Counters(addresses, drops):
            return _encode_counters(addresses, drops)
        case Exited(detail):
            return [bytes([_Kind.EXITED]) + _text(detail)]


def decode_events(message: bytes) -> list[ResponderEvent]:
    """Read what the responder sent, at least one event. Raises MessageError."""
    try:
        events = _decode_events(message)
    except (struct.error, IndexError, ValueError) as error:
        raise MessageError(f"event of {len(message)} bytes: {error}") from None
    if not events:
        raise MessageError(f"event of {len(message)} bytes that tells nothing")
    return events


def _decode_events(message: bytes) -> list[ResponderEvent]:
    match message[0]:
        case _Kind.ANNOUNCED:
            end = 2 + message[1]
            name = message[2:end].decode()
            entries = _ANNOUNCED.iter_unpack(message[end:])
            return [Announced(IPv4Address(packed), name, at) for packed, at in entries]
        case _Kind.WITHDRAWN:
            return [Withdrawn(IPv4Address(packed)) for packed in _split(message, 1, _ADDRESS_BYTES)]
        case _Kind.LEASE_EXPIRED:
            _, at, epoch = _LEASE_EXPIRED.unpack(message)
            return [LeaseExpired(at, epoch)]
        case _Kind.STALLED:
            _, at, seconds = _STALLED.unpack(message)
            return [Stalled(at, seconds)]
        case _Kind.INTERFACES:
            return [InterfacesChanged(tuple(_decode_interfaces(message[1:])))]
        case _Kind.INTERFACE_FAILED:
            end = 2 + message[1]
            return [InterfaceFailed(message[2:end].decode(), message[end:].decode())]
        case _Kind.COUNTERS:
            return [_decode_counters(message)]
        case _Kind.CLAIM:
            return [
                ClaimChanged(
                    IPv4Address(packed),
                    State(state),
                    Reason(reason),
                    _somebody(holder),
                    b"" if mac == _NO_MAC else mac,
                )
                for packed, state, reason, holder, mac in _CLAIM.iter_unpack(message[1:])
            ]
        case _Kind.FOREIGN:
            _, packed, mac, member = _FOREIGN.unpack(message)
            return [ForeignAnswer(IPv4Address(packed), mac, _somebody(member))]
        case _Kind.EVIDENCE:
            _, name, answer, proven = _EVIDENCE.unpack(message)
            return [MemberEvidence(name, Answer(answer), bool(proven))]
        case _Kind.LINK:
            return [LinkProven(message[2:].decode(), bool(message[1]))]
        case _Kind.EXITED:
            return [Exited(message[1:].decode())]
        case kind:
            raise MessageError(f"event of kind {kind}")


def _encode_interface(interface: InterfaceView) -> bytes:
    name = _text(interface.name)
    addresses = [
        bytes([address.network.prefixlen, len(address.packed)]) + address.packed
        for address in interface.addresses[:MAX_ADDRESSES]
    ]
    head = _INTERFACE.pack(interface.index, interface.mac, len(addresses), len(name))
    return b"".join([head, name, *addresses])


def _decode_interfaces(body: bytes) -> Iterator[InterfaceView]:
    offset = 0
    while offset < len(body):
        index, mac, count, length = _INTERFACE.unpack_from(body, offset)
        offset += _INTERFACE.size
        name = body[offset : offset + length].decode()
        offset += length
        addresses: list[IPv4Interface | IPv6Interface] = []
        for _ in range(count):
            prefix, length = body[offset], body[offset + 1]
            offset += 2
            addresses.append(ip_interface((body[offset : offset + length], prefix)))
            offset += length
        yield InterfaceView(index, name, mac, tuple(addresses))


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


def _somebody(name: bytes) -> bytes:
    return b"" if name == _NOBODY else name


def _text(text: str) -> bytes:
    return text.encode(errors="backslashreplace")[:_TEXT_BYTES]
