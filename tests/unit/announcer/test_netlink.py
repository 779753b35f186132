"""Netlink messages built by hand: what they say, and what a dump with a gap leads to."""

import errno
import socket
import struct
from ipaddress import ip_interface

from announcer.layer2.interfaces import IFF_BROADCAST, IFF_LOWER_UP, IFF_UP, InterfaceView, Link, LinkTable
from announcer.layer2.netlink import (
    AddressGone,
    AddressSet,
    DumpDone,
    Inconsistent,
    LinkGone,
    LinkMonitor,
    LinkSet,
    parse,
)

MAC = bytes.fromhex("020000000001")
FLAGS = IFF_UP | IFF_BROADCAST | IFF_LOWER_UP
NEWLINK, DELLINK, NEWADDR, DELADDR = 16, 17, 20, 21
NAME, MASTER, WIRELESS, HARDWARE = 3, 10, 11, 1
DUMP_INTERRUPTED = 0x10


def message(kind: int, body: bytes, *, sequence: int = 0, flags: int = 0) -> bytes:
    head = struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0)
    return (head + body).ljust((16 + len(body) + 3) & ~3, b"\0")


def attribute(kind: int, value: bytes) -> bytes:
    return (struct.pack("=HH", 4 + len(value), kind) + value).ljust((4 + len(value) + 3) & ~3, b"\0")


def link(
    *extra: bytes,
    kind: int = NEWLINK,
    index: int = 2,
    family: int = 0,
    name: bytes | None = b"eth0\0",
    flags: int = 0,
) -> bytes:
    attributes = [attribute(HARDWARE, MAC), *extra]
    if name is not None:
        attributes.append(attribute(NAME, name))
    body = struct.pack("=BxHiII", family, 1, index, FLAGS, 0) + b"".join(attributes)
    return message(kind, body, flags=flags)


def address(*attributes: bytes, kind: int = NEWADDR, family: int = socket.AF_INET, prefix: int = 16) -> bytes:
    return message(kind, struct.pack("=BBBBI", family, prefix, 0, 0, 2) + b"".join(attributes))


def done(sequence: int, error: int = 0) -> bytes:
    return message(3, struct.pack("=i", -error), sequence=sequence)


def test_links() -> None:
    assert list(parse(link())) == [LinkSet(Link(2, "eth0", FLAGS, MAC, enslaved=False))]
    (enslaved,) = parse(link(attribute(MASTER, struct.pack("=I", 9))))
    assert isinstance(enslaved, LinkSet)
    assert enslaved.link.enslaved
    assert list(parse(link(kind=DELLINK))) == [LinkGone(2)]


def test_what_tells_no_state_of_a_link_is_passed_over() -> None:
    assert list(parse(link(kind=DELLINK, family=7))) == [], "a port leaving a bridge, no link that goes"
    assert list(parse(link(name=None))) == []
    assert list(parse(link(attribute(WIRELESS, b"x")))) == []
    assert list(parse(message(24, bytes(12)))) == [], "a route"


def test_name_that_is_no_text_is_kept_readable() -> None:
    (notice,) = parse(link(name=b"e\xff\0"))
    assert isinstance(notice, LinkSet)
    assert notice.link.name == "e\\xff"


def test_addresses() -> None:
    local, far = attribute(2, bytes([198, 18, 0, 11])), attribute(1, bytes([198, 18, 0, 1]))
    assert list(parse(address(far, local))) == [AddressSet(2, ip_interface("198.18.0.11/16"))]
    assert list(parse(address(far))) == [AddressSet(2, ip_interface("198.18.0.1/16"))]
    assert list(parse(address(local, kind=DELADDR))) == [AddressGone(2, ip_interface("198.18.0.11/16"))]
    six = address(attribute(1, ip_interface("fe80::1/64").packed), family=socket.AF_INET6, prefix=64)
    assert list(parse(six)) == [AddressSet(2, ip_interface("fe80::1/64"))]
    assert list(parse(address(local, family=99))) == []
    assert list(parse(address())) == []


