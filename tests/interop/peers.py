"""Members of every kind as processes on hosts of their own: ours, hashicorp/memberlist's and serf's."""

import base64
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio
import anyio.abc
import pytest
from anyio.streams.text import TextReceiveStream
from typing_extensions import override

from gossip.meta import Meta
from tests.interop.network import Network

KEY = bytes(range(32))
NEWEST = "0.7.0"
SERF_TAGS = b"\xff\x80"
STATUSES = {
    "join": "alive",
    "alive": "alive",
    "suspect": "suspect",
    "dead": "dead",
    "left": "left",
    "leave": "gone",
    "Join": "alive",
    "Failed": "dead",
    "Leave": "left",
}
ANSWERS = ("join", "leave", "members", "meta", "send", "add-key", "use-key", "remove-key")
SOURCE = Path(__file__).parent / "memberlist"
ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "interop"


def build(version: str) -> Path:
    """The Go program of memberlist/ for one version of hashicorp/memberlist."""
    go = shutil.which("go", path=os.environ["PATH"] + os.pathsep + "/usr/local/go/bin")
    if go is None:
        pytest.fail(
            "go is missing; install Go 1.25 or later: sudo apt-get install golang-go (that of Debian 12 is too old)"
        )
    program = BUILD / f"memberlist-{version}"
    module = [] if version == NEWEST else [f"-modfile={version}.mod"]
    command = [go, "build", *module, "-o", str(program), "."]
    done = subprocess.run(command, cwd=SOURCE, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"memberlist {version} cannot be built (Go 1.25 or later is needed):\n{done.stderr}")
    return program


