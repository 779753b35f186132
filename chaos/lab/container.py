"""One run of a container: a process that is PID 1 of its own pid, mount and ipc namespaces."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import anyio

from chaos.lab import kernel
from chaos.lab.podplan import User
from chaos.lab.rootfs import Tree, build
from chaos.lab.tools import exited, reap


@dataclass(frozen=True, slots=True)
class RunSpec:
    """Everything the run of a container needs.

    `netns` is the file of the Pod's network namespace, None for the node's own. `one_user` says that this user
    namespace has a single uid, so that other uids exist only inside a nested one.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    directory: str
    tree: Tree
    log: Path
    hostname: str
    netns: str | None
    user: User
    capabilities: Collection[str]
    no_new_privileges: bool
    one_user: bool


class ContainerRun:
    """A running container. `wait` must be called once, it reaps the process."""

    def __init__(self, spec: RunSpec) -> None:
        """Start it. Raises OSError with what the kernel refused."""
        self.spec = spec
        spec.log.parent.mkdir(parents=True, exist_ok=True)
        log = os.open(spec.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        nothing = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.pid = kernel.spawn_init(lambda: _become(spec, nothing, log))
        finally:
            os.close(log)
            os.close(nothing)
        self.ended = False

    async def wait(self) -> int:
        """Its exit code; 128 + the number of the signal that ended it."""
        await exited(self.pid)
        self.ended = True
        code = reap(self.pid)
        return code if code >= 0 else 128 - code

    def signal(self, number: int) -> float:
        """Send a signal to its main process; when, in monotonic seconds."""
        at = time.monotonic()
        if not self.ended:
            os.kill(self.pid, number)
        return at

    def signal_children(self, number: int) -> float:
        """Send a signal to the processes that its main process started; when, in monotonic seconds."""
        at = time.monotonic()
        for pid in [] if self.ended else children(self.pid):
            os.kill(pid, number)
        return at

    async def throttle(self, seconds: float, *, stop_s: float, run_s: float) -> float:
        """Let every process of it stand still for `stop_s` and run for `run_s` in turn, as one without a share of the CPU;
        when that began, in monotonic seconds."""
        return await starve(
            [self.pid, *children(self.pid)], seconds, stop_s=stop_s, run_s=run_s, ended=lambda: self.ended
        )


async def starve(
    processes: Collection[int], seconds: float, *, stop_s: float, run_s: float, ended: Callable[[], bool]
) -> float:
    """Let processes stand still for `stop_s` and run for `run_s` in turn, until `seconds` are over or they have `ended`;
    when that began, in monotonic seconds. They run at the end, however it comes."""
    begun = time.monotonic()
    try:
        while time.monotonic() < begun + seconds and not ended():
            _signal_all(processes, signal.SIGSTOP)
            await anyio.sleep(stop_s)
            _signal_all(processes, signal.SIGCONT)
            await anyio.sleep(run_s)
    finally:
        if not ended():
            _signal_all(processes, signal.SIGCONT)
    return begun


def children(parent: int) -> list[int]:
    """Processes of a parent (proc(5)); one that ends meanwhile is none."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # What follows the command, which may hold anything: state, parent.
                if entry.joinpath("stat").read_text().rpartition(")")[2].split()[1] == str(parent):
                    found.append(int(entry.name))
    return found


def _signal_all(processes: Iterable[int], number: int) -> None:
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _become(spec: RunSpec, nothing: int, log: int) -> NoReturn:
    """In the child: enter the namespaces, put on the identity, execute."""
    kernel.die_with_parent(0)
    os.setsid()
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    # Python ignores these two; programs expect the defaults.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    if spec.netns is not None:
        kernel.enter(spec.netns, kernel.CLONE_NEWNET)
    kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS)
    kernel.make_private()
    socket.sethostname(spec.hostname)
    build(spec.tree)
    os.umask(0o022)
    _put_on(spec)
    os.chdir(spec.directory or "/")
    program = shutil.which(spec.command[0], path=spec.environment.get("PATH"))
    if program is None:
        raise FileNotFoundError(f'exec: "{spec.command[0]}": executable file not found in $PATH')
    os.execve(program, list(spec.command), dict(spec.environment))


def _put_on(spec: RunSpec) -> None:
    """User, groups and capabilities."""
    user = spec.user
    if spec.one_user:
        if user.uid != 0:
            # The same user to the host; to itself and to `ps` it is the one asked for.
            kernel.unshare(kernel.CLONE_NEWUSER)
            kernel.map_user(user.uid, 0, user.gid, 0)
        kernel.bound_capabilities(spec.capabilities)
    else:
        kernel.bound_capabilities(spec.capabilities)
        os.setgroups([user.fs_group] if user.fs_group is not None else [])
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
    if user.uid == 0:
        kernel.set_capabilities(spec.capabilities)
    else:
        kernel.set_capabilities(())
    if spec.no_new_privileges:
        kernel.forbid_new_privileges()
