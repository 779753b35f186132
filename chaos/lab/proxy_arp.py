"""Answers ARP requests that are none of its business: as a switch that suppresses them, or as a host that answers everything.

Runs as a script of its own, with the standard library only and the right to open packet sockets:

    python -I -S chaos/lab/proxy_arp.py all eth0
    python -I -S chaos/lab/proxy_arp.py cache arp0 --ports d- --age 300

`all` answers every broadcast request that arrives on the interface with the interface's own MAC address, probes
(RFC 5227) too.

`cache` is a switch's ARP suppression (RFC 9161, Proxy-ARP, but for probes, which it answers as well). The switch brings
every broadcast request to the interface instead of flooding it (chaos/lab/switch.py, `suppression`). One whose target is
in the cache is answered from there; any other goes back to the switch, which floods it. The cache learns the sender of
every ARP frame that leaves the switch by one of its ports, so never from a port that is cut off, and forgets it after
--age seconds.

Says `ready` on standard output, and runs until it is ended.
"""

from __future__ import annotations

import argparse
import ctypes
import select
import socket
import struct
import sys
import time
from typing import Final, NamedTuple

_ETH_P_ALL: Final = 0x0003
_ETH_P_ARP: Final = 0x0806
_ARP: Final = struct.Struct("!6s6sHHHBBH6s4s6s4s")
_HEAD: Final = (_ETH_P_ARP, 1, 0x0800, 6, 4)
_BROADCAST: Final = b"\xff" * 6
_ANY: Final = bytes(4)
_REQUEST: Final = 1
_REPLY: Final = 2
_SO_ATTACH_FILTER: Final = 26
# Classic BPF: the frame's type is ARP, and (SKF_AD_PKTTYPE) it leaves this machine.
_LEAVING_ARP: Final = (
    (0x28, 0, 0, 12),
    (0x15, 0, 3, _ETH_P_ARP),
    (0x30, 0, 0, 0xFFFFF004),
    (0x15, 0, 1, socket.PACKET_OUTGOING),
    (0x06, 0, 0, 0xFFFF),
    (0x06, 0, 0, 0),
)


class Arp(NamedTuple):
    """An Ethernet frame with an ARP packet for IPv4 (RFC 826), addresses in network order."""

    destination: bytes
    source: bytes
    operation: int
    sender_mac: bytes
    sender_ip: bytes
    target_mac: bytes
    target_ip: bytes

    @property
    def asks(self) -> bool:
        """A broadcast request for another's address: neither unicast nor gratuitous."""
        return (
            self.operation == _REQUEST and self.destination == _BROADCAST and self.sender_ip != self.target_ip
        )

    def answer(self, source: bytes, mac: bytes) -> bytes:
        """The reply that says that `mac` has the target, sent by `source`."""
        return _ARP.pack(
            self.sender_mac,
            source,
            *_HEAD,
            _REPLY,
            mac,
            self.target_ip,
            self.sender_mac,
            self.sender_ip,
        )


def parse(frame: bytes) -> Arp | None:
    """Read a frame; None where it is no ARP packet for IPv4 over Ethernet."""
    if len(frame) < _ARP.size:
        return None
    destination, source, *head, operation, sender_mac, sender_ip, target_mac, target_ip = _ARP.unpack_from(
        frame
    )
    if tuple(head) != _HEAD:
        return None
    return Arp(destination, source, operation, sender_mac, sender_ip, target_mac, target_ip)


class Cache:
    """Which MAC address has which IP address, as a switch knows it. Times are monotonic seconds."""

    def __init__(self, age_s: float) -> None:
        self._age_s = age_s
        self._known: dict[bytes, tuple[bytes, float]] = {}

    def learn(self, arp: Arp, now: float) -> None:
        """Take note of who sent a frame."""
        if arp.sender_ip != _ANY:
            self._known[arp.sender_ip] = arp.sender_mac, now

    def find(self, address: bytes, now: float) -> bytes | None:
        """The MAC address of an IP address, None where it is not known or was last seen too long ago."""
        mac, seen = self._known.get(address, (b"", now))
        return mac if mac and now - seen < self._age_s else None

    def treat(self, arp: Arp, own_mac: bytes, now: float) -> bytes | None:
        """The answer to a frame, None where it has to be flooded."""
        mac = self.find(arp.target_ip, now) if arp.asks else None
        return arp.answer(own_mac, mac) if mac is not None and mac != arp.sender_mac else None


def _socket(interface: str, protocol: int) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.bind((interface, protocol))
    return sock


def _tap() -> socket.socket:
    """A socket that gets every ARP frame that leaves by any interface."""
    instructions = b"".join(struct.pack("=HBBI", *one) for one in _LEAVING_ARP)
    buffer = ctypes.create_string_buffer(instructions, len(instructions))
    program = struct.pack("@HP", len(_LEAVING_ARP), ctypes.addressof(buffer))
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    return sock


def _ready() -> None:
    print("ready", flush=True)


def answer_all(interface: str) -> None:
    """Answer every broadcast request."""
    sock = _socket(interface, _ETH_P_ARP)
    mac: bytes = sock.getsockname()[4]
    _ready()
    while True:
        frame, (_, _, packet_type, _, _) = sock.recvfrom(2048)
        arp = parse(frame) if packet_type != socket.PACKET_OUTGOING else None
        if arp is not None and arp.asks:
            sock.send(arp.answer(mac, mac))


def answer_from_cache(interface: str, ports: str, age_s: float) -> None:
    """Answer what the cache knows, hand back what it does not."""
    tap, sock = _tap(), _socket(interface, _ETH_P_ARP)
    own_mac: bytes = sock.getsockname()[4]
    cache = Cache(age_s)
    _ready()
    while True:
        readable, _, _ = select.select([tap, sock], [], [])
        # What left the switch before a request came is learned before it is treated.
        if tap in readable:
            frame, (name, _, packet_type, _, _) = tap.recvfrom(2048)
            # Some may have come before the filter was there.
            arp = parse(frame) if packet_type == socket.PACKET_OUTGOING else None
            if arp is not None and arp.source != own_mac and name.startswith(ports):
                cache.learn(arp, time.monotonic())
        elif sock in readable:
            frame, (_, _, packet_type, _, _) = sock.recvfrom(2048)
            arp = parse(frame)
            if arp is not None and packet_type != socket.PACKET_OUTGOING:
                sock.send(cache.treat(arp, own_mac, time.monotonic()) or frame)


def main(argv: list[str] | None = None) -> int:
    """Answer until ended."""
    parser = argparse.ArgumentParser(prog="proxy_arp", description="Answer ARP requests for others.")
    parser.add_argument("mode", choices=["all", "cache"])
    parser.add_argument("interface")
    parser.add_argument("--ports", default="", help="cache: how the names of the switch's ports begin")
    parser.add_argument(
        "--age", type=float, default=300.0, help="cache: seconds after which an entry is forgotten"
    )
    args = parser.parse_args(argv)
    if args.mode == "all":
        answer_all(args.interface)
    else:
        answer_from_cache(args.interface, args.ports, args.age)
    return 0


if __name__ == "__main__":
    sys.exit(main())