class Peer:
    """A member on its host. `status` is what it says of each member: alive, suspect, dead, left, or gone where it
    does not tell dead and left apart."""

    gone = ("dead", "left", "gone")

    def __init__(self, name: str, network: Network, logs: Path) -> None:
        self.name = name
        self.network = network
        self.address = network.addresses[name]
        self.key = KEY
        self.label = ""
        self.log = logs / f"{name}.log"
        self.status: dict[str, str] = {}
        self.since: dict[str, float] = {}
        self.deaths: list[tuple[str, float]] = []
        """Whom it took for dead, or gone, and when (epoch seconds)."""
        self.responder: int | None = None
        """The process that answers on the wire and stands still with the machine."""
        self.complaints: list[str] = []
        self.answers: list[dict[str, object]] = []
        self.running = False
        self._changed = anyio.Event()
        self._process: anyio.abc.Process

    def command(self) -> list[str]:
        raise NotImplementedError

    def hear(self, line: str) -> None:
        """Take in a line of output; both programs under remote control speak the same lines of JSON."""
        if not line.startswith("{"):
            return
        said = json.loads(line)
        if said["kind"] == "ready":
            self.responder = said.get("responder")
            self.note(self.name, "alive")
        elif "member" in said:
            if said["kind"] in STATUSES:
                self.note(said["member"]["name"], STATUSES[said["kind"]], said["at"])
        elif said["kind"] in ANSWERS:
            self.answers.append(said)

    def accuses(self, line: str) -> bool:
        """Whether a line of the log is one that a quiet ring has no place for."""
        raise NotImplementedError

    async def run(self, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Run until killed or ended; started as soon as it is a member of a ring of its own."""
        enter = [*self.network.hosts[self.name].enter, "setpriv", "--pdeathsig", "KILL"]
        self.status.clear()
        async with await anyio.open_process(
            [*enter, *self.command()], stdin=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT
        ) as process:
            self._process = process
            assert process.stdout is not None
            try:
                with self.log.open("a") as log:
                    pending = ""
                    async for text in TextReceiveStream(process.stdout):
                        log.write(text)
                        log.flush()
                        *lines, pending = (pending + text).split("\n")
                        for line in lines:
                            self._take(line)
                            if not self.running and self.status.get(self.name) == "alive":
                                self.running = True
                                task_status.started()
                # Whoever waits for its start is told.
                assert self.running, f"{self.name} ended at once; its log:\n{self.log.read_text()[-2000:]}"
            finally:
                self.running = False
                if process.returncode is None:
                    process.kill()
                self._wake()

    def kill(self) -> None:
        """The end of a process that cannot say goodbye."""
        self._process.kill()

    async def stall(self, seconds: float, *, machine: bool = False) -> None:
        """Stop the process for a while, with the machine also what answers for it on the wire."""
        stopped = [self._process.pid, *((self.responder,) if machine and self.responder else ())]
        for process in stopped:
            os.kill(process, signal.SIGSTOP)
        try:
            await anyio.sleep(seconds)
        finally:
            for process in stopped:
                os.kill(process, signal.SIGCONT)

    def note(self, member: str, status: str, at: float | None = None) -> None:
        """Take down what this member says of another."""
        self.status[member] = status
        self.since[member] = at or time.time()
        if status in self.gone:
            self.deaths.append((member, self.since[member]))

    async def tell(self, text: str) -> None:
        """Write a command."""
        assert self._process.stdin is not None
        await self._process.stdin.send(text.encode() + b"\n")

    async def ask(self, text: str, *, within: float = 10.0) -> dict[str, object]:
        """Write a command and wait for its answer."""
        before = len(self.answers)
        await self.tell(text)
        await self.until(lambda: len(self.answers) > before, f"an answer to {text!r}", within=within)
        return self.answers[before]

    async def join(self, addresses: Sequence[str]) -> None:
        """Join the ring of any of these."""
        await self.ask(f"join {' '.join(addresses)}", within=30.0)

    async def change_key(self, what: str, key: bytes) -> None:
        """Add, use or remove a key."""
        answer = await self.ask(f"{what}-key {key.hex()}")
        assert not answer.get("error"), answer

    async def leave(self) -> None:
        """Say goodbye and end."""
        await self.ask("leave")
        assert self._process.stdin is not None
        await self._process.stdin.aclose()

    async def ended(self) -> None:
        """Wait for the end of the process."""
        await self.until(lambda: not self.running, "its own end", within=15.0)

    async def members(self) -> set[str]:
        """Names of those that live, as it answers when asked."""
        found = (await self.ask("members"))["members"]
        assert isinstance(found, list)
        return {member["name"] for member in found if member.get("state", "alive") == "alive"}

    async def sees(self, member: str, *statuses: str, within: float) -> float:
        """Wait until this peer gives a member one of these states; the time at which it began to (epoch seconds)."""
        what = f"{member} {' or '.join(statuses)}"
        await self.until(lambda: self.status.get(member) in statuses, what, within=within)
        return self.since[member]

    async def until(self, condition: Callable[[], bool], what: str, *, within: float) -> None:
        """Wait for a condition on what was heard."""
        with anyio.move_on_after(within):
            while not condition():
                await self._changed.wait()
        if not condition():
            tail = "\n".join(self.log.read_text().splitlines()[-25:])
            raise AssertionError(
                f"{self.name} did not see {what} within {within:.1f} s; it sees {self.status}; its log:\n{tail}"
            )

    def _take(self, line: str) -> None:
        if self.accuses(line):
            self.complaints.append(line)
        self.hear(line)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


class Ours(Peer):
    """A member of this project.

    Args:
        serf: it speaks as much of serf's own layer as agents expect.
        tags: it announces serf's meta, and so has no fast lane with others of ours.
        wire: it asks and answers on the wire as a speaker does.
    """

    def __init__(
        self, name: str, network: Network, logs: Path, *, serf: bool, tags: bool, wildcard: bool, wire: bool
    ) -> None:
        super().__init__(name, network, logs)
        self.serf = serf
        self.tags = tags
        self.wire = wire
        self.bind = ("::" if ":" in self.address else "0.0.0.0") if wildcard else self.address

    @override
    def command(self) -> list[str]:
        meta = Meta(software="vipring", version="0", instance=secrets.token_bytes(8)).encode()
        others = [address for name, address in self.network.addresses.items() if name != self.name]
        return [
            *(sys.executable, "-m", "tests.interop.member", "--name", self.name),
            *("--bind", self.bind, "--advertise", self.address, "--label", self.label),
            *("--key", self.key.hex(), "--peers", ",".join(others)),
            *("--meta", (SERF_TAGS if self.tags else meta).hex()),
            *(("--serf",) if self.serf else ()),
            *(("--wire",) if self.wire else ()),
        ]

    @override
    def accuses(self, line: str) -> bool:
        return bool(re.search(r'"kind": "(suspect|refuted|rejected)"|Traceback', line))


class Memberlist(Peer):
    """A member of the Go program. Its events do not tell whether a member died or left."""

    def __init__(
        self,
        name: str,
        network: Network,
        logs: Path,
        *,
        version: str,
        meta: str | None = None,
        state: int = 0,
    ) -> None:
        super().__init__(name, network, logs)
        self.program = BUILD / f"memberlist-{version}"
        self.application = ["-plain"] if meta is None else ["-meta", meta, "-state", str(state)]
        """Without meta it is a member without an application, as a speaker of MetalLB's."""

    @override
    def command(self) -> list[str]:
        return [
            *(str(self.program), "-name", self.name, "-bind", self.address, "-key", self.key.hex()),
            *("-label", self.label, *self.application),
        ]

    @override
    def accuses(self, line: str) -> bool:
        return bool(re.search(r"Suspect |Refuting|\[ERR\]|\[WARN\]|panic", line))


class Serf(Peer):
    """An agent of Debian's serf."""

    # "Leave (forced)": memberlist's goodbye came before serf's own, and what had looked like a death was none.
    events = re.compile(r"serf: EventMember(Join|Failed|Leave)(?: \(forced\))?: (\S+)")

    def __init__(self, name: str, network: Network, logs: Path, *, wildcard: bool = False) -> None:
        super().__init__(name, network, logs)
        self.bind = "0.0.0.0" if wildcard else self.address

    @override
    def command(self) -> list[str]:
        if shutil.which("serf") is None:
            pytest.fail("serf is missing; install it with: sudo apt-get install serf")
        key = base64.b64encode(self.key).decode()
        return [
            *("serf", "agent", f"-node={self.name}", f"-bind={self.bind}", f"-encrypt={key}"),
            *("-profile=lan", "-log-level=debug"),
        ]

    @override
    def hear(self, line: str) -> None:
        if found := self.events.search(line):
            self.note(found[2], STATUSES[found[1]])

    @override
    def accuses(self, line: str) -> bool:
        return bool(re.search(r"Suspect |Refuting|\[ERR\]|\[WARN\]|panic", line))

    @override
    async def join(self, addresses: Sequence[str]) -> None:
        # It is a member before its RPC listens.
        with anyio.fail_after(10):
            while not await self._serf("join", *addresses):
                pass

    @override
    async def change_key(self, what: str, key: bytes) -> None:
        # Tells the other agents too. Members that are none do not answer; they do it when they are told so here.
        words = {"add": "-install", "use": "-use", "remove": "-remove"}
        await self._serf("keys", f"{words[what]}={base64.b64encode(key).decode()}")

    @override
    async def leave(self) -> None:
        await self._serf("leave")

    @override
    async def members(self) -> set[str]:
        answer = await self._serf("members", "-format=json")
        return {member["name"] for member in json.loads(answer)["members"] if member["status"] == "alive"}

    async def _serf(self, *words: str) -> bytes:
        command = [*self.network.hosts[self.name].enter, "serf", *words]
        return (await anyio.run_process(command, check=False)).stdout
