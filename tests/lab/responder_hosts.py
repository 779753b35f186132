"""Run inside network and process namespaces of its own: a host with the responder, a client on the other end of a wire.

The argument names a scenario, a function of this file; it prints as JSON what it saw, for the test to judge. Every wait is
for a condition, with a deadline.
"""

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from announcer.layer2.netlink import RouteSocket

HOST_MAC = "02:00:00:00:00:0a"
CLIENT_MAC = "02:00:00:00:00:0c"
CLIENT_IP = "198.18.0.2"
HOST_IP = "198.18.0.11"
VIP = "198.18.1.0"
OTHER = "198.18.1.1"
BROADCAST = "ff:ff:ff:ff:ff:ff"
WAIT_S = 10.0
_CLONE_NEWNET = 0x40000000


def run(*args: str) -> str:
    return subprocess.run(args, check=True, capture_output=True, text=True).stdout


def wait(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"gave up waiting: {what}")
        time.sleep(0.01)


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def request(
    target: str = VIP,
    *,
    destination: str = BROADCAST,
    operation: int = 1,
    sender: str = CLIENT_IP,
    tag: bytes = b"",
) -> bytes:
    """An ARP frame of the client, put together here so that the responder's own builder proves nothing."""
    return (
        mac(destination)
        + mac(CLIENT_MAC)
        + tag
        + bytes.fromhex("0806000108000604")
        + operation.to_bytes(2, "big")
        + mac(CLIENT_MAC)
        + socket.inet_aton(sender)
        + bytes(6)
        + socket.inet_aton(target)
        + bytes(18)
    )


