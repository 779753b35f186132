"""A tap on the segment that writes down every ARP frame about the VIPs, whoever it is for.

Runs as a script of its own in the network namespace of the switch, with the standard library only and the right to
open a packet socket:

    python -I -S chaos/recorder.py br-data --network 198.18.1.0/24 --out FILE

A bridge in promiscuous mode hands itself a copy of every frame that it forwards. FILE gets one JSON array a line, times
in seconds of the monotonic clock, in the order in which the frames passed:

    ["recorder", interface, monotonic, wall]   once, first
    ["f", kind, mac, to, sender, target, at]   a frame of `mac` for `to`; sender and target are its protocol addresses
    ["end", at]                                after SIGTERM or SIGINT

kind is "announcement" (sender and target are the same VIP), "reply", "request" (with a VIP as sender), "probe" (RFC 5227: a
question for a VIP without a sender), or "offer" (a reply whose padding says that the owner would rather have `to` answer,
docs/claims.md). Questions by hosts are left out.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import select
import signal
import socket
import struct
import sys
import time
from typing import Final, TextIO

FLUSH_S: Final = 0.2
_ETH_P_ARP: Final = 0x0806
_ARP: Final = struct.Struct("!6s6sHHHBBH6s4s6s4s")
_SOL_PACKET: Final = 263
_PACKET_ADD_MEMBERSHIP: Final = 1
_PACKET_MR_PROMISC: Final = 1
_PACKET_OUTGOING: Final = 4
_MAGIC: Final = b"vr"
_OFFER: Final = 5
_NOBODY: Final = "0.0.0.0"


def kind_of(
    operation: int, sender: str, target: str, padding: bytes, network: ipaddress.IPv4Network
) -> str | None:
    """What an ARP frame is to the addresses of `network`; None for one that says nothing of them."""
    if ipaddress.IPv4Address(sender) in network:
        if sender == target:
            return "announcement"
        if operation != 2:
            return "request"
        return "offer" if padding[:2] == _MAGIC and padding[2:3] and padding[2] & 0xF == _OFFER else "reply"
    if operation == 1 and sender == _NOBODY and ipaddress.IPv4Address(target) in network:
        return "probe"
    return None


def tap(interface: str) -> socket.socket:
    """A packet socket that sees all ARP frames of `interface`."""
    found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    found.setblocking(False)
    found.bind((interface, _ETH_P_ARP))
    membership = struct.pack("iHH8s", socket.if_nametoindex(interface), _PACKET_MR_PROMISC, 0, b"")
    found.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)
    return found


def record(found: socket.socket, out: TextIO, network: ipaddress.IPv4Network, stopped: list[bool]) -> None:
    """Write frames until `stopped` holds something."""
    flush = time.monotonic()
    while not stopped:
        select.select([found], [], [], FLUSH_S)
        while True:
            try:
                frame, (_, _, packet_type, _, _) = found.recvfrom(128)
            except BlockingIOError:
                break
            if packet_type == _PACKET_OUTGOING or len(frame) < _ARP.size:
                continue
            fields = _ARP.unpack(frame[: _ARP.size])
            sender, target = socket.inet_ntoa(fields[9]), socket.inet_ntoa(fields[11])
            kind = kind_of(fields[7], sender, target, frame[_ARP.size :], network)
            if kind is not None:
                _add(out, "f", kind, fields[1].hex(":"), fields[0].hex(":"), sender, target, time.monotonic())
        now = time.monotonic()
        if now >= flush:
            out.flush()
            flush = now + FLUSH_S
    _add(out, "end", time.monotonic())


def _add(out: TextIO, *event: object) -> None:
    out.write(json.dumps(event, separators=(",", ":")) + "\n")


def main(argv: list[str] | None = None) -> int:
    """Record until SIGTERM or SIGINT, or for --seconds."""
    parser = argparse.ArgumentParser(
        prog="recorder", description="Record the ARP frames about some addresses."
    )
    parser.add_argument("interface")
    parser.add_argument("--network", required=True, type=ipaddress.IPv4Network, help="the addresses")
    parser.add_argument(
        "--seconds", type=float, default=1800.0, help="end by itself after this time (default 1800)"
    )
    parser.add_argument("--out", required=True, help="file for the record")
    args = parser.parse_args(argv)
    stopped: list[bool] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, lambda *_: stopped.append(True))
    signal.setitimer(signal.ITIMER_REAL, args.seconds)
    with open(args.out, "w", encoding="utf-8") as out, tap(args.interface) as found:
        _add(out, "recorder", args.interface, time.monotonic(), time.time())
        out.flush()
        record(found, out, args.network, stopped)
    return 0


if __name__ == "__main__":
    sys.exit(main())
