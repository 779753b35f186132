"""How fast ARP requests are answered: a real speaker beside the kernel's own address, in the same run.

`python -m bench.arp [--json FILE]`, about 4 min, as root or as a user who may make user namespaces. One speaker announces 10, 2000
and 10,000 addresses in a network namespace of its own, around an embedded API server. A client on the same bridge asks it and
the node's kernel in turn, one request at a time, 200 a second, each after the same pause: an answer that follows another at
once finds the processor awake. Before there is a speaker it asks the kernel alone, and that is what the
speaker's answers are held against, for every broadcast wakes the speaker, also one for the kernel. Then 2000 requests a second
for 5 s go to the speaker alone. With 10,000 it asks once more while the speaker's process lists all Services anew, again and
again. Microseconds from send to receive as the client sees them, its own system calls included; it does not sleep for the first
0.3 ms, so that its own waking is no part of most of them, and then it does, so that it does not keep a core from those who are to
answer. The two cores of a small machine carry client, responder, speaker and API server.
"""

import argparse
import contextlib
import ctypes
import select
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

import msgspec

from bench.facts import commit
from bench.limits import Limit, failures
from bench.objects import FIRST_NODE, FIRST_VIP
from bench.yard import CLIENT, Yard, enter, until
from chaos.results import to_json

PAIRS: Final = 2000
INTERVAL_S: Final = 0.005
"""Seconds from one request to the next, whomever it goes to."""
FLOOD_RATE: Final = 2000
FLOOD_S: Final = 5.0
TABLES: Final = (10, 2000, 10_000)
LISTS: Final = 5
ABOVE_KERNEL_US: Final = 150.0
LISTING_P99_US: Final = 5000.0
KERNEL: Final = FIRST_NODE
NODE: Final = "n1"
CLIENT_MAC: Final = bytes.fromhex("02000000000c")
ANSWER_S: Final = 0.1
LOOKS_NS: Final = 300_000
"""How long the client looks for an answer without sleeping."""
BURST_S: Final = 5.0
"""Gratuitous frames of a table are over."""
_CLONE_NEWNET: Final = 0x40000000

LISTING: Final = ", while its process lists 10,000 Services anew"
Targets = dict[str, Callable[[int], IPv4Address]]
"""What is asked, by name: the address of each time."""


class Row(msgspec.Struct, frozen=True):
    """One measured target; latencies in microseconds."""

    target: str
    sent: int
    answered: int
    p50: float
    p90: float
    p99: float
    most: float

    @classmethod
    def of(cls, target: str, sent: int, latencies_ns: list[int]) -> "Row":
        """Sum up one target."""
        cuts = statistics.quantiles(latencies_ns, n=100) if len(latencies_ns) > 1 else [0.0] * 99
        p50, p90, p99, most = (
            round(value / 1000, 1) for value in (cuts[49], cuts[89], cuts[98], max(latencies_ns, default=0))
        )
        return cls(target, sent, len(latencies_ns), p50, p90, p99, most)


class Facts(msgspec.Struct, frozen=True):
    """The whole run."""

    commit: str
    rows: tuple[Row, ...]
    limits: tuple[Limit, ...]


def request(target: IPv4Address) -> bytes:
    """A broadcast ARP request of the client."""
    head = b"\xff" * 6 + CLIENT_MAC + bytes.fromhex("08060001080006040001")
    return head + CLIENT_MAC + CLIENT.packed + bytes(6) + target.packed + bytes(18)


@contextlib.contextmanager
def client(namespace: str) -> Iterator[socket.socket]:
    """A packet socket in the client's namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path(namespace).open() as inside, Path("/proc/self/ns/net").open() as outside:
        if libc.setns(inside.fileno(), _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        asking = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
        asking.bind(("eth0", 0x0806))
        if libc.setns(outside.fileno(), _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    with asking:
        yield asking


def is_answer(frame: bytes) -> bool:
    """Whether the frame is a reply to the client."""
    return frame[:6] == CLIENT_MAC and frame[20:22] == b"\0\2"


def ask(asking: socket.socket, target: IPv4Address) -> int | None:
    """Ask once; nanoseconds until the answer."""
    frame = request(target)
    asking.setblocking(False)
    began = time.perf_counter_ns()
    asking.send(frame)
    while (took := time.perf_counter_ns() - began) < ANSWER_S * 1e9:
        try:
            received = asking.recv(128)
        except BlockingIOError:
            if took > LOOKS_NS:
                select.select([asking], [], [], max(0.0, ANSWER_S - took / 1e9))
            continue
        if is_answer(received) and received[28:32] == target.packed:
            return took
    return None


def drain(asking: socket.socket) -> None:
    """Throw away what queued up: gratuitous frames would leave no room for the first answer."""
    asking.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            asking.recv(128)


def in_turn(asking: socket.socket, targets: Targets, goes_on: Callable[[int], bool]) -> list[Row]:
    """Ask each target once, and again and again while it goes on after so many, at even intervals."""
    drain(asking)
    found: dict[str, list[int]] = {name: [] for name in targets}
    number = 0
    following = time.monotonic()
    while goes_on(number):
        for name, target in targets.items():
            latency = ask(asking, target(number))
            if latency is not None:
                found[name].append(latency)
            following = max(following + INTERVAL_S, time.monotonic())
            time.sleep(max(0.0, following - time.monotonic()))
        number += 1
    return [Row.of(name, number, latencies) for name, latencies in found.items()]


def speaker_and_kernel(count: int, note: str = "") -> Targets:
    """A speaker with so many addresses, and the node's own address."""
    return {
        f"speaker, {count} addresses{note}": lambda number: FIRST_VIP + number * 7919 % count,
        f"kernel beside it{note}": lambda _: KERNEL,
    }


