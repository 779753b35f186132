"""Links and addresses from the kernel by route netlink: linux/rtnetlink.h, if_link.h, if_addr.h; rtnetlink(7).

`parse` is pure and takes any bytes; `RouteSocket` is the shell around it. Fields are in host byte order, as netlink
has them. Of routes only the notice that a default one changed is let through, and says nothing but that
(announcer/layer2/gateways.py reads the table).
"""

import errno
import re
import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_interface
from typing import Final, Literal, NamedTuple, TypeAlias

from announcer.layer2 import privileges
from announcer.layer2.interfaces import Address, Link, LinkTable

_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_NLMSG_OVERRUN = 4
_RTM_NEWLINK = 16
_RTM_DELLINK = 17
_RTM_GETLINK = 18
_RTM_NEWADDR = 20
_RTM_DELADDR = 21
_RTM_GETADDR = 22
_RTM_NEWROUTE = 24
_RTM_DELROUTE = 25
_NLM_F_REQUEST = 0x1
_NLM_F_DUMP = 0x300
_NLM_F_DUMP_INTR = 0x10
_IFLA_ADDRESS = 1
_IFLA_IFNAME = 3
_IFLA_MASTER = 10
_IFLA_WIRELESS = 11
_IFA_ADDRESS = 1
_IFA_LOCAL = 2
_GROUPS = 0x1 | 0x10 | 0x40 | 0x100
"""RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR."""
_ATTRIBUTE_TYPE = 0x3FFF
_KERNEL = 0

_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_DUMP_REQUEST = struct.Struct("=IHHIIB3x")
_ERROR = struct.Struct("=i")
_NO_OTHER_ROUTES: Final = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in (
        (0x28, 0, 0, 4),  # load nlmsg_type; a load takes it for network order
        (0x15, 1, 0, socket.htons(_RTM_NEWROUTE)),
        (0x15, 0, 2, socket.htons(_RTM_DELROUTE)),
        (0x30, 0, 0, 17),  # load rtm_dst_len
        (0x15, 0, 1, 0),
        (0x06, 0, 0, 0xFFFFFFFF),  # accept
        (0x06, 0, 0, 0),  # refuse
    )
)
"""Classic BPF: the table of a router that changes all the time must not wake this process."""
_RECEIVE_BYTES = 65_536
_READS_A_CALL = 64


class LinkSet(NamedTuple):
    """The link exists and looks like this."""

    link: Link


class LinkGone(NamedTuple):
    """The link was deleted or left this network namespace."""

    interface: int


class AddressSet(NamedTuple):
    """The interface has the address."""

    interface: int
    address: Address


class AddressGone(NamedTuple):
    """The interface no longer has the address."""

    interface: int
    address: Address


class DumpDone(NamedTuple):
    """The dump with this sequence number is complete; `error` is an errno, 0 where all went well."""

    sequence: int
    error: int


class Inconsistent(NamedTuple):
    """What the kernel sent has a gap: only another dump tells the state."""


_PATIENCE: Final = 2
"""Interrupted dumps in a row before one is used: where addresses never rest (IPVS), no dump is ever whole, and the notices
that came meanwhile are true."""

Notice: TypeAlias = LinkSet | LinkGone | AddressSet | AddressGone | DumpDone | Inconsistent


def dump_request(kind: Literal["links", "addresses"], *, sequence: int) -> bytes:
    """Build the request for a dump of all links, or of the addresses of all families."""
    message = _RTM_GETLINK if kind == "links" else _RTM_GETADDR
    return _DUMP_REQUEST.pack(_DUMP_REQUEST.size, message, _NLM_F_REQUEST | _NLM_F_DUMP, sequence, 0, 0)


def parse(data: bytes) -> Iterator[Notice]:
    """Read the messages of one netlink datagram. Takes any bytes: what cannot be read yields Inconsistent, at most once.

    Messages of no interest are passed over.
    """
    offset = 0
    interrupted = False
    while offset + _HEADER.size <= len(data):
        length, kind, flags, sequence, _port = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size or offset + length > len(data):
            yield Inconsistent()
            return
        if kind == _NLMSG_OVERRUN:
            yield Inconsistent()
            return
        if flags & _NLM_F_DUMP_INTR and not interrupted:
            # What follows is true all the same, and the end of the dump must not be missed.
            interrupted = True
            yield Inconsistent()
        try:
            notice = _notice(kind, sequence, data[offset + _HEADER.size : offset + length])
        except (struct.error, ValueError):
            yield Inconsistent()
            return
        if notice is not None:
            yield notice
        offset += _aligned(length)


def _notice(kind: int, sequence: int, body: bytes) -> Notice | None:
    if kind in (_NLMSG_DONE, _NLMSG_ERROR):
        # Both begin with zero or a negative errno.
        return DumpDone(sequence, -_ERROR.unpack_from(body)[0])
    if kind in (_RTM_NEWLINK, _RTM_DELLINK):
        return _link_notice(body, deleted=kind == _RTM_DELLINK)
    if kind in (_RTM_NEWADDR, _RTM_DELADDR):
        return _address_notice(body, deleted=kind == _RTM_DELADDR)
    return None


