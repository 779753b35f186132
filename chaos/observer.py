"""A host that keeps asking who has the VIPs and writes down every MAC address that says "I do".

Runs as a script of its own inside the observer's network namespace, with the standard library only and
the right to open a packet socket:

    python -I -S chaos/observer.py eth0 --vip 198.18.1.0 --vip 198.18.1.1 --out FILE

Every 50 ms it broadcasts one ARP request (RFC 826) for each VIP. The sender protocol address goes round a
few spare addresses, and an answer repeats it, so that an answer that comes late is still counted for the
question it belongs to. FILE gets one JSON array a line, times in seconds of the monotonic clock:

    ["observer", interface, interval_s, rounds, monotonic, wall]   once, first; rounds: questions told apart
    ["q", number, vip, at]             a question left
    ["a", number, vip, mac, at]        an answer to that question
    ["g", vip, mac, form, at]          a gratuitous frame was seen; form is "request" or "reply"
    ["end", at]                        after SIGTERM or SIGINT
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

INTERVAL_S: Final = 0.05
"""Seconds between two questions for one VIP."""

MAX_VIPS: Final = 10
"""More VIPs than this would make the observer a load of its own."""

FLUSH_S: Final = 0.2
_ETH_P_ARP: Final = 0x0806
_ARP: Final = struct.Struct("!6s6sHHHBBH6s4s6s4s")
_BROADCAST: Final = b"\xff" * 6


def request(mac: bytes, sender: bytes, vip: bytes) -> bytes:
    """One broadcast ARP request, 42 bytes; addresses in network order."""
    return _ARP.pack(_BROADCAST, mac, _ETH_P_ARP, 1, 0x0800, 6, 4, 1, mac, sender, b"\0" * 6, vip)


class Observer:
    """Questions out, answers and gratuitous frames in."""

    def __init__(self, out: TextIO, interface: str, vips: list[bytes], senders: list[bytes]) -> None:
        self._out = out
        self._vips = vips
        self._senders = senders
        self._number = 0
        # The number of the last question that went out under each sender address.
        self._asked: dict[bytes, int] = {}
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setblocking(False)
        self._socket.bind((interface, _ETH_P_ARP))
        self.mac: bytes = self._socket.getsockname()[4]

    def add(self, *event: object) -> None:
        """Append one event to the record."""
        self._out.write(json.dumps(event, separators=(",", ":")) + "\n")

    def fileno(self) -> int:
        """The packet socket's descriptor, for select."""
        return self._socket.fileno()

    def ask(self) -> None:
        """Ask once for every VIP."""
        sender = self._senders[self._number % len(self._senders)]
        self._asked[sender] = self._number
        for vip in self._vips:
            at = time.monotonic()
            self._socket.send(request(self.mac, sender, vip))
            self.add("q", self._number, socket.inet_ntoa(vip), at)
        self._number += 1

    def drain(self) -> None:
        """Read everything that has arrived."""
        while True:
            try:
                frame, (_, _, packet_type, _, _) = self._socket.recvfrom(2048)
            except BlockingIOError:
                return
            if packet_type != socket.PACKET_OUTGOING:
                self._receive(frame, time.monotonic())

    def _receive(self, frame: bytes, now: float) -> None:
        if len(frame) < _ARP.size:
            return
        _, _, kind, hardware, protocol, hlen, plen, operation, mac, sender, _, target = _ARP.unpack(
            frame[: _ARP.size]
        )
        if (kind, hardware, protocol, hlen, plen) != (
            _ETH_P_ARP,
            1,
            0x0800,
            6,
            4,
        ) or sender not in self._vips:
            return
        vip, who = socket.inet_ntoa(sender), mac.hex(":")
        if sender == target:
            self.add("g", vip, who, "request" if operation == 1 else "reply", now)
        elif operation == 2 and target in self._asked:
            self.add("a", self._asked[target], vip, who, now)

    def close(self) -> None:
        """Close the packet socket."""
        self._socket.close()


def observe(observer: Observer, out: TextIO, stopped: list[bool]) -> None:
    """Ask and listen until `stopped` holds something; then listen for two more rounds."""
    due = flush = time.monotonic()
    end: float | None = None
    while True:
        now = time.monotonic()
        if end is None and stopped:
            end = now + 2 * INTERVAL_S
        if end is not None and now >= end:
            break
        if end is None and now >= due:
            observer.ask()
            due = max(due + INTERVAL_S, now)
        if now >= flush:
            out.flush()
            flush = now + FLUSH_S
        wake = end if end is not None else due
        if select.select([observer], [], [], max(0.0, wake - time.monotonic()))[0]:
            observer.drain()
    observer.add("end", time.monotonic())
    out.flush()


def main(argv: list[str] | None = None) -> int:
    """Observe until SIGTERM or SIGINT, or for --seconds."""
    parser = argparse.ArgumentParser(
        prog="observer", description="Record who answers ARP for some addresses."
    )
    parser.add_argument("interface")
    parser.add_argument("--vip", action="append", required=True, type=ipaddress.IPv4Address)
    parser.add_argument(
        "--sender",
        action="append",
        type=ipaddress.IPv4Address,
        help="addresses to ask from, no other host's (default 198.18.0.3 to .6)",
    )
    parser.add_argument(
        "--seconds", type=float, default=1800.0, help="end by itself after this time (default 1800)"
    )
    parser.add_argument("--out", required=True, help="file for the record")
    args = parser.parse_args(argv)
    if len(args.vip) > MAX_VIPS:
        parser.error(f"--vip: allowed are at most {MAX_VIPS}")
    senders = args.sender or [ipaddress.IPv4Address("198.18.0.3") + i for i in range(4)]
    stopped: list[bool] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, lambda *_: stopped.append(True))
    signal.setitimer(signal.ITIMER_REAL, args.seconds)
    with open(args.out, "w", encoding="utf-8") as out:
        vips = [vip.packed for vip in args.vip]
        observer = Observer(out, args.interface, vips, [sender.packed for sender in senders])
        try:
            observer.add("observer", args.interface, INTERVAL_S, len(senders), time.monotonic(), time.time())
            observe(observer, out, stopped)
        finally:
            observer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
