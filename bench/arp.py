"""How fast ARP requests are answered: our responder beside the kernel's own address, in the same run.

`python -m bench.arp [--json FILE]`, about 20 s, as root or as a user who may make user namespaces. A client namespace at the
other end of a veth asks both in turn, one request at a time, 200 a second each, with 10 and with 10,000 announced
addresses; then 2000 requests a second for 2 s go to the responder alone. Microseconds from send to receive as the client
sees them, its own system calls included: the kernel's row is the floor of the method.
"""

import argparse
import contextlib
import ctypes
import json
import os
import select
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import NamedTuple

from announcer.layer2.handle import Responder
from announcer.layer2.messages import Announced

PAIRS = 800
PAIR_S = 0.005
FLOOD_RATE = 2_000
FLOOD_S = 2.0
TABLES = (10, 10_000)
FIRST_VIP = IPv4Address("198.18.64.0")
KERNEL_IP = IPv4Address("198.18.0.11")
CLIENT_IP = IPv4Address("198.18.0.2")
CLIENT_MAC = bytes.fromhex("02000000000c")
HOST_MAC = bytes.fromhex("02000000000a")
ANSWER_S = 0.1
BURST_S = 4.5
_CLONE_NEWNET = 0x40000000


class Row(NamedTuple):
    """One measured target; latencies in microseconds."""

    target: str
    sent: int
    answered: int
    p50: float
    p90: float
    p99: float
    most: float


def request(target: IPv4Address) -> bytes:
    """A broadcast ARP request of the client."""
    head = b"\xff" * 6 + CLIENT_MAC + bytes.fromhex("08060001080006040001")
    return head + CLIENT_MAC + CLIENT_IP.packed + bytes(6) + target.packed + bytes(18)


def row(target: str, sent: int, latencies_ns: list[int]) -> Row:
    """Sum up one target."""
    cuts = statistics.quantiles(latencies_ns, n=100) if len(latencies_ns) > 1 else [0.0] * 99
    p50, p90, p99, most = (
        value / 1000 for value in (cuts[49], cuts[89], cuts[98], max(latencies_ns, default=0))
    )
    return Row(target, sent, len(latencies_ns), round(p50, 1), round(p90, 1), round(p99, 1), round(most, 1))


@contextlib.contextmanager
def client() -> Iterator[socket.socket]:
    """Make the other end of the wire, with a raw socket in it; the responder's side is eth0 here."""
    with subprocess.Popen(["unshare", "-n", "sleep", "120"]) as sleeper:
        try:
            namespace = f"/proc/{sleeper.pid}/ns/net"
            deadline = time.monotonic() + 5
            while os.readlink(namespace) == os.readlink("/proc/self/ns/net"):
                if time.monotonic() > deadline:
                    raise SystemExit("bench.arp: the client namespace did not come up")
                time.sleep(0.01)
            add = f"ip link add eth0 address {HOST_MAC.hex(':')} type veth peer name eth0 address {CLIENT_MAC.hex(':')}"
            for command in (
                f"{add} netns {sleeper.pid}",
                "ip link set eth0 up",
                f"ip address add {KERNEL_IP}/16 dev eth0",
                f"nsenter --net={namespace} ip link set eth0 up",
            ):
                subprocess.run(command.split(), check=True)
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
        finally:
            sleeper.kill()


def is_answer(frame: bytes, target: IPv4Address) -> bool:
    """Whether the frame is a unicast reply for the target."""
    return frame[:6] == CLIENT_MAC and frame[20:22] == b"\0\2" and frame[28:32] == target.packed


def ask(asking: socket.socket, target: IPv4Address) -> int | None:
    """Ask once; nanoseconds until the answer."""
    frame = request(target)
    began = time.perf_counter_ns()
    asking.send(frame)
    while (left := ANSWER_S - (time.perf_counter_ns() - began) / 1e9) > 0:
        asking.settimeout(left)
        try:
            received = asking.recv(128)
        except TimeoutError:
            return None
        if is_answer(received, target):
            return time.perf_counter_ns() - began
    return None


def drain(asking: socket.socket) -> None:
    """Throw away what queued up: gratuitous frames would leave no room for the first answer."""
    asking.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            asking.recv(128)