def test_several_messages_in_one_datagram() -> None:
    assert list(parse(link() + done(4) + link(kind=DELLINK))) == [
        LinkSet(Link(2, "eth0", FLAGS, MAC, enslaved=False)),
        DumpDone(4, 0),
        LinkGone(2),
    ]


def test_broken_messages_say_that_something_is_missing() -> None:
    for broken in (
        link()[:-1],
        struct.pack("=IHHII", 3, NEWLINK, 0, 0, 0),
        message(NEWLINK, b"short"),
        link(struct.pack("=HH", 2, 5)),
        address(attribute(2, b"\x01\x02")),
        address(attribute(2, bytes(4)), prefix=77),
        message(4, b""),
    ):
        assert list(parse(link(index=9) + broken))[1:] == [Inconsistent()]


def test_an_interrupted_dump_is_told_once_and_read_on() -> None:
    notices = list(parse(link(flags=DUMP_INTERRUPTED) + message(3, bytes(4), flags=DUMP_INTERRUPTED)))
    assert [type(notice) for notice in notices] == [Inconsistent, LinkSet, DumpDone]


class TestMonitor:
    def setup_method(self) -> None:
        self.monitor = LinkMonitor(LinkTable(None))

    def sequence(self, request: bytes | None) -> tuple[int, int]:
        """Message type and sequence number of a request."""
        assert request is not None
        _, kind, flags, sequence, _ = struct.unpack_from("=IHHII", request)
        assert flags == 0x301
        return kind, sequence

    def test_dumps_links_then_addresses(self) -> None:
        assert self.sequence(self.monitor.restart()) == (18, 1)
        assert self.monitor.receive(link()) is None
        assert self.sequence(self.monitor.receive(done(1))) == (22, 2)
        assert self.monitor.receive(address(attribute(2, bytes([198, 18, 0, 11])))) is None
        before = self.monitor.settled
        assert self.monitor.receive(done(2)) is None
        assert (before, self.monitor.settled) == (False, True)
        expected = InterfaceView(2, "eth0", MAC, (ip_interface("198.18.0.11/16"),))
        assert self.monitor.table.views() == (expected,)

    def test_lost_notices_lead_to_another_dump(self) -> None:
        self.settle()
        assert self.sequence(self.monitor.restart()) == (18, 3)
        self.monitor.receive(done(3))
        self.monitor.receive(done(4))
        assert self.monitor.table.views() == ()

    def test_gap_during_a_dump_waits_for_its_end(self) -> None:
        self.monitor.restart()
        assert self.monitor.receive(link(flags=DUMP_INTERRUPTED)) is None
        assert self.monitor.restart() is None
        assert self.sequence(self.monitor.receive(done(1))) == (18, 2)

    def test_a_dump_that_is_never_whole_is_used_in_the_end(self) -> None:
        request = self.monitor.restart()
        rounds = 0
        while not self.monitor.settled:
            rounds += 1
            assert rounds < 10
            kind, sequence = self.sequence(request)
            if kind == 18:
                self.monitor.receive(link())
            else:
                self.monitor.receive(link(flags=DUMP_INTERRUPTED))
            request = self.monitor.receive(done(sequence))
        assert [view.name for view in self.monitor.table.views()] == ["eth0"]
        assert request is not None, "and it goes on looking for a whole one"

    def test_end_of_another_dump_means_nothing(self) -> None:
        self.monitor.restart()
        assert self.monitor.receive(done(77)) is None
        assert self.sequence(self.monitor.receive(done(1))) == (22, 2)

    def test_notices_during_a_dump_count(self) -> None:
        self.settle()
        self.monitor.restart()
        self.monitor.receive(link(index=5, name=b"eth5\0"))
        self.monitor.receive(done(3))
        self.monitor.receive(done(4))
        assert [view.name for view in self.monitor.table.views()] == ["eth5"]

    def test_refusal_is_told(self) -> None:
        self.monitor.restart()
        assert self.monitor.receive(done(1, error=errno.EBUSY)) is None
        assert self.monitor.error == "the kernel refused to list links: EBUSY"

    def settle(self) -> None:
        self.monitor.restart()
        self.monitor.receive(link())
        self.monitor.receive(done(1))
        self.monitor.receive(done(2))
        assert self.monitor.settled
