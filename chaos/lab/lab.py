"""The handle of a lab: start a cluster in a box, break it, and find nothing left of it at the end.

    async with Lab(nodes=3, say=print) as lab:
        await lab.apply(Path("manifests/namespace.yaml"))
        await lab.power_off("n2")

The cluster itself runs in processes of its own (launcher.py, engine.py), inside namespaces that end with this process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal as signals
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import anyio
import anyio.to_thread
import msgspec
from anyio.abc import Process

import chaos
from chaos.lab.apiserver.server import listening_socket
from chaos.lab.apply import Applier
from chaos.lab.channel import Op, Peer, Reply
from chaos.lab.errors import DeadlineError, LabError, NotAllowedError
from chaos.lab.images import compile_packages
from chaos.lab.plan import CLIENT, HOSTS, OBSERVER, LabPlan
from chaos.lab.settings import EngineSettings, LabSettings
from chaos.lab.tools import exited, run_tool, tool_environment
from cluster.client import ApiClient
from cluster.errors import ClusterError
from cluster.objects import Node

T = TypeVar("T")
Say = Callable[[str], None]

_PREFIX = "vipring-lab-"
_LOCK = "lock"
_SIOCGIFFLAGS = 0x8913
_IFF_UP = 1
_ABANDONED_AFTER_S = 60.0
_START_WITHIN_S = 60.0
_STOP_WITHIN_S = 15.0
_POLL_S = 0.25


def _quiet(_: str) -> None:
    """Progress nobody asked for."""


class Lab:
    """A cluster of `nodes` nodes n1, n2 … with an API server, a client and an observer.

    An async context manager: entering returns when every Node is Ready, leaving takes everything away. `say` gets
    progress lines. `run_dir` (made in the temporary directory where not given) holds the kubeconfig and logs and is
    removed at the end. Further keyword arguments are fields of LabSettings. Raises LabError.
    """

    def __init__(
        self,
        nodes: int = 3,
        *,
        run_dir: Path | None = None,
        say: Say = _quiet,
        settings: LabSettings | None = None,
    ) -> None:
        self.settings = msgspec.structs.replace(settings or LabSettings(), nodes=nodes)
        self.plan = LabPlan.of(nodes, self.settings.internal_network)
        self.nodes: tuple[str, ...] = self.plan.names
        self._say = say
        self._given_dir = run_dir
        self._stack = contextlib.AsyncExitStack()
        self._peer: Peer | None = None
        self._api: ApiClient | None = None
        self._applier: Applier | None = None
        self._run_dir: Path | None = None
        self._engine_pid = 0
        self._started: anyio.Event | None = None
        self._failure = ""
        self._guests: list[Process] = []

    # -- life ---------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Not told of the error, or the task group inside would wrap it in a group.
        await self._stack.aclose()

    async def _start(self) -> None:
        self._started = anyio.Event()
        _sweep()
        self._run_dir = self._stack.enter_context(_run_dir(self._given_dir))
        await _bring_loopback_up()
        await anyio.to_thread.run_sync(compile_packages)
        listener = listening_socket("127.0.0.1")
        port = listener.getsockname()[1]
        launcher = await self._launch(listener)
        listener.close()
        if launcher.stdin is None or launcher.stdout is None:
            raise AssertionError("the launcher was started with pipes")
        self._peer = Peer(launcher.stdout.fileno(), launcher.stdin.fileno(), self._on_event)
        tasks = await self._stack.enter_async_context(anyio.create_task_group())
        self._stack.callback(tasks.cancel_scope.cancel)
        tasks.start_soon(self._listen)
        try:
            with anyio.fail_after(_START_WITHIN_S):
                await self._started.wait()
        except TimeoutError:
            raise DeadlineError(
                f"the lab did not start within {_START_WITHIN_S:g} s; see {self._log()}"
            ) from None
        if self._failure:
            error = NotAllowedError if "may make neither" in self._failure else LabError
            raise error(f"the lab did not start: {self._failure}")
        self._api = await self._stack.enter_async_context(ApiClient.from_kubeconfig(str(self.kubeconfig)))
        self._applier = Applier(self._api)
        self._say(f"API server on 127.0.0.1:{port}")
        await self.wait(self._nodes_ready, _START_WITHIN_S, f"nodes {', '.join(self.nodes)} Ready")
        self._say(f"{len(self.nodes)} nodes Ready")

    async def _launch(self, listener: socket.socket) -> subprocess.Popen[bytes]:
        settings = EngineSettings(run_dir=str(self.run_dir), listener=listener.fileno(), lab=self.settings)
        source = str(Path(chaos.__file__).parent.parent)
        path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH", "")]))
        with (self.run_dir / "engine.log").open("ab") as log:
            launcher = subprocess.Popen(  # noqa: ASYNC220 - starting is short
                [sys.executable, "-P", "-m", "chaos.lab.launcher", msgspec.json.encode(settings).decode()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd="/",
                bufsize=0,
                env={**tool_environment(), "PYTHONPATH": path},
                pass_fds=[listener.fileno()],
                # Ctrl-C is for the handle alone, so that there is one orderly end.
                start_new_session=True,
            )
        self._stack.push_async_callback(self._end, launcher)
        return launcher

    async def _end(self, launcher: subprocess.Popen[bytes]) -> None:
        """Stop guests and launcher; the latter takes the rest with it."""
        with anyio.CancelScope(shield=True):
            for guest in self._guests:
                if guest.returncode is None:
                    guest.kill()
                await guest.aclose()
            if launcher.stdin is not None:
                launcher.stdin.close()
            with anyio.move_on_after(_STOP_WITHIN_S):
                await exited(launcher.pid)
            launcher.kill()
            launcher.wait()
            if launcher.stdout is not None:
                launcher.stdout.close()

    def _on_event(self, reply: Reply) -> None:
        match reply.event:
            case "pid":
                self._engine_pid = reply.pid
            case "ready":
                self._done_starting("")
            case "failed":
                self._done_starting(reply.text)
            case _:
                self._say(reply.text)

    def _done_starting(self, failure: str) -> None:
        self._failure = self._failure or failure
        if self._started is not None:
            self._started.set()

    async def _listen(self) -> None:
        if self._peer is not None:
            await self._peer.listen()
        self._done_starting(f"its engine ended; see {self._log()}: {_last_line(self._log())}")

    def _log(self) -> Path:
        return self.run_dir / "engine.log"

    # -- what there is ------------------------------------------------------------------------------------

    @property
    def run_dir(self) -> Path:
        """The directory of kubeconfig and logs."""
        if self._run_dir is None:
            raise LabError("the lab is not running")
        return self._run_dir

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig of an administrator; works from the host's own network namespace."""
        return self.run_dir / "kubeconfig"

    @property
    def api(self) -> ApiClient:
        """A client of the lab's API server, with an administrator's rights."""
        if self._api is None:
            raise LabError("the lab is not running")
        return self._api

    def node_mac(self, node: str) -> str:
        """The MAC address of a node on the data network, lower case with colons."""
        return self.plan.node(node).mac

    def node_address(self, node: str) -> str:
        """The address of a node on the data network."""
        return str(self.plan.node(node).address)

    def container_logs(self, node: str, container: str) -> list[Path]:
        """Log files of all runs of the containers of this name on a node, oldest first: their output as it came."""
        found = self.run_dir.glob(f"logs/{node}/*/{container}/*.log")
        return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))

    def describe(self) -> str:
        """What runs where, a few lines for people."""
        lines = [f"{'NAME':10}{'DATA':16}{'MAC':20}{'MANAGEMENT':16}PODS"]
        lines += [
            f"{n.name:10}{n.address!s:16}{n.mac:20}{n.mgmt_address!s:16}{n.pod_network}"
            for n in self.plan.nodes
        ]
        lines += [f"{host.name:10}{host.address!s:16}{host.mac:20}" for host in HOSTS]
        return "\n".join(lines)

    # -- objects ------------------------------------------------------------------------------------------

    async def apply(self, what: Path | str | Mapping[str, object] | Iterable[Mapping[str, object]]) -> None:
        """Create objects, or merge them into those that exist: a YAML file, YAML text, one object or several.

        Raises LabError naming the object that was refused.
        """
        if self._applier is None:
            raise LabError("the lab is not running")
        await self._applier.apply(what)

    # -- faults -------------------------------------------------------------------------------------------

    async def power_off(self, node: str) -> float:
        """Cut the power of a node: both its links drop everything in one transaction, then its processes die.

        Neighbours see no change of carrier. Returns when the links were cut, in seconds of time.monotonic().
        """
        self.plan.node(node)
        return (await self._ask("power_off", node=node)).at

    async def power_on(self, node: str) -> float:
        """Start a node that was powered off; returns when its agent runs (its Node becomes Ready later)."""
        self.plan.node(node)
        return (await self._ask("power_on", node=node)).at

    async def kill(
        self, node: str, what: str, signal: int = signals.SIGKILL, *, children: bool = False
    ) -> float:
        """Send a signal to the main process of the container named `what` on a node; returns when, monotonic seconds.

        With `children` to the processes that it started instead, the main process excepted.
        """
        self.plan.node(node)
        op: Op = "kill_children" if children else "kill"
        return (await self._ask(op, node=node, what=what, signal=int(signal))).at

    async def throttle(
        self, node: str, what: str, seconds: float, *, stop_s: float = 0.09, run_s: float = 0.01
    ) -> float:
        """Let all processes of the container named `what` on a node stand still for `stop_s` and run for `run_s` in turn.

        Returns after `seconds`: when it began, in monotonic seconds.
        """
        self.plan.node(node)
        peer = self._connected()
        return (
            await peer.ask("throttle", node=node, what=what, seconds=seconds, stop_s=stop_s, run_s=run_s)
        ).at

    async def disconnect(self, node: str, network: str = "data") -> float:
        """Drop everything on a node's link to the `data` or `mgmt` network, without a change of carrier."""
        self.plan.node(node)
        return (await self._ask("disconnect", node=node, what=network)).at

    async def connect(self, node: str, network: str = "data") -> float:
        """Undo `disconnect`."""
        self.plan.node(node)
        return (await self._ask("connect", node=node, what=network)).at

    async def _ask(self, op: Op, *, node: str, what: str = "", signal: int = 0) -> Reply:
        return await self._connected().ask(op, node=node, what=what, signal=signal)

    def _connected(self) -> Peer:
        if self._peer is None:
            raise LabError("the lab is not running")
        return self._peer

    # -- processes in the lab's hosts ---------------------------------------------------------------------

    async def client_exec(
        self, arguments: Sequence[str], *, stdout: int | None = None, stderr: int | None = None
    ) -> Process:
        """Start a program in the client's network namespace, with this process's files. It dies with this process.

        `stdout` and `stderr` are as for subprocess; by default the program shares ours.
        """
        return await self._exec(CLIENT.name, arguments, stdout, stderr)

    async def observer_exec(
        self, arguments: Sequence[str], *, stdout: int | None = None, stderr: int | None = None
    ) -> Process:
        """The same in the observer's network namespace."""
        return await self._exec(OBSERVER.name, arguments, stdout, stderr)

    async def switch_exec(
        self, arguments: Sequence[str], *, stdout: int | None = None, stderr: int | None = None
    ) -> Process:
        """The same in the network namespace of the switch, where the bridges and their ports are."""
        return await self._exec("", arguments, stdout, stderr)

    async def node_exec(
        self, node: str, arguments: Sequence[str], *, stdout: int | None = None, stderr: int | None = None
    ) -> Process:
        """The same in a node's network namespace; the program is no process of the node and survives its power-off."""
        return await self._exec(self.plan.node(node).name, arguments, stdout, stderr)

    async def run(self, host: str, arguments: Sequence[str]) -> tuple[int, str]:
        """Run a program to its end in a host's network namespace (`client`, `observer`, `n1` …, SWITCH for where the
        bridges are); exit code and output."""
        process = await self._exec(host, arguments, subprocess.PIPE, subprocess.STDOUT)
        output = b""
        if process.stdout is not None:
            async for piece in process.stdout:
                output += piece
        return await process.wait(), output.decode("utf-8", "replace")

    async def start(self, host: str, arguments: Sequence[str]) -> Process:
        """Start a program in a host's network namespace and wait until it has printed a line: that it is ready.

        Raises LabError when it ends before that.
        """
        process = await self._exec(host, arguments, subprocess.PIPE, None)
        if process.stdout is None:
            raise AssertionError("started with a pipe")
        try:
            await process.stdout.receive()
        except anyio.EndOfStream:
            raise LabError(f"{' '.join(arguments)} in {host} ended with {await process.wait()}") from None
        return process

    async def _exec(
        self, host: str, arguments: Sequence[str], stdout: int | None, stderr: int | None
    ) -> Process:
        root = f"/proc/{self._engine_pid}"
        namespace = f"{root}/root/run/netns/{host}" if host else f"{root}/ns/net"
        enter = ["nsenter", f"--net={namespace}"]
        if os.stat(f"{root}/ns/user").st_ino != os.stat("/proc/self/ns/user").st_ino:
            enter += [f"--user={root}/ns/user", "--preserve-credentials"]
        process = await anyio.open_process(
            [*enter, "setpriv", "--pdeathsig", "KILL", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env=tool_environment(),
        )
        self._guests = [guest for guest in self._guests if guest.returncode is None] + [process]
        return process

    # -- waiting ------------------------------------------------------------------------------------------

    async def wait(self, condition: Callable[[], Awaitable[T]], seconds: float, what: str = "") -> T:
        """Ask until the answer is true, every 0.25 s; the answer. An API that does not answer yet is no answer.

        Raises DeadlineError naming `what` after `seconds`.
        """
        deadline = time.monotonic() + seconds
        last = ""
        while True:
            try:
                found = await condition()
            except ClusterError as error:
                last = f" ({error})"
            else:
                if found:
                    return found
            if time.monotonic() > deadline:
                raise DeadlineError(f"{what or 'condition'}: not within {seconds:g} s{last}")
            await anyio.sleep(_POLL_S)

    async def _nodes_ready(self) -> bool:
        nodes, _ = await self.api.list("/api/v1/nodes", Node)
        ready = {
            node.metadata.name
            for node in nodes
            if any(c.type == "Ready" and c.status == "True" for c in node.status.conditions)
        }
        return ready >= set(self.nodes)


async def _bring_loopback_up() -> None:
    """A fresh network namespace (`unshare -n`) has its loopback down; kubectl needs it."""
    # Not from /sys, which may show another namespace.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        answer = fcntl.ioctl(probe, _SIOCGIFFLAGS, struct.pack("16sh14x", b"lo", 0))
    if not struct.unpack("16sh14x", answer)[1] & _IFF_UP:
        await run_tool(["ip", "link", "set", "lo", "up"])


@contextlib.contextmanager
def _run_dir(given: Path | None) -> Iterator[Path]:
    """The run directory, locked while we live so that `_sweep` knows which are abandoned; removed at the end."""
    if given is not None:
        given.mkdir(mode=0o755, parents=True)
        path = given
    else:
        path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        # Containers with a uid of their own write their files below it.
        path.chmod(0o755)
    try:
        with (path / _LOCK).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield path.resolve()
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _sweep() -> None:
    """Remove run directories whose lab and launcher were both killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), (path / _LOCK).open("rb") as lock:
            if time.time() - path.stat().st_mtime < _ABANDONED_AFTER_S:
                continue  # perhaps not locked yet
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)


def _last_line(path: Path) -> str:
    """The last line of a log, for the error that names it."""
    with contextlib.suppress(OSError):
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "it is empty")
    return "it is gone"
