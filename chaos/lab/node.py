"""One node as the engine sees it: the agent process that is PID 1 in the node's namespaces, and its control pipe."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import anyio
import msgspec
from anyio.abc import TaskGroup

from chaos.lab import kernel
from chaos.lab.channel import Op, Peer, Reply, Request
from chaos.lab.errors import LabError
from chaos.lab.plan import NodePlan
from chaos.lab.settings import AgentSettings
from chaos.lab.tools import exited, reap


def _ignore(_: Reply) -> None:
    """An agent says nothing unasked."""


class NodeProcess:
    """Starts and kills the agent of one node. Its network namespace is named like the node and outlives it."""

    def __init__(self, plan: NodePlan, settings: AgentSettings, on_end: Callable[[str], None]) -> None:
        self.plan = plan
        self._settings = settings
        self._file = Path(settings.run_dir) / f"{plan.name}.json"
        self._on_end = on_end
        self._pid: int | None = None
        self._peer: Peer | None = None
        self._killed = False
        self._ended = anyio.Event()

    @property
    def running(self) -> bool:
        """Is the node switched on?"""
        return self._pid is not None

    def start(self, tasks: TaskGroup) -> None:
        """Switch the node on. Raises LabError or OSError."""
        if self._pid is not None:
            raise LabError("is on already")
        # In a file, since arguments are for all eyes.
        self._file.touch(mode=0o600)
        self._file.write_bytes(msgspec.json.encode(self._settings))
        commands_out, commands_in = os.pipe()[::-1], os.pipe()[::-1]
        # commands_out: (write, read) towards the agent; commands_in: the same towards us.
        to_agent, agent_stdin = commands_out
        agent_stdout, from_agent = commands_in
        log = os.open(
            Path(self._settings.run_dir) / f"{self.plan.name}.log",
            os.O_WRONLY | os.O_CREAT | os.O_APPEND,
            0o644,
        )

        def prepare() -> NoReturn:
            os.dup2(agent_stdin, 0)
            os.dup2(agent_stdout, 1)
            os.dup2(log, 2)
            self._exec()

        pid = kernel.spawn_init(prepare)
        for fd in (agent_stdin, agent_stdout, log):
            os.close(fd)
        self._pid = pid
        self._killed = False
        self._ended = anyio.Event()
        self._peer = Peer(from_agent, to_agent, _ignore)
        tasks.start_soon(self._watch, pid, self._peer, from_agent, to_agent)

    def _exec(self) -> NoReturn:
        """In the child: into the node's namespaces, then the agent."""
        # The engine lies outside of the child's pid namespace, which shows as 0.
        kernel.die_with_parent(0)
        os.setsid()
        kernel.enter(f"/run/netns/{self.plan.name}", kernel.CLONE_NEWNET)
        kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWUTS | kernel.CLONE_NEWIPC)
        kernel.make_private()
        kernel.mount("proc", "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
        # The namespaces of this node's pods get names that nobody else sees.
        kernel.mount("tmpfs", "/run/netns", "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=0755")
        socket.sethostname(self.plan.name)
        os.execv(sys.executable, [sys.executable, "-P", "-m", "chaos.lab.agent", str(self._file)])

    async def _watch(self, pid: int, peer: Peer, from_agent: int, to_agent: int) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(peer.listen)
            await exited(pid)
            tasks.cancel_scope.cancel()
        code = reap(pid)
        os.close(from_agent)
        os.close(to_agent)
        self._pid = self._peer = None
        self._ended.set()
        if not self._killed:
            self._on_end(f"{self.plan.name}: agent ended with code {code}")

    async def kill(self) -> float:
        """SIGKILL to PID 1, which takes every process of the node along; when, in monotonic seconds."""
        if self._pid is None:
            raise LabError("is off already")
        self._killed = True
        ended, at = self._ended, time.monotonic()
        os.kill(self._pid, signal.SIGKILL)
        await ended.wait()
        return at

    async def signal_container(self, op: Op, name: str, number: int) -> Reply:
        """Have the agent send a signal to a container's main process (`kill`) or its children (`kill_children`)."""
        if self._peer is None:
            raise LabError("is off")
        return await self._peer.ask(op, what=name, signal=number)

    async def throttle_container(self, request: Request) -> Reply:
        """Have the agent let a container stand still again and again."""
        if self._peer is None:
            raise LabError("is off")
        return await self._peer.ask(
            "throttle",
            what=request.what,
            seconds=request.seconds,
            stop_s=request.stop_s,
            run_s=request.run_s,
        )
