"""Real `vipring` processes around the embedded API server, in the network namespace of the caller.

The caller must run in a namespace of its own (`tests/lab/test_speakers.py` sees to that): one interface eth0
carries the addresses of all nodes, 198.18.0.11 for n1 and so on.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio
import httpx2

from chaos.lab.apiserver.server import ApiServer, listening_socket
from cluster.client import ApiClient

NAMESPACE = "metallb-system"
CONFIG = "address-pools:\n- {name: lan, protocol: layer2, addresses: [198.18.1.0/24]}\n"
DEADLINE_S = 30.0
CONFINED = (
    *("unshare", "--mount", "sh", "-ec", 'mount -o remount,bind,ro /; exec "$@"', "sh"),
    *("env", "-u", "HOME", "setpriv", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all,+net_raw"),
)
"""Put before a command: a mount namespace with a read-only root, no HOME, CAP_NET_RAW and no other capability."""


def network(nodes: int) -> None:
    """Loopback and one bridge named eth0 with the addresses of the nodes."""
    commands = ["link set lo up", "link add eth0 type bridge", "link set eth0 up"]
    commands += [f"addr add 198.18.0.{10 + number}/16 dev eth0" for number in range(1, nodes + 1)]
    subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), text=True, check=True)


@dataclass
class Process:
    """A running vipring process and its files."""

    name: str
    popen: subprocess.Popen[bytes]
    out: Path
    err: Path

    def lines(self) -> list[dict[str, Any]]:
        """Its log so far."""
        return [json.loads(line) for line in self.out.read_bytes().splitlines()]

    def events(self, event: str) -> list[dict[str, Any]]:
        """Its log lines of one event."""
        return [line for line in self.lines() if line.get("event") == event]

    def rss_mb(self, pid: int | None = None) -> float:
        """Resident memory in MB (10^6 bytes)."""
        status = Path(f"/proc/{pid or self.popen.pid}/status").read_text()
        return (
            next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
            * 1024
            / 1e6
        )

    def terminate(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait; the exit status."""
        self.popen.send_signal(number)
        return self.popen.wait(DEADLINE_S)