class Client:
    """The other end of the wire: a namespace with its own kernel, and a raw socket in it."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        sleeper = subprocess.Popen(["unshare", "-n", "sleep", "55"])
        stack.callback(sleeper.wait)
        stack.callback(sleeper.kill)
        namespace = Path(f"/proc/{sleeper.pid}/ns/net")
        own = os.readlink("/proc/self/ns/net")
        wait("a namespace", lambda: os.readlink(namespace) != own)
        self.enter = ["nsenter", f"--net={namespace}"]
        add = ["ip", "link", "add", "eth0", "address", HOST_MAC, "type", "veth", "peer", "name", "eth0"]
        run(*add, "address", CLIENT_MAC, "netns", str(sleeper.pid))
        run("ip", "link", "set", "eth0", "up")
        self.ip("link", "set", "eth0", "up")
        self.ip("address", "add", f"{CLIENT_IP}/16", "dev", "eth0")
        with self._inside(namespace):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self.socket.bind(("eth0", 0x0806))
        stack.callback(self.socket.close)

    def ip(self, *args: str) -> str:
        return run(*self.enter, "ip", *args)

    @contextlib.contextmanager
    def _inside(self, namespace: Path) -> Iterator[None]:
        libc = ctypes.CDLL(None, use_errno=True)
        with namespace.open() as inside, Path("/proc/self/ns/net").open() as outside:
            for entered in (inside, outside):
                if libc.setns(entered.fileno(), _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
                if entered is inside:
                    yield

    def replies(self, seconds: float) -> list[bytes]:
        """Unicast ARP replies that arrive within a time."""
        return [
            frame
            for frame in self.frames(seconds)
            if frame[:6] == mac(CLIENT_MAC) and frame[20:22] == b"\0\2"
        ]

    def frames(self, seconds: float) -> list[bytes]:
        """ARP frames that arrive within a time."""
        found = []
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                frame = self.socket.recv(200)
            except TimeoutError:
                break
            found.append(frame)
        return found

    def ask(self, frame: bytes, *, seconds: float = 1.0) -> bytes | None:
        """Send a frame; return the first reply to it."""
        # What a link that went down left behind.
        self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self.socket.send(frame)
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            for reply in self.replies(min(left, 0.02)):
                return reply
        return None

    def answered(self, target: str = VIP) -> bool:
        return self.ask(request(target), seconds=0.1) is not None


class Speaker:
    """The process that holds the responder, and what it printed."""

    def __init__(self, stack: contextlib.ExitStack, *prefix: str) -> None:
        script = Path(__file__).with_name("responder_speaker.py")
        environment = os.environ | {"PYTHONPATH": str(script.parents[2])}
        self.process = subprocess.Popen(
            [*prefix, sys.executable, str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
        stack.callback(self.process.wait)
        stack.callback(self.process.kill)
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        self._rest = b""
        self.events: list[list[object]] = []

    def start(self, *addresses: str) -> None:
        """Wait for the process and announce the addresses."""
        wait("the responder", lambda: bool(self.read()))
        self.responder = int(str(self.events.pop(0)))
        if addresses:
            self.announce(*addresses)
            for address in addresses:
                wait(f"{address} announced", lambda address=address: bool(self.told("Announced", address)))  # type: ignore[misc]

    def announce(self, *addresses: str) -> None:
        self._tell(addresses)

    def introduce(self, name: str) -> None:
        self._tell(name)

    def _tell(self, said: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(said).encode() + b"\n")
        self.process.stdin.flush()

    def read(self) -> list[list[object]]:
        assert self.process.stdout is not None
        *whole, self._rest = (self._rest + (self.process.stdout.read() or b"")).split(b"\n")
        self.events += [json.loads(line) for line in whole]
        return self.events

    def told(self, kind: str, *fields: object) -> list[list[object]]:
        return [
            event for event in self.read() if event[0] == kind and event[1 : 1 + len(fields)] == list(fields)
        ]

    def drops(self) -> dict[str, int]:
        reports = self.told("Counters")
        return dict(reports[-1][2]) if reports else {}  # type: ignore[call-overload]

    def counted(self, address: str) -> list[int]:
        """requests received, responses sent, gratuitous sent, as last told."""
        found = [report[1][address] for report in self.told("Counters") if address in report[1]]  # type: ignore[index,operator]
        return found[-1] if found else [0, 0, 0]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def answers(stack: contextlib.ExitStack) -> dict[str, object]:
    """Requests of every kind, one after the other, each with the counter that it must move."""
    client = Client(stack)
    speaker = Speaker(stack)
    speaker.start(VIP)
    facts: dict[str, object] = {}
    asked = {
        "broadcast": request(),
        "unicast": request(destination=HOST_MAC),
        "probe": request(sender="0.0.0.0"),
        "other address": request(OTHER),
        "reply": request(operation=2),
        "other destination": request(destination="02:00:00:00:00:99"),
        "tagged": request(tag=bytes.fromhex("81000064")),
        "truncated": request()[:30],
    }
    facts["replies"] = {
        name: reply.hex() if (reply := client.ask(frame, seconds=0.3)) else None
        for name, frame in asked.items()
    }
    # The last frame has been read when one after it is answered, and counted when that is.
    wait("an answer", client.answered)
    wait("the counters", lambda: speaker.counted(VIP)[1] >= 4)
    facts["counted"] = speaker.counted(VIP)
    facts["drops"] = speaker.drops()
    facts["status"] = status(speaker.responder)
    facts["interfaces"] = speaker.told("InterfacesChanged")[-1][1]
    return facts


def resolution(stack: contextlib.ExitStack) -> dict[str, object]:
    """The client's own kernel finds the MAC: by asking, and by a gratuitous frame that moves an entry."""
    client = Client(stack)
    speaker = Speaker(stack)
    speaker.start(VIP)
    send = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('198.18.1.0', 9))"
    run(*client.enter, sys.executable, "-I", "-S", "-c", send)
    wait("the neighbour entry", lambda: HOST_MAC in client.ip("neigh", "show", VIP))
    asked = client.ip("neigh", "show", VIP)
    client.ip("neigh", "replace", OTHER, "lladdr", "02:00:00:00:00:99", "dev", "eth0", "nud", "stale")
    speaker.announce(VIP, OTHER)
    wait("the entry to move", lambda: HOST_MAC in client.ip("neigh", "show", OTHER))
    return {"asked": asked, "moved": client.ip("neigh", "show", OTHER)}


def parent_killed(stack: contextlib.ExitStack) -> dict[str, object]:
    """SIGKILL of the speaker ends the responder."""
    client = Client(stack)
    speaker = Speaker(stack)
    speaker.start(VIP)
    before = client.answered(), alive(speaker.responder)
    speaker.process.kill()
    speaker.process.wait()
    wait("the responder to end", lambda: not alive(speaker.responder))
    return {"before": before, "after": client.answered()}


