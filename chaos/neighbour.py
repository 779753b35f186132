"""The client's neighbour table: who it takes for the owner of a VIP, and a client that keeps forgetting it.

Runs as a script of its own in the client's network namespace, with the standard library only; with --forget it needs
the right to change the table:

    python -I -S chaos/neighbour.py eth0 198.18.1.0 --out FILE
    python -I -S chaos/neighbour.py eth0 198.18.1.0 --forget 0.1 --out FILE

It looks every 10 ms. An entry is deleted only once it is resolved, since one that still waits for its answer takes the
packets that wait with it. FILE gets one JSON array a line, times in seconds of the monotonic clock:

    ["neighbour", interface, vip, monotonic, wall]   once, first
    ["n", mac, at]                                   from here on the entry has this MAC address; empty for none
    ["d", at]                                        the entry was deleted
    ["end", at]                                      after SIGTERM or SIGINT
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Final, TextIO

LOOK_S: Final = 0.01
FLUSH_S: Final = 0.2
_RTM_DELNEIGH: Final = 29
_NLM_F_REQUEST: Final = 1
_NDA_DST: Final = 1
_RESOLVED: Final = 0x2


def resolved(table: str, interface: str, vip: str) -> str:
    """The MAC address of a resolved entry in the text of /proc/net/arp (proc(5)), empty where there is none."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        if (
            len(fields) == 6
            and fields[0] == vip
            and fields[5] == interface
            and int(fields[2], 16) & _RESOLVED
        ):
            return fields[3]
    return ""


def deletion(index: int, vip: bytes) -> bytes:
    """The netlink message that deletes an entry (rtnetlink(7)): nlmsghdr, ndmsg, one attribute."""
    body = struct.pack("=BBHiHBB", socket.AF_INET, 0, 0, index, 0, 0, 0) + struct.pack(
        "=HH4s", 8, _NDA_DST, vip
    )
    return struct.pack("=IHHII", 16 + len(body), _RTM_DELNEIGH, _NLM_F_REQUEST, 0, 0) + body


class Watcher:
    """Looks at one entry again and again."""

    def __init__(self, out: TextIO, interface: str, vip: str, forget_s: float | None) -> None:
        self._out = out
        self._interface = interface
        self._vip = vip
        self._forget_s = forget_s
        self._deletion = deletion(socket.if_nametoindex(interface), socket.inet_aton(vip))
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        self._before: str | None = None
        self._due = time.monotonic()

    def add(self, *event: object) -> None:
        """Append one event to the record."""
        self._out.write(json.dumps(event, separators=(",", ":")) + "\n")

    def look(self) -> None:
        """Write down a change, and delete the entry when it is time."""
        mac = resolved(Path("/proc/self/net/arp").read_text(encoding="ascii"), self._interface, self._vip)
        now = time.monotonic()
        if mac != self._before:
            self.add("n", mac, now)
            self._before = mac
        if self._forget_s is not None and mac and now >= self._due:
            self._socket.send(self._deletion)
            self.add("d", now)
            self._due = now + self._forget_s


def main(argv: list[str] | None = None) -> int:
    """Watch until SIGTERM or SIGINT, or for --seconds."""
    parser = argparse.ArgumentParser(prog="neighbour", description="Watch the neighbour entry of an address.")
    parser.add_argument("interface")
    parser.add_argument("vip", type=ipaddress.IPv4Address)
    parser.add_argument("--forget", type=float, help="delete the entry so often, seconds")
    parser.add_argument(
        "--seconds", type=float, default=1800.0, help="end by itself after this time (default 1800)"
    )
    parser.add_argument("--out", required=True, help="file for the record")
    args = parser.parse_args(argv)
    stopped: list[bool] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, lambda *_: stopped.append(True))
    signal.setitimer(signal.ITIMER_REAL, args.seconds)
    with open(args.out, "w", encoding="utf-8") as out:
        watcher = Watcher(out, args.interface, str(args.vip), args.forget)
        watcher.add("neighbour", args.interface, str(args.vip), time.monotonic(), time.time())
        flush = time.monotonic()
        while not stopped:
            watcher.look()
            if time.monotonic() >= flush:
                out.flush()
                flush = time.monotonic() + FLUSH_S
            time.sleep(LOOK_S)
        watcher.add("end", time.monotonic())
    return 0


if __name__ == "__main__":
    sys.exit(main())