@dataclass
class Stage:
    """The API server, its objects, and the processes."""

    directory: Path
    processes: list[Process] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self._stack = contextlib.AsyncExitStack()
        self.server = await self._stack.enter_async_context(ApiServer([listening_socket("127.0.0.1", 0)]))
        self.kubeconfig = self.directory / "kubeconfig"
        self.kubeconfig.write_text(self.server.kubeconfig())
        self.api = await self._stack.enter_async_context(ApiClient.from_kubeconfig(str(self.kubeconfig)))
        self.http = await self._stack.enter_async_context(httpx2.AsyncClient(timeout=5.0, trust_env=False))
        await self.create("/api/v1/namespaces", "Namespace", NAMESPACE)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes:
            if process.popen.poll() is None:
                process.popen.kill()
                process.popen.wait()
            if error is not None:
                print(f"--- {process.name}\n{process.out.read_text()}{process.err.read_text()[-4000:]}")
        await self._stack.aclose()

    # Objects

    async def create(self, path: str, kind: str, name: str, **rest: object) -> None:
        """Create an object; `labels` and `namespace` go to its metadata."""
        metadata = {"name": name, "labels": rest.pop("labels", {})}
        group = "discovery.k8s.io/v1" if kind == "EndpointSlice" else "v1"
        await self.api.create(path, {"apiVersion": group, "kind": kind, "metadata": metadata, **rest}, dict)

    async def cluster(self, nodes: int, config: str = CONFIG) -> None:
        """Nodes with their speaker pods, and the ConfigMap."""
        for number in range(1, nodes + 1):
            await self.create("/api/v1/nodes", "Node", f"n{number}")
            await self.speaker_pod(number)
        await self.create(
            f"/api/v1/namespaces/{NAMESPACE}/configmaps", "ConfigMap", "config", data={"config": config}
        )

    async def speaker_pod(self, number: int) -> None:
        """The pod that runs the speaker of node n<number>."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods"
        await self.create(
            path,
            "Pod",
            f"speaker-{number}",
            labels={"app": "metallb", "component": "speaker"},
            spec={"nodeName": f"n{number}", "containers": [{"name": "speaker", "image": "vipring"}]},
        )
        status = {"status": {"phase": "Running", "podIP": f"198.18.0.{10 + number}"}}
        await self.api.patch(f"{path}/speaker-{number}/status", status, dict)

    async def service(self, name: str, *, ready: bool = True) -> None:
        """A LoadBalancer Service in namespace default with one endpoint on n1."""
        await self.create(
            "/api/v1/namespaces/default/services",
            "Service",
            name,
            spec={"type": "LoadBalancer", "ports": [{"port": 80}]},
        )
        await self.create(
            "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
            "EndpointSlice",
            f"{name}-1",
            labels={"kubernetes.io/service-name": name},
            addressType="IPv4",
            endpoints=[{"addresses": ["198.18.0.50"], "nodeName": "n1", "conditions": {"ready": ready}}],
            ports=[{"port": 80}],
        )

    async def configure(self, config: str) -> None:
        """Write another configuration into the ConfigMap."""
        path = f"/api/v1/namespaces/{NAMESPACE}/configmaps/config"
        await self.api.patch(path, {"data": {"config": config}}, dict)

    # Processes

    def speaker(
        self, number: int, secret: str = "first-secret", *, python: Sequence[str] = (), confined: bool = False
    ) -> Process:
        """Start the speaker of node n<number> with the environment of MetalLB's manifest.

        `confined`: with CAP_NET_RAW alone, a read-only root and no home, as the manifest has it at its strictest.
        """
        address = f"198.18.0.{10 + number}"
        env = {
            "METALLB_NODE_NAME": f"n{number}",
            "METALLB_HOST": address,
            "METALLB_ML_BIND_ADDR": address,
            "METALLB_ML_LABELS": "app=metallb,component=speaker",
            "METALLB_ML_NAMESPACE": NAMESPACE,
            "METALLB_ML_SECRET_KEY": secret,
        }
        before = CONFINED if confined else ()
        args = ["speaker", "--port=7472", "--config=config"]
        return self._start(f"speaker-n{number}", args, env, python, before)

    def controller(self) -> Process:
        """Start the controller."""
        return self._start("controller", ["controller", "--port=7473", "--host=127.0.0.1"], {}, ())

    def _start(
        self,
        name: str,
        args: Sequence[str],
        env: Mapping[str, str],
        python: Sequence[str],
        before: Sequence[str] = (),
    ) -> Process:
        base = self.directory / f"{name}-{len(self.processes)}"
        out, err = base.with_suffix(".out"), base.with_suffix(".err")
        flags = [f"--kubeconfig={self.kubeconfig}", f"--namespace={NAMESPACE}"]
        with out.open("wb") as stdout, err.open("wb") as stderr:
            popen = subprocess.Popen(
                [*before, sys.executable, *python, "-m", "vipring", *args, *flags],
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )
        self.processes.append(Process(name, popen, out, err))
        return self.processes[-1]

    # What they say

    async def page(self, number: int, path: str) -> tuple[int, str]:
        """Status code and body of one page of a speaker; 0 while nobody listens."""
        try:
            answer = await self.http.get(f"http://198.18.0.{10 + number}:7472/{path}")
        except httpx2.TransportError:
            return 0, ""
        return answer.status_code, answer.text

    async def status(self, number: int) -> dict[str, Any]:
        """The status document of a speaker; empty while nobody listens."""
        code, body = await self.page(number, "status")
        found: dict[str, Any] = json.loads(body) if code == 200 else {}
        return found

    async def ip(self, service: str) -> str | None:
        """The address in a Service's status."""
        found = await self.api.get(f"/api/v1/namespaces/default/services/{service}", dict)
        ingress = found.get("status", {}).get("loadBalancer", {}).get("ingress") or [{}]
        ip: str | None = ingress[0].get("ip")
        return ip

    async def until(self, what: str, check: Callable[[], Any], deadline_s: float = DEADLINE_S) -> Any:
        """Wait until `check` (awaited where it is a coroutine function) gives something true; that something."""
        seen: Any = None
        with anyio.move_on_after(deadline_s):
            while True:
                seen = check()
                if hasattr(seen, "__await__"):
                    seen = await seen
                if seen:
                    return seen
                await anyio.sleep(0.05)
        raise AssertionError(f"{what}: not within {deadline_s:g} s; last seen {seen!r}")


def members(status: Mapping[str, Any]) -> dict[str, str]:
    """State by name, from a status document."""
    return {member["name"]: member["state"] for member in status.get("ring", {}).get("members", ())}


def vip(status: Mapping[str, Any], address: str) -> dict[str, Any]:
    """One address of a status document; empty if it is not there."""
    return next((found for found in status.get("vips", ()) if found["address"] == address), {})