def parent_stopped(stack: contextlib.ExitStack) -> dict[str, object]:
    """A speaker that stands still: silence after the lease; on its return the table stays empty until asked anew."""
    client = Client(stack)
    speaker = Speaker(stack)
    speaker.start(VIP)
    speaker.process.send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    answered = [stopped]
    # As long as answers come, and for a lease's time after the last.
    while time.monotonic() - answered[-1] < 2.0:
        if client.answered():
            answered.append(time.monotonic())
        if answered[-1] - stopped > WAIT_S:
            raise SystemExit("the responder never fell silent")
    speaker.process.send_signal(signal.SIGCONT)
    wait("the expiry to be told", lambda: bool(speaker.told("LeaseExpired")))
    after_return = [client.answered() for _ in range(5)]
    speaker.announce(VIP)
    wait("an answer", client.answered)
    expired = speaker.told("LeaseExpired")
    return {
        "count": len(answered) - 1,
        "silent_after": answered[-1] - stopped,
        "told_after": float(str(expired[0][1])) - stopped,
        "expired": len(expired),
        "after_return": after_return,
    }


def responder_stopped(stack: contextlib.ExitStack) -> dict[str, object]:
    """A responder that stands still for less than the lease: what queued up meanwhile is dropped, not answered late."""
    client = Client(stack)
    speaker = Speaker(stack)
    speaker.start(VIP)
    os.kill(speaker.responder, signal.SIGSTOP)
    wait("the stop", lambda: status(speaker.responder)["State"].startswith("T"))
    for _ in range(20):
        client.socket.send(request())
    silence = client.replies(0.6)
    os.kill(speaker.responder, signal.SIGCONT)
    late = client.replies(0.3)
    wait("the stall to be told", lambda: bool(speaker.told("Stalled")))
    wait("an answer", client.answered)
    wait("the drops", lambda: speaker.drops().get("stalled", 0) >= 20)
    return {
        "answers": len(silence) + len(late),
        "stalled": speaker.told("Stalled")[0][2],
        "drops": speaker.drops()["stalled"],
        "expired": len(speaker.told("LeaseExpired")),
    }


def links(stack: contextlib.ExitStack) -> dict[str, object]:
    """Interfaces come, go, change their MAC, become ports; the responder follows and announces anew."""
    client = Client(stack)
    speaker = Speaker(stack)
    speaker.start(VIP)
    facts: dict[str, object] = {}

    def announced() -> int:
        return len(speaker.told("Announced", VIP))

    def interfaces() -> list[list[str]]:
        return speaker.told("InterfacesChanged")[-1][1]  # type: ignore[return-value]

    run("ip", "link", "set", "eth0", "down")
    wait("the loss", lambda: interfaces() == [])
    run("ip", "link", "set", "eth0", "up")
    wait("the return", lambda: announced() == 2)
    run("ip", "link", "set", "eth0", "address", "02:00:00:00:00:0b")
    wait("the other MAC", lambda: announced() == 3)
    wait("an answer", client.answered)
    reply = client.ask(request())
    facts["reply"] = reply.hex() if reply else None
    client.ip("link", "set", "eth0", "down")
    wait("the carrier to go", lambda: interfaces() == [])
    client.ip("link", "set", "eth0", "up")
    wait("the carrier to return", lambda: announced() == 4)
    run("ip", "link", "add", "br0", "type", "bridge")
    run("ip", "link", "set", "eth0", "master", "br0")
    wait("the port to be left", lambda: interfaces() == [])
    run("ip", "link", "set", "eth0", "nomaster")
    wait("the former port", lambda: announced() == 5)
    run("ip", "link", "add", "hidden0", "type", "veth", "peer", "name", "eth7")
    run("ip", "link", "set", "hidden0", "up")
    run("ip", "link", "set", "eth7", "up")
    wait("another interface", lambda: [name for name, _ in interfaces()] == ["eth0", "eth7"])
    run("ip", "link", "del", "eth7")
    wait("its end", lambda: [name for name, _ in interfaces()] == ["eth0"])
    wait("an answer", client.answered)
    facts["failures"] = speaker.told("InterfaceFailed")
    return facts


def lost_notices(stack: contextlib.ExitStack) -> dict[str, object]:
    """More changes than its netlink socket holds while it stands still: it lists everything again."""
    Client(stack)
    speaker = Speaker(stack)
    speaker.start(VIP)
    os.kill(speaker.responder, signal.SIGSTOP)
    change = "address add 198.18.0.11/16 dev eth0\naddress del 198.18.0.11/16 dev eth0\n"
    subprocess.run(["ip", "-batch", "-"], input=change * 2_000, text=True, check=True)
    run("ip", "link", "add", "eth8", "type", "veth", "peer", "name", "eth9")
    run("ip", "link", "set", "eth8", "up")
    run("ip", "link", "set", "eth9", "up")
    rows = [line.split() for line in Path("/proc/net/netlink").read_text().splitlines()[1:]]
    dropped = sum(int(row[8]) for row in rows if int(row[2]) == speaker.responder)
    os.kill(speaker.responder, signal.SIGCONT)
    wait("the other interfaces", lambda: len(speaker.told("InterfacesChanged")[-1][1]) == 3)  # type: ignore[arg-type]
    return {"dropped": dropped, "failures": speaker.told("InterfaceFailed")}


