"""Real speakers, each in a network namespace of its own, on one bridge, around one embedded API server.

Everything is made inside the namespaces of the calling process: `enter` runs a bench in namespaces of its own, as root or
as a user who may make user namespaces.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from ipaddress import IPv4Address
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from bench.objects import FIRST_NODE, LABELS, NAMESPACE

API: Final = IPv4Address("198.18.0.1")
CLIENT: Final = IPv4Address("198.18.0.2")
STATUS_PORT: Final = 7472
PATIENCE_S: Final = 120.0
_POLL_S: Final = 0.1
_SECRET: Final = "a secret of the bench"


def enter(module: str, arguments: Sequence[str], *, timeout_s: float) -> int:
    """Run a module with these arguments in namespaces of its own; its exit status."""
    unshare = ["unshare", "--net", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        unshare[1:1] = ["--user", "--map-root-user"]
    try:
        done = subprocess.run(
            ["setpriv", "--pdeathsig", "KILL", *unshare, sys.executable, "-m", module, *arguments],
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError:
        raise SystemExit(f"{module}: needs: apt-get install iproute2 util-linux") from None
    return done.returncode


def until(what: str, condition: Callable[[], bool], *, seconds: float = PATIENCE_S) -> None:
    """Wait for a condition. Raises SystemExit naming it when it does not hold in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"bench: {what}: not within {seconds:g} s")
        time.sleep(_POLL_S)


def ip(*commands: str) -> None:
    """Run commands of ip(8) in the namespace of this process."""
    subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), text=True, check=True)


class Host:
    """A namespace at the bridge with one address on eth0."""

    def __init__(self, name: str, address: IPv4Address, mac: str) -> None:
        self.name = name
        self.address = address
        self._sleeper = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self.namespace: Final = f"/proc/{self._sleeper.pid}/ns/net"
        until("a namespace", lambda: os.readlink(self.namespace) != os.readlink("/proc/self/ns/net"))
        ip(
            f"link add to-{name} type veth peer name eth0 address {mac} netns {self._sleeper.pid}",
            f"link set to-{name} master br0 up",
        )
        for command in ("link set lo up", "link set eth0 up", f"address add {address}/16 dev eth0"):
            subprocess.run([*self.enter, "ip", *command.split()], check=True)

    @property
    def enter(self) -> list[str]:
        """What to put before a command that is to run here."""
        return ["nsenter", f"--net={self.namespace}"]

    def close(self) -> None:
        """Let go of the namespace."""
        self._sleeper.kill()
        self._sleeper.wait()