def flood(asking: socket.socket, count: int) -> Row:
    """Ask at a fixed rate whether or not answers come; the latency of each by its target."""
    total = int(FLOOD_RATE * FLOOD_S)
    began: dict[bytes, list[int]] = {}
    latencies: list[int] = []
    asking.setblocking(False)

    def collect(timeout: float) -> None:
        select.select([asking], [], [], timeout)
        with contextlib.suppress(BlockingIOError):
            while True:
                frame = asking.recv(128)
                if is_answer(frame) and began.get(frame[28:32]):
                    latencies.append(time.perf_counter_ns() - began[frame[28:32]].pop(0))

    start = time.monotonic()
    for number in range(total):
        target = FIRST_VIP + number % count
        while (left := start + number / FLOOD_RATE - time.monotonic()) > 0:
            collect(left)
        began.setdefault(target.packed, []).append(time.perf_counter_ns())
        asking.send(request(target))
    deadline = time.monotonic() + ANSWER_S
    while len(latencies) < total and time.monotonic() < deadline:
        collect(0.01)
    return Row.of(f"speaker, {count} addresses, {FLOOD_RATE} requests a second", total, latencies)


def while_listing(yard: Yard, asking: socket.socket, count: int) -> list[Row]:
    """The same while the speaker lists everything anew."""
    yard.list_anew()
    lists = 1

    def goes_on(number: int) -> bool:
        nonlocal lists
        # Looked at now and then only: the client must not be busy with it.
        if number % 20 or yard.listed() < lists:
            return True
        if lists == LISTS:
            return False
        yard.list_anew()
        lists += 1
        return True

    return in_turn(asking, speaker_and_kernel(count, LISTING), goes_on)


def table(count: int) -> tuple[list[Row], list[Limit]]:
    """A speaker that announces so many addresses."""
    with Yard(nodes=1, services=count) as yard:
        with client(yard.client.namespace) as asking:
            [alone] = in_turn(asking, {"kernel, no speaker": lambda _: KERNEL}, lambda number: number < PAIRS)
        yard.start_speakers()
        until("all addresses announced", lambda: yard.announced(NODE) >= count)
        with client(yard.client.namespace) as asking:
            settled = time.monotonic() + BURST_S
            until("the gratuitous frames sent", lambda: time.monotonic() > settled)
            rows = in_turn(asking, speaker_and_kernel(count), lambda number: number < PAIRS)
            above = rows[0].p50 - alone.p50
            limits = [Limit(f"{count} addresses: p50 above the kernel's", above, ABOVE_KERNEL_US, "us")]
            rows.append(flood(asking, count))
            if count == TABLES[-1]:
                rows += while_listing(yard, asking, count)
                limits.append(Limit("p99 while Services are listed anew", rows[3].p99, LISTING_P99_US, "us"))
        rows.insert(0, alone)
    limits += [Limit(f"{row.target}: not answered", row.sent - row.answered, 0, "") for row in rows]
    for row in rows:
        spread = "".join(f"{value:>9.0f}" for value in (row.p50, row.p90, row.p99, row.most))
        print(f"{row.target:<68}{row.sent:>6}{row.answered:>9}{spread}", flush=True)
    return rows, limits


def main() -> int:
    """Measure in namespaces of its own and print; 1 when a limit is broken."""
    parser = argparse.ArgumentParser(prog="python -m bench.arp", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tables", type=int, nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the facts to FILE as well")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.inside:
        return enter("bench.arp", [*sys.argv[1:], "--inside"], timeout_s=600)
    print(
        f"{'ARP answers (microseconds)':<68}{'n':>6}{'answered':>9}{'p50':>9}{'p90':>9}{'p99':>9}{'max':>9}"
    )
    measured = commit()
    rows: list[Row] = []
    limits: list[Limit] = []
    for count in args.tables:
        more = table(count)
        rows += more[0]
        limits += more[1]
    if args.json:
        args.json.write_text(to_json(Facts(measured, tuple(rows), tuple(limits))))
    return failures(limits)


if __name__ == "__main__":
    sys.exit(main())
