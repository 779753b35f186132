"""What speaker and responder tell each other survives its encoding; what is no message is refused."""

from ipaddress import IPv4Address, IPv4Interface, IPv6Interface

import pytest

from announcer.errors import MessageError
from announcer.layer2 import encoding
from announcer.layer2.arp import DropReason
from announcer.layer2.claims import Reason, State
from announcer.layer2.encoding import MAX_ADDRESSES, MAX_MESSAGE
from announcer.layer2.evidence import Answer
from announcer.layer2.interfaces import MAX_INTERFACES, InterfaceView
from announcer.layer2.messages import (
    Add,
    AddressCounters,
    Announced,
    Ask,
    ClaimChanged,
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

VIP = IPv4Address("198.18.1.0")
ETH0 = InterfaceView(
    7,
    "eth0",
    bytes.fromhex("020000000001"),
    (IPv4Interface("198.18.0.11/16"), IPv6Interface("fe80::1/64")),
)


def there_and_back(events: list[ResponderEvent]) -> list[ResponderEvent]:
    encoded = encoding.encode_events(events)
    assert all(0 < len(message) <= MAX_MESSAGE for message in encoded)
    return [event for message in encoded for event in encoding.decode_events(message)]


@pytest.mark.parametrize(
    "event",
    [
        Announced(VIP, "eth0", 12.5),
        Withdrawn(VIP),
        LeaseExpired(12.5, 3),
        Stalled(12.5, 0.75),
        InterfacesChanged(()),
        InterfacesChanged((ETH0, ETH0._replace(index=8, name="eth1", addresses=()))),
        InterfaceFailed("eth0", "no packet socket: Operation not permitted"),
        Counters({}, dict.fromkeys(DropReason, 0)),
        Counters({VIP: AddressCounters(1, 2**40, 3)}, {reason: n for n, reason in enumerate(DropReason)}),
        ClaimChanged(VIP, State.HELD, Reason.HOLDER_ANSWERS, b"abcd"),
        ClaimChanged(VIP, State.ASKING, Reason.LINK_DOWN, b""),
        ClaimChanged(VIP, State.CONFLICTED, Reason.STRANGER_ANSWERS, b"", ETH0.mac),
        ForeignAnswer(VIP, ETH0.mac, b""),
        ForeignAnswer(VIP, ETH0.mac, b"abcd"),
        LinkProven("eth0", proven=False),
        LinkProven("eth0", proven=True),
        MemberEvidence(b"abcd", Answer.SILENT, proven=True),
        Exited("gone"),
    ],
    ids=lambda event: type(event).__name__,
)
def test_events(event: ResponderEvent) -> None:
    assert there_and_back([event]) == [event]


def test_events_keep_their_order() -> None:
    events: list[ResponderEvent] = [
        Announced(VIP, "eth0", 1.0),
        Announced(VIP + 1, "eth0", 1.5),
        Announced(VIP, "eth1", 2.0),
        Withdrawn(VIP),
        Withdrawn(VIP + 1),
        ClaimChanged(VIP, State.ASKING, Reason.WANTED, b""),
        ClaimChanged(VIP, State.ANNOUNCING, Reason.SILENCE, b""),
        Announced(VIP, "eth0", 3.0),
        LeaseExpired(4.0, 1),
    ]
    assert there_and_back(events) == events


def test_ten_thousand_addresses() -> None:
    addresses = [(VIP + offset).packed for offset in range(10_000)]
    added = encoding.encode_add(addresses, epoch=2, at=1.5)
    assert [address for _, part in added for address in part] == addresses
    for message, part in added:
        assert len(message) <= MAX_MESSAGE
        assert encoding.decode_command(message) == Add(2, 1.5, tuple(part))
    events: list[ResponderEvent] = [Announced(VIP + offset, "eth0", 1.0) for offset in range(10_000)]
    assert len(encoding.encode_events(events)) < 10
    assert there_and_back(events) == events
    events = [
        ClaimChanged(VIP + offset, State.CONFLICTED, Reason.STRANGER_ANSWERS, b"", ETH0.mac)
        for offset in range(10_000)
    ]
    assert there_and_back(events) == events
    counted = Counters(
        {VIP + n: AddressCounters(n, n, n) for n in range(10_000)}, dict.fromkeys(DropReason, 1)
    )
    told: dict[IPv4Address, AddressCounters] = {}
    for event in there_and_back([counted]):
        assert isinstance(event, Counters)
        told.update(event.addresses)
    assert told == counted.addresses


def test_every_interface_with_every_address_fits_one_message() -> None:
    crowded = ETH0._replace(name="x" * 15, addresses=(IPv6Interface("2001:2::1/48"),) * MAX_ADDRESSES)
    event = InterfacesChanged(tuple(crowded._replace(index=n) for n in range(MAX_INTERFACES)))
    assert there_and_back([event]) == [event]


def test_commands_about_members_and_claims() -> None:
    introduced = encoding.encode_introduce("n1", [b"k" * 32, b""], epoch=1, at=2.0)
    assert encoding.decode_command(introduced) == Introduce(1, 2.0, "n1", (b"k" * 32, b""))
    ((told, names),) = encoding.encode_members([b"abcd", b"efgh"], alive=False, epoch=1, at=2.0)
    assert encoding.decode_command(told) == Members(1, 2.0, alive=False, names=tuple(names))
    ((given, part),) = encoding.encode_hand_over([VIP.packed], to=b"abcd", epoch=1, at=2.0)
    assert encoding.decode_command(given) == HandOver(1, 2.0, b"abcd", tuple(part))
    ((added, part),) = encoding.encode_add([VIP.packed], known=True, epoch=1, at=2.0)
    assert encoding.decode_command(added) == Add(1, 2.0, tuple(part), known=True)
    for turn in (-(2**31), 0, LAST_TURN):
        ((added, part),) = encoding.encode_add([VIP.packed], turn=turn, epoch=1, at=2.0)
        assert encoding.decode_command(added) == Add(1, 2.0, tuple(part), turn=turn)
    asked = encoding.encode_ask(b"abcd", VIP.packed, epoch=1, at=2.0)
    assert encoding.decode_command(asked) == Ask(1, 2.0, b"abcd", VIP.packed)
    paced = encoding.encode_pace(50_000, epoch=1, at=2.0)
    assert encoding.decode_command(paced) == Pace(1, 2.0, 50_000)
    for broken in (introduced[:-1] + b"\x05", asked[:-4], given[:13], added[:13]):
        with pytest.raises(MessageError):
            encoding.decode_command(broken)


def test_commands() -> None:
    packed = VIP.packed
    assert encoding.decode_command(encoding.encode_renew(epoch=1, at=2.5)) == Renew(1, 2.5)
    ((message, part),) = encoding.encode_remove([packed], epoch=1, at=2.5)
    assert encoding.decode_command(message) == Remove(1, 2.5, (packed,))
    assert part == [packed]
    assert encoding.encode_add([], epoch=1, at=2.5) == []


@pytest.mark.parametrize("message", [b"", b"\x01", b"\x02" + bytes(12) + b"abc", b"\x63" + bytes(12)])
def test_what_is_no_command_is_refused(message: bytes) -> None:
    with pytest.raises(MessageError):
        encoding.decode_command(message)


@pytest.mark.parametrize(
    "message", [b"", b"\x00", b"\x10\x04eth", b"\x12\x00", b"\x14abc", b"\x16abc", b"\x17\xff"]
)
def test_what_is_no_event_is_refused(message: bytes) -> None:
    with pytest.raises(MessageError):
        encoding.decode_events(message)
