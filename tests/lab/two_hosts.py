"""Run inside a network namespace of its own: two hosts behind a bridge, measured by all instruments of chaos.

Both hosts are namespaces made here. Host a has 198.18.1.0 from the start. The steps, each waited for by
what the records say: the probe is answered, then b takes the address too (two owners), then a loses it
(one owner), then b loses it (none), then b takes it again and the probe is answered again. Prints where
the records are and when the last step began, as JSON.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
VIP = "198.18.1.0"
MACS = {"a": "02:00:00:00:00:0a", "b": "02:00:00:00:00:0b"}

ECHO = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 7))
while True:
    data, who = s.recvfrom(2048)
    s.sendto(sys.argv[1].encode() + b" " + data, who)
"""
HTTP = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("0.0.0.0", 80), Handler).serve_forever()
"""


def run(*args: str) -> None:
    subprocess.run(args, check=True)


def wait(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"gave up waiting: {what}")
        time.sleep(0.02)


def lines(path: Path) -> list[list[object]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


class Host:
    """One namespace, held by the sleeper in it."""

    def __init__(self, name: str, children: list[subprocess.Popen[bytes]]) -> None:
        self.sleeper = subprocess.Popen(["unshare", "-n", "sleep", "60"])
        children.append(self.sleeper)
        own = os.readlink("/proc/self/ns/net")
        namespace = Path(f"/proc/{self.sleeper.pid}/ns/net")
        wait("a namespace", lambda: os.readlink(namespace) != own)
        run(
            "ip",
            "link",
            "add",
            f"to-{name}",
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "address",
            MACS[name],
            "netns",
            str(self.sleeper.pid),
        )
        run("ip", "link", "set", f"to-{name}", "master", "br0", "up")
        self.ip("link", "set", "eth0", "up")
        children.extend(
            subprocess.Popen([*self.enter, sys.executable, "-I", "-S", "-c", script, name])
            for script in (ECHO, HTTP)
        )

    @property
    def enter(self) -> list[str]:
        return ["nsenter", f"--net=/proc/{self.sleeper.pid}/ns/net"]

    def ip(self, *args: str) -> None:
        run(*self.enter, "ip", *args)

    def take(self) -> None:
        self.ip("address", "add", f"{VIP}/16", "dev", "eth0")

    def lose(self) -> None:
        self.ip("address", "del", f"{VIP}/16", "dev", "eth0")


def main(out: Path, children: list[subprocess.Popen[bytes]]) -> None:
    run("ip", "link", "add", "br0", "type", "bridge")
    run("ip", "address", "add", "198.18.0.2/16", "dev", "br0")
    run("ip", "link", "set", "br0", "up")
    a, b = Host("a", children), Host("b", children)
    a.take()
    script = [sys.executable, "-I", "-S"]
    files = {name: out / f"{name}.jsonl" for name in ("udp", "http", "observer", "frames", "neighbour")}
    measuring = [
        subprocess.Popen([*script, ROOT / "chaos/probe.py", "udp", VIP, "7", "--out", files["udp"]]),
        subprocess.Popen(
            [*script, ROOT / "chaos/probe.py", "http", VIP, "80", "--rate", "50", "--out", files["http"]]
        ),
        subprocess.Popen(
            [*script, ROOT / "chaos/observer.py", "br0", "--vip", VIP, "--out", files["observer"]]
        ),
        subprocess.Popen(
            [*script, ROOT / "chaos/recorder.py", "br0", "--network", f"{VIP}/24", "--out", files["frames"]]
        ),
        subprocess.Popen(
            [*script, ROOT / "chaos/neighbour.py", "br0", VIP, "--forget", "0.1", "--out", files["neighbour"]]
        ),
    ]
    children += measuring

    def answering(*names: str) -> bool:
        record = lines(files["observer"])
        last = max((int(str(line[1])) for line in record if line[0] == "q"), default=0) - 2
        return {line[3] for line in record if line[0] == "a" and line[1] == last} == {
            MACS[name] for name in names
        }

    def answered_since(at: float) -> bool:
        return all(
            any(line[0] == "answered" and float(str(line[2])) > at for line in lines(files[name]))
            for name in ("udp", "http")
        )

    wait("answers", lambda: answered_since(0))
    wait("one owner", lambda: answering("a"))
    b.take()
    wait("two owners", lambda: answering("a", "b"))
    a.lose()
    wait("the other owner", lambda: answering("b"))
    run("ip", "neigh", "flush", "dev", "br0")
    fault = time.monotonic()
    wait("answers of the other", lambda: answered_since(fault))
    fault = time.monotonic()
    b.lose()
    wait("no owner", answering)
    # Before it is taken: the first answer may come while the command is still returning.
    back = time.monotonic()
    b.take()
    # What Linux says by itself only where arp_notify is set, and what every speaker says.
    run("ip", "neigh", "flush", "dev", "br0")
    wait("answers again", lambda: answered_since(back))
    wait("an owner again", lambda: answering("b"))
    for process in measuring:
        process.send_signal(signal.SIGTERM)
    codes = [process.wait(timeout=10) for process in measuring]
    print(json.dumps({"fault": fault, "back": back, "codes": codes}))


if __name__ == "__main__":
    started: list[subprocess.Popen[bytes]] = []
    try:
        main(Path(sys.argv[1]), started)
    finally:
        for child in started:
            child.kill()
            child.wait()
