"""A client that asks through a VIP at a steady rate and writes down when each answer came.

Runs as a script of its own inside the client's network namespace, with the standard library only:

    python -I -S chaos/probe.py udp  198.18.1.0 7    --rate 250 --out FILE
    python -I -S chaos/probe.py http 198.18.1.0 80   --rate 50 --timeout 0.5 --out FILE

`udp` sends numbered datagrams from one socket (from --flows sockets in turn) to an echo server whose answer ends with
the datagram it got (what stands before it names the server). `http` makes independent GETs, each on a connection of its
own; only status 200 is an answer.

FILE gets one JSON array a line, in the order of events, times in seconds of the monotonic clock:

    ["probe", mode, target, port, interval_s, monotonic, wall]   once, first: both clocks read together
    ["sent", number, at]
    ["answered", number, at, by]                                 by: server's name (udp) or status (http)
    ["late", at, seconds]                                        this process itself was held up for so long
    ["end", at]                                                  after SIGTERM or SIGINT and a last wait for answers

A tick that was missed because this process was held up is not made up for: `late` says so, and no number
is used up. SIGTERM stops the sending; answers are awaited for another half second.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import selectors
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Final, TextIO

DRAIN_S: Final = 0.5
"""How long answers are awaited after the last question, seconds."""

FLUSH_S: Final = 0.2
"""How often the record is handed to the file, seconds: readers may follow it while it grows."""

LATE_S: Final = 0.02
"""From which delay on a tick counts as held up, seconds."""

_NUMBER: Final = struct.Struct("!8sQ")
_MAGIC: Final = b"vr-probe"


class Record:
    """The growing file of events."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._flushed = 0.0

    def add(self, *event: object) -> None:
        """Append one event."""
        self._out.write(json.dumps(event, separators=(",", ":")) + "\n")

    def flush(self, now: float, *, force: bool = False) -> None:
        """Hand what was added to the file, at most every FLUSH_S unless forced."""
        if force or now - self._flushed >= FLUSH_S:
            self._flushed = now
            self._out.flush()


class UdpProbe:
    """Numbered datagrams from some sockets in turn, each of which is a flow of its own."""

    def __init__(
        self, record: Record, selector: selectors.BaseSelector, target: tuple[str, int], flows: int = 1
    ) -> None:
        self._record = record
        self._target = target
        self._open: set[int] = set()
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        self._sockets = [socket.socket(family, socket.SOCK_DGRAM) for _ in range(flows)]
        for sock in self._sockets:
            sock.setblocking(False)
            selector.register(sock, selectors.EVENT_READ, functools.partial(self._readable, sock))

    def send(self, number: int, now: float) -> None:
        """Ask once; a send that the kernel refuses is a question without an answer."""
        self._record.add("sent", number, now)
        self._open.add(number)
        with contextlib.suppress(OSError):
            sock = self._sockets[number % len(self._sockets)]
            sock.sendto(_NUMBER.pack(_MAGIC, number), self._target)

    def expire(self, now: float) -> None:
        """Nothing to give up: a datagram costs nothing while it is awaited."""

    def _readable(self, sock: socket.socket, _events: int) -> None:
        while True:
            try:
                data = sock.recv(2048)
            except BlockingIOError:
                return
            except OSError:
                continue
            now = time.monotonic()
            if len(data) < _NUMBER.size:
                continue
            magic, number = _NUMBER.unpack(data[-_NUMBER.size :])
            if magic == _MAGIC and number in self._open:
                self._open.remove(number)
                by = data[: -_NUMBER.size].decode(errors="replace").strip()
                self._record.add("answered", number, now, by)


class _Get:
    """One GET on its own connection."""

    def __init__(self, number: int, deadline: float, sock: socket.socket) -> None:
        self.number = number
        self.deadline = deadline
        self.socket = sock
        self.answer = b""