def gateway(stack: contextlib.ExitStack) -> dict[str, object]:
    """A default route that comes while nothing else changes: its gateway is asked whether it lives, by us alone."""
    client = Client(stack)
    run("ip", "address", "add", f"{HOST_IP}/16", "dev", "eth0")
    speaker = Speaker(stack)
    speaker.start()
    speaker.introduce("n1")
    speaker.announce(VIP)
    wait("an answer", client.answered)
    own = bytes.fromhex("0001") + mac(HOST_MAC) + socket.inet_aton(HOST_IP) + bytes(6)
    question = own + socket.inet_aton(CLIENT_IP)

    def asked(seconds: float) -> bool:
        return any(frame[20:42] == question for frame in client.frames(seconds))

    before = asked(2.0)
    run("ip", "route", "add", "default", "via", CLIENT_IP)
    wait("the question", lambda: asked(0.5))
    return {"before": before}


def routes(stack: contextlib.ExitStack) -> dict[str, object]:
    """Which changes of the routing table wake whoever subscribed: those of default routes."""
    Client(stack)
    run("ip", "address", "add", f"{HOST_IP}/16", "dev", "eth0")
    told = RouteSocket(None)
    stack.callback(told.close)

    def waits() -> bool:
        return bool(select.select([told], [], [], 0.0)[0])

    def settled() -> bool:
        told.read()
        return told.monitor.settled and not waits()

    def woken(change: str) -> bool:
        # The kernel queues notices before the command that causes them ends.
        subprocess.run(["ip", "-batch", "-"], input=change, text=True, check=True)
        found = waits()
        told.read()
        return found

    wait("the first dump", settled)
    others = [f"198.19.{third}.0/24 via {CLIENT_IP}\n" for third in range(250)]
    facts: dict[str, object] = {
        "others": woken("".join(f"route add {route}" for route in others)),
        "default": woken(f"route add default via {CLIENT_IP}\n"),
        "others go": woken("".join(f"route del {route}" for route in others)),
        "default goes": woken("route del default\n"),
        "address": woken("address add 198.18.0.12/16 dev eth0\n"),
    }
    facts["error"] = told.monitor.error
    return facts


def responder_killed(stack: contextlib.ExitStack) -> dict[str, object]:
    """The end of the responder reaches the speaker, which reaps it."""
    Client(stack)
    speaker = Speaker(stack)
    speaker.start(VIP)
    os.kill(speaker.responder, signal.SIGKILL)
    code = speaker.process.wait(WAIT_S)
    return {"code": code, "last": speaker.read()[-1], "left": Path(f"/proc/{speaker.responder}").exists()}


def many(stack: contextlib.ExitStack) -> dict[str, object]:
    """Ten thousand addresses: all announced, all answered, requests answered while the burst is under way."""
    client = Client(stack)
    speaker = Speaker(stack)
    speaker.start(VIP)
    addresses = [f"198.18.{third}.{fourth}" for third in range(64, 104) for fourth in range(250)]
    began = time.monotonic()
    speaker.announce(VIP, *addresses)
    during = 0
    while len(speaker.told("Announced")) < len(addresses) + 1:
        during += client.answered()
        if time.monotonic() - began > 30:
            raise SystemExit(f"announced {len(speaker.told('Announced'))} addresses in 30 s")
    seconds = time.monotonic() - began
    sample = [client.answered(address) for address in addresses[::997]]
    memory = int(status(speaker.responder)["VmRSS"].split()[0])
    return {"during": during, "seconds": seconds, "sample": sample, "rss_kib": memory}


def not_permitted(stack: contextlib.ExitStack) -> dict[str, object]:
    """Without CAP_NET_RAW the speaker is told at once, in one line."""
    speaker = Speaker(stack, "setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw")
    _, errors = speaker.process.communicate(timeout=WAIT_S)
    return {"code": speaker.process.returncode, "errors": errors.decode()}


SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (
        answers,
        resolution,
        parent_killed,
        parent_stopped,
        responder_stopped,
        links,
        lost_notices,
        gateway,
        routes,
        responder_killed,
        many,
        not_permitted,
    )
}

if __name__ == "__main__":
    with contextlib.ExitStack() as opened:
        print(json.dumps(SCENARIOS[sys.argv[1]](opened)))
