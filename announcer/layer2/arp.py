"""ARP over Ethernet (RFC 826): read a frame, build a frame, decide whether to answer one.

Pure: bytes in, bytes or a reason out. MAC addresses are 6 bytes, IPv4 addresses 4 bytes in network order.
"""

import struct
from collections.abc import Container
from enum import StrEnum
from typing import NamedTuple

BROADCAST = b"\xff" * 6
ANY = b"\x00" * 4
REQUEST = 1
REPLY = 2
MINIMUM_FRAME = 60
"""Bytes of the shortest Ethernet frame without its checksum (IEEE 802.3); shorter ones are padded with zeros."""

_ETHERTYPES_VLAN = frozenset({b"\x81\x00", b"\x88\xa8", b"\x91\x00"})
_HEADER_BYTES = 14
_ARP_FOR_IPV4 = struct.pack("!HHHBB", 0x0806, 1, 0x0800, 6, 4)
"""EtherType, hardware and protocol and the lengths of their addresses: bytes 12 to 20 of every frame of interest."""
_READ = struct.Struct("!6s6s8xH6s4s6s4s")
_WRITE = struct.Struct(f"!6s6s8sH6s4s6s4s{MINIMUM_FRAME - _READ.size}x")
_TARGET_IP = slice(38, 42)


class DropReason(StrEnum):
    """Why a frame was not answered. The order is part of the wire form of the counters: append only."""

    CLOSED = "closed"
    """The interface went away between arrival and answer."""
    ERROR = "error"
    """Reading or sending failed."""
    NOT_REQUEST = "notRequest"
    ETHERNET_DESTINATION = "ethernetDestination"
    """Neither broadcast nor exactly the MAC of the receiving interface."""
    NOT_ANNOUNCED = "notAnnounced"
    """The target is not announced here."""
    TRUNCATED = "truncated"
    """Shorter than an Ethernet header and an ARP packet (42 bytes)."""
    MALFORMED = "malformed"
    """Not ARP for IPv4 over Ethernet, or a sender MAC that is a group address."""
    VLAN_TAGGED = "vlanTagged"
    """Belongs to another segment: an answer without the tag would go to the wrong one."""
    OWN_FRAME = "ownFrame"
    """Sent by this interface and reflected back."""
    STALLED = "stalled"
    """Waited in the queue while this process did not run; whoever asked has moved on."""
    SIGNED = "signed"
    """Between members: an answer, a hello or an announcement, which is no request."""


class ArpFrame(NamedTuple):
    """An Ethernet frame with an ARP packet for IPv4."""

    destination: bytes
    source: bytes
    operation: int
    sender_mac: bytes
    sender_ip: bytes
    target_mac: bytes
    target_ip: bytes

    def encode(self) -> bytes:
        """Return the frame as sent, padded with zeros to 60 bytes."""
        return _WRITE.pack(
            self.destination,
            self.source,
            _ARP_FOR_IPV4,
            self.operation,
            self.sender_mac,
            self.sender_ip,
            self.target_mac,
            self.target_ip,
        )


def parse(frame: bytes) -> ArpFrame | DropReason:
    """Read an Ethernet frame with an ARP packet; trailing bytes (padding) are allowed. Never raises.

    Returns TRUNCATED, VLAN_TAGGED or MALFORMED where there is no ARP packet for IPv4 over Ethernet.
    """
    if frame[12:20] != _ARP_FOR_IPV4 or len(frame) < _READ.size:
        return _unreadable(frame)
    return ArpFrame._make(_READ.unpack_from(frame))


def _unreadable(frame: bytes) -> DropReason:
    if frame[12:_HEADER_BYTES] in _ETHERTYPES_VLAN:
        return DropReason.VLAN_TAGGED
    return DropReason.TRUNCATED if len(frame) < _READ.size else DropReason.MALFORMED


def target_ip(frame: bytes) -> bytes:
    """The target address of a frame that was encoded or read without complaint."""
    return frame[_TARGET_IP]


def answer(frame: bytes, mac: bytes, announced: Container[bytes]) -> bytes | DropReason:
    """Decide on one received frame: the reply to send on the same interface, or why there is none. Never raises.

    Answered is a request whose Ethernet destination is broadcast or exactly `mac` and whose target is in `announced`;
    probes (sender 0.0.0.0, RFC 5227) and gratuitous requests of others are requests like any. The reply goes to the
    sender MAC of the ARP packet. MetalLB internal/layer2/arp.go; the group-address check is RFC 1812 3.3.2.
    """
    if frame[12:20] != _ARP_FOR_IPV4 or len(frame) < _READ.size:
        return _unreadable(frame)
    destination, source, operation, asker, asker_ip, _, target = _READ.unpack_from(frame)
    if operation != REQUEST:
        return DropReason.NOT_REQUEST
    if destination not in (BROADCAST, mac):
        return DropReason.ETHERNET_DESTINATION
    if target not in announced:
        return DropReason.NOT_ANNOUNCED
    if mac in (source, asker):
        return DropReason.OWN_FRAME
    if asker[0] & 1:
        return DropReason.MALFORMED
    return _WRITE.pack(asker, mac, _ARP_FOR_IPV4, REPLY, mac, target, asker, asker_ip)


def gratuitous(operation: int, *, mac: bytes, address: bytes) -> ArpFrame:
    """Build a gratuitous request or reply: sender and target IP are `address`, target MAC and destination broadcast.

    The target MAC of all ones is what MetalLB sends; receivers ignore the field in both forms (RFC 5227 section 3).
    """
    return ArpFrame(BROADCAST, mac, operation, mac, address, BROADCAST, address)


def directed(*, mac: bytes, address: bytes, to_mac: bytes, to_address: bytes) -> ArpFrame:
    """Build a request to one host, asking for its own address: what it learns is where `address` is (RFC 826)."""
    return ArpFrame(to_mac, mac, REQUEST, mac, address, b"\x00" * 6, to_address)