class HttpProbe:
    """Independent GETs of `/`."""

    def __init__(
        self, record: Record, selector: selectors.BaseSelector, target: tuple[str, int], timeout_s: float
    ) -> None:
        self._record = record
        self._selector = selector
        self._target = target
        self._timeout_s = timeout_s
        self._open: list[_Get] = []
        host = f"[{target[0]}]" if ":" in target[0] else target[0]
        self._request = f"GET / HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()

    def send(self, number: int, now: float) -> None:
        """Open a connection; the question follows when it stands."""
        self._record.add("sent", number, now)
        sock = socket.socket(
            socket.AF_INET6 if ":" in self._target[0] else socket.AF_INET, socket.SOCK_STREAM
        )
        sock.setblocking(False)
        get = _Get(number, now + self._timeout_s, sock)
        try:
            sock.connect(self._target)
        except BlockingIOError:
            pass
        except OSError:
            sock.close()
            return
        self._open.append(get)
        self._selector.register(sock, selectors.EVENT_WRITE, lambda events: self._ready(get, events))

    def expire(self, now: float) -> None:
        """Give up what has waited longer than the time-out."""
        for get in [get for get in self._open if get.deadline <= now]:
            self._close(get)

    def _ready(self, get: _Get, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                error = get.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    self._close(get)
                    return
                get.socket.send(self._request)
                self._selector.modify(
                    get.socket, selectors.EVENT_READ, lambda events: self._ready(get, events)
                )
                return
            data = get.socket.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            self._close(get)
            return
        now = time.monotonic()
        get.answer += data
        if b"\r\n" in get.answer or not data:
            status = get.answer.split(b"\r\n", 1)[0].split(b" ")
            if len(status) >= 2 and status[1] == b"200":
                self._record.add("answered", get.number, now, "200")
            self._close(get)

    def _close(self, get: _Get) -> None:
        self._selector.unregister(get.socket)
        # RST, not FIN: thousands of these would otherwise sit in TIME_WAIT.
        get.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        get.socket.close()
        self._open.remove(get)


def run(
    record: Record,
    selector: selectors.BaseSelector,
    probe: UdpProbe | HttpProbe,
    interval_s: float,
    stopped: Callable[[], bool],
) -> None:
    """Ask every `interval_s` seconds until `stopped()`, then wait DRAIN_S for the last answers."""
    number = 0
    due = time.monotonic()
    end: float | None = None
    while True:
        now = time.monotonic()
        if end is None and stopped():
            end = now + DRAIN_S
        if end is not None and now >= end:
            break
        if end is None and now >= due:
            late_s = now - due
            if late_s > LATE_S:
                record.add("late", now, late_s)
                due = now
            probe.send(number, now)
            number += 1
            due += interval_s
        probe.expire(now)
        wake = end if end is not None else due
        for key, events in selector.select(max(0.0, min(wake - time.monotonic(), FLUSH_S))):
            key.data(events)
        record.flush(now)
    now = time.monotonic()
    record.add("end", now)
    record.flush(now, force=True)


def main(argv: list[str] | None = None) -> int:
    """Run one probe until SIGTERM or SIGINT, or for --seconds."""
    parser = argparse.ArgumentParser(prog="probe", description="Ask through an address at a steady rate.")
    parser.add_argument("mode", choices=["udp", "http"])
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("--rate", type=float, default=250.0, help="questions a second (default 250)")
    parser.add_argument(
        "--timeout", type=float, default=0.5, help="http: seconds a GET may take (default 0.5)"
    )
    parser.add_argument("--flows", type=int, default=1, help="udp: sockets to send from in turn (default 1)")
    parser.add_argument(
        "--seconds", type=float, default=1800.0, help="end by itself after this time (default 1800)"
    )
    parser.add_argument("--out", required=True, help="file for the record")
    args = parser.parse_args(argv)
    if not 0 < args.rate <= 2000:
        parser.error("--rate: allowed are more than 0 and at most 2000 a second")
    stop = False

    def on_signal(_number: int, _frame: object) -> None:
        nonlocal stop
        stop = True

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    target = (args.address, args.port)
    with open(args.out, "w", encoding="utf-8") as out, selectors.DefaultSelector() as selector:
        record = Record(out)
        began = time.monotonic()
        record.add("probe", args.mode, args.address, args.port, 1 / args.rate, began, time.time())
        record.flush(began, force=True)
        probe = (
            UdpProbe(record, selector, target, args.flows)
            if args.mode == "udp"
            else HttpProbe(record, selector, target, args.timeout)
        )
        run(record, selector, probe, 1 / args.rate, lambda: stop or time.monotonic() > began + args.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