def _link_notice(body: bytes, *, deleted: bool) -> Notice | None:
    family, _type, index, flags, _change = _LINK.unpack_from(body)
    if family != socket.AF_UNSPEC:
        # A bridge speaks of its ports with AF_BRIDGE: a port that leaves is no link that goes.
        return None
    if deleted:
        return LinkGone(index)
    attributes = _attributes(body[_LINK.size :])
    name = attributes.get(_IFLA_IFNAME)
    if name is None or _IFLA_WIRELESS in attributes:
        # Events of wireless drivers carry a few attributes only and tell no state.
        return None
    text = name.rstrip(b"\0").decode(errors="backslashreplace")
    mac = attributes.get(_IFLA_ADDRESS, b"")
    return LinkSet(Link(index, text, flags, mac, _IFLA_MASTER in attributes))


def _address_notice(body: bytes, *, deleted: bool) -> Notice | None:
    family, prefix, _flags, _scope, index = _ADDRESS.unpack_from(body)
    if family not in (socket.AF_INET, socket.AF_INET6):
        return None
    attributes = _attributes(body[_ADDRESS.size :])
    # On a point-to-point link IFA_ADDRESS is the far end.
    packed = attributes.get(_IFA_LOCAL, attributes.get(_IFA_ADDRESS))
    if packed is None:
        return None
    address = ip_interface((packed, prefix))
    return AddressGone(index, address) if deleted else AddressSet(index, address)


def _attributes(data: bytes) -> dict[int, bytes]:
    attributes = {}
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size or offset + length > len(data):
            raise ValueError("attribute longer than its message")
        attributes[kind & _ATTRIBUTE_TYPE] = data[offset + _ATTRIBUTE.size : offset + length]
        offset += _aligned(length)
    return attributes


def _aligned(length: int) -> int:
    return (length + 3) & ~3


class LinkMonitor:
    """Keeps a LinkTable true: dumps links, then addresses, follows the notices, dumps again after a gap.

    Sans-IO. The kernel runs one dump a socket, so what asks for another while one runs waits for its end.
    """

    def __init__(self, table: LinkTable) -> None:
        self.table = table
        self.settled = False
        """A whole dump has been taken in."""
        self.error: str | None = None
        """The kernel refused the dump; only another socket helps."""
        self._sequence = 0
        self._dumping: Literal["links", "addresses"] | None = None
        self._again = False
        self._interrupted = 0

    def restart(self) -> bytes | None:
        """Ask for a dump: after start, or when notices were lost. Returns what to send now, if anything."""
        if self._dumping is not None:
            self._again = True
            return None
        self.table.begin_dump()
        return self._request("links")

    def receive(self, data: bytes) -> bytes | None:
        """Take in one datagram of the kernel; returns what to send, if anything. Never raises."""
        request = None
        for notice in parse(data):
            match notice:
                case LinkSet(link):
                    self.table.set_link(link)
                case LinkGone(index):
                    self.table.remove_link(index)
                case AddressSet(index, address):
                    self.table.add_address(index, address)
                case AddressGone(index, address):
                    self.table.remove_address(index, address)
                case Inconsistent():
                    request = self.restart() or request
                case DumpDone(sequence, error):
                    if sequence == self._sequence and self._dumping is not None:
                        request = self._dump_done(error) or request
        return request

    def _request(self, kind: Literal["links", "addresses"]) -> bytes:
        self._dumping = kind
        self._sequence += 1
        return dump_request(kind, sequence=self._sequence)

    def _dump_done(self, error: int) -> bytes | None:
        ended, self._dumping = self._dumping, None
        if error:
            self.error = f"the kernel refused to list {ended}: {errno.errorcode.get(error, error)}"
            return None
        if self._again and (ended == "addresses" or self._interrupted < _PATIENCE):
            self._again = False
            self._interrupted += 1
            if ended == "addresses" and self._interrupted > _PATIENCE:
                self._settle()
            return self.restart()
        if ended == "links":
            return self._request("addresses")
        self._interrupted = 0
        self._settle()
        return None

    def _settle(self) -> None:
        self.table.end_dump()
        self.settled = True


class RouteSocket:
    """A subscription to the links, addresses and default routes of this network namespace. Raises OSError where it cannot be
    opened."""

    def __init__(self, exclude: re.Pattern[str] | None) -> None:
        self.monitor = LinkMonitor(LinkTable(exclude))
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
        try:
            privileges.attach_filter(self._socket, _NO_OTHER_ROUTES)
            self._socket.bind((0, _GROUPS))
            self._send(self.monitor.restart())
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Descriptor that is readable while notices wait."""
        return self._socket.fileno()

    def read(self) -> None:
        """Take in what waits, a bounded number of datagrams. Raises OSError where the socket is of no more use."""
        for _ in range(_READS_A_CALL):
            try:
                data, (port, _groups) = self._socket.recvfrom(_RECEIVE_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._send(self.monitor.restart())
                continue
            if port != _KERNEL:
                continue
            self._send(self.monitor.receive(data))
            if self.monitor.error is not None:
                raise OSError(self.monitor.error)

    def close(self) -> None:
        """End the subscription."""
        self._socket.close()

    def _send(self, request: bytes | None) -> None:
        if request is not None:
            self._socket.send(request)