class Yard:
    """The bridge, the API server, the nodes and their speakers; a context manager."""

    def __init__(
        self,
        *,
        nodes: int,
        services: int,
    ) -> None:
        self._node_count = nodes
        self._service_count = services
        self._stack = ExitStack()
        self.nodes: dict[str, Host] = {}
        self.speakers: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vipring-bench-")))
            stack.callback(ip, "link delete br0")
            ip(
                "link set lo up",
                "link add br0 type bridge mcast_snooping 0",
                "link set br0 up",
                f"address add {API}/16 dev br0",
            )
            self.kubeconfig = self.directory / "kubeconfig"
            self._api = self._start(stack, "api", [], [
                "-m", "bench.objects", "--address", str(API), "--kubeconfig", str(self.kubeconfig),
                "--nodes", str(self._node_count), "--services", str(self._service_count),
            ])  # fmt: skip
            until("the API server", self._serves)
            for number in range(1, self._node_count + 1):
                name = f"n{number}"
                host = Host(name, FIRST_NODE + number - 1, f"02:00:00:00:01:{number:02x}")
                stack.callback(host.close)
                self.nodes[name] = host
            self.client = Host("client", CLIENT, "02:00:00:00:00:0c")
            stack.callback(self.client.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            for file in sorted(self.directory.glob("*.out")):
                print(f"--- {file.name}\n{file.read_text()[-2000:]}", file=sys.stderr)
        self._stack.close()

    def _start(
        self,
        stack: ExitStack,
        name: str,
        before: Sequence[str],
        python: Sequence[str],
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        with (self.directory / f"{name}.out").open("wb") as out:
            process = subprocess.Popen(
                [*before, sys.executable, *python],
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        stack.callback(process.wait)
        stack.callback(process.kill)
        return process

    def _output(self, name: str) -> str:
        return (self.directory / f"{name}.out").read_text()

    def start_speakers(self) -> None:
        """Start all speakers as the manifest does, and wait until each is ready and they agree on who is there."""
        secret = self.directory / "secret"
        secret.mkdir()
        (secret / "secretkey").write_text(_SECRET)
        for name, host in self.nodes.items():
            environment = {
                "METALLB_NODE_NAME": name,
                "METALLB_HOST": str(host.address),
                "METALLB_ML_BIND_ADDR": str(host.address),
                "METALLB_ML_LABELS": ",".join(f"{key}={value}" for key, value in LABELS.items()),
                "METALLB_ML_NAMESPACE": NAMESPACE,
                "METALLB_ML_SECRET_KEY_PATH": str(secret),
            }
            flags = ["speaker", "--port=7472", "--config=config"]
            flags += [f"--kubeconfig={self.kubeconfig}", f"--namespace={NAMESPACE}"]
            self.speakers[name] = self._start(
                self._stack, name, host.enter, ["-m", "vipring", *flags], environment
            )
        # First by a page that costs them nothing: /status of 10,000 addresses keeps a speaker busy for a while.
        until("all speakers ready", lambda: all(self.page(name, "readyz") == 200 for name in self.nodes))
        until("the speakers' ring", self._agreed)

    def start_controller(self) -> None:
        """Start the controller beside the API server."""
        flags = ["controller", "--port=7473", f"--host={API}", f"--kubeconfig={self.kubeconfig}"]
        self._start(self._stack, "controller", [], ["-m", "vipring", *flags, f"--namespace={NAMESPACE}"])

    def _serves(self) -> bool:
        if self._api.poll() is not None:
            raise SystemExit(f"bench: the API server ended:\n{self._output('api')}")
        return "ready" in self._output("api")

    def _agreed(self) -> bool:
        alive = [self.alive(name) for name in self.nodes]
        return all(found == set(self.nodes) for found in alive)

    def alive(self, name: str) -> set[str]:
        """The live members as a speaker that is ready sees them; empty before."""
        status = self.status(name)
        if not status.get("ready"):
            return set()
        return {member["name"] for member in status["ring"]["members"] if member["state"] == "alive"}

    def status(self, name: str) -> dict[str, Any]:
        """/status of a speaker; empty while it does not answer."""
        try:
            with urllib.request.urlopen(self._url(name, "status"), timeout=10) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except OSError:
            return {}

    def log(self, name: str) -> list[dict[str, Any]]:
        """The log lines of a speaker so far, those that are whole."""
        lines = self._output(name).splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n") and line.startswith("{")]

    def _url(self, name: str, path: str) -> str:
        return f"http://{self.nodes[name].address}:{STATUS_PORT}/{path}"

    def list_anew(self) -> None:
        """Have the one speaker list all Services anew; `listed` counts how often it has."""
        self._api.send_signal(signal.SIGUSR1)

    def listed(self) -> int:
        """How often it was made to list them, and has."""
        return self._output("api").count("listed")

    def announced(self, name: str) -> int:
        """Addresses that a speaker has begun to announce, as its log says."""
        return self._output(name).count('"event":"announced"')

    def page(self, name: str, path: str) -> int:
        """The HTTP status of a page of a speaker; 0 while it does not answer."""
        try:
            with urllib.request.urlopen(self._url(name, path), timeout=10) as answer:
                code: int = answer.status
                return code
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def owned(self) -> int:
        """Addresses that exactly one speaker announces."""
        views = [self.status(name).get("vips", ()) for name in self.nodes]
        return sum(vip["announcing"] for vips in views for vip in vips)