class Announcing:
    """The responder with its lease kept up by whoever waits."""

    def __init__(self, responder: Responder) -> None:
        self.responder = responder
        self._renewed = 0.0
        self.announced = 0

    def tend(self, until: float) -> None:
        """Renew and read events until the time comes."""
        while True:
            now = time.monotonic()
            if now - self._renewed > 0.25:
                self.responder.renew()
                self._renewed = now
                self.announced += sum(isinstance(event, Announced) for event in self.responder.events())
            if now >= until:
                return
            time.sleep(min(0.001, until - now))

    def announce(self, count: int) -> None:
        """Announce so many addresses and wait until their gratuitous bursts are over."""
        self.announced = 0
        self.responder.announce([])
        self.responder.announce([FIRST_VIP + offset for offset in range(count)])
        deadline = time.monotonic() + 20
        while self.announced < count:
            if time.monotonic() > deadline:
                raise SystemExit(f"bench.arp: {self.announced} of {count} addresses announced after 20 s")
            self.tend(time.monotonic() + 0.25)
        self.tend(time.monotonic() + BURST_S)


def pairs(asking: socket.socket, announcing: Announcing, count: int) -> list[Row]:
    """Ask the responder and the kernel in turn."""
    drain(asking)
    ours: list[int] = []
    kernels: list[int] = []
    following = time.monotonic()
    for number in range(PAIRS):
        for target, found in ((FIRST_VIP + number * 7919 % count, ours), (KERNEL_IP, kernels)):
            latency = ask(asking, target)
            if latency is not None:
                found.append(latency)
        following += PAIR_S
        announcing.tend(following)
    return [
        row(f"responder, {count} addresses", PAIRS, ours),
        row(f"kernel, beside {count} addresses", PAIRS, kernels),
    ]


def flood(asking: socket.socket, announcing: Announcing, count: int) -> Row:
    """Ask at a fixed rate whether or not answers come; the latency of each by its target."""
    total = int(FLOOD_RATE * FLOOD_S)
    began: dict[bytes, int] = {}
    latencies: list[int] = []
    asking.setblocking(False)

    def collect(timeout: float) -> None:
        select.select([asking], [], [], timeout)
        with contextlib.suppress(BlockingIOError):
            while True:
                frame = asking.recv(128)
                if frame[:6] == CLIENT_MAC and frame[20:22] == b"\0\2" and frame[28:32] in began:
                    latencies.append(time.perf_counter_ns() - began.pop(frame[28:32]))

    start = time.monotonic()
    for number in range(total):
        target = FIRST_VIP + number % count
        while (left := start + number / FLOOD_RATE - time.monotonic()) > 0:
            collect(left)
        announcing.tend(0.0)
        began[target.packed] = time.perf_counter_ns()
        asking.send(request(target))
    deadline = time.monotonic() + ANSWER_S
    while began and time.monotonic() < deadline:
        collect(0.01)
    return row(f"responder, {FLOOD_RATE} requests/s", total, latencies)


def memory_kib(pid: int) -> int:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def measure() -> dict[str, object]:
    """Run everything; in a namespace of its own."""
    responder = Responder.fork()
    try:
        rows: list[Row] = []
        memory = {}
        announcing = Announcing(responder)
        with client() as asking:
            for count in TABLES:
                announcing.announce(count)
                rows += pairs(asking, announcing, count)
                memory[count] = memory_kib(responder.pid)
            rows.append(flood(asking, announcing, TABLES[-1]))
        return {"rows": [row._asdict() for row in rows], "responder_rss_kib": memory}
    finally:
        responder.close()


def main() -> None:
    """Measure in a namespace of its own and print."""
    parser = argparse.ArgumentParser(
        prog="bench.arp", description=__doc__.partition("\n")[0] if __doc__ else None
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the facts to FILE as well")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(measure()))
        return
    namespace = ["--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        namespace = ["--user", "--map-root-user", *namespace]
    done = subprocess.run(
        ["unshare", *namespace, sys.executable, "-m", "bench.arp", "--inside"],
        stdout=subprocess.PIPE,
        text=True,
        timeout=90,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit("bench.arp: failed; it needs: apt-get install iproute2 util-linux")
    if options.json:
        options.json.write_text(done.stdout)
    result = json.loads(done.stdout)
    print(
        f"{'ARP answers (microseconds)':<34}{'n':>6}{'answered':>10}{'p50':>9}{'p90':>9}{'p99':>9}{'max':>9}"
    )
    for line in result["rows"]:
        spread = "".join(f"{line[name]:>9.0f}" for name in ("p50", "p90", "p99", "most"))
        print(f"{line['target']:<34}{line['sent']:>6}{line['answered']:>10}{spread}")
    for count, kib in result["responder_rss_kib"].items():
        print(f"responder process with {count} addresses: {kib / 1024:.1f} MiB resident")


if __name__ == "__main__":
    main()
