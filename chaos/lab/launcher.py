"""Makes the namespaces of a lab and runs the engine as PID 1 in them.

Everything of a lab lives in the engine's pid, network and mount namespaces, so its end, whatever caused it, is the end
of every process, interface and mount: the kernel sees to that. This process stays outside, waits for the end of the
engine or of the handle (end of file on standard input, also after SIGKILL), and removes the run directory.
"""

from __future__ import annotations

import errno
import os
import select
import shutil
import signal
import sys
from pathlib import Path
from typing import NoReturn

import msgspec

from chaos.lab import kernel
from chaos.lab.channel import Reply, write
from chaos.lab.settings import EngineSettings

_NAMESPACES = (
    kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWPID | kernel.CLONE_NEWUTS | kernel.CLONE_NEWIPC
)
_NOT_OURS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
REFUSED = (
    "this process may make neither namespaces nor a user namespace: run the lab as root, "
    "or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0)"
)


def _enter_namespaces() -> None:
    """As root directly, otherwise inside a user namespace with our own uid as 0. Raises OSError."""
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        try:
            kernel.unshare(_NAMESPACES)
        except OSError as error:
            if error.errno != errno.EPERM:
                raise
        else:
            return
    kernel.unshare(kernel.CLONE_NEWUSER | _NAMESPACES)
    kernel.map_user(0, uid, 0, gid)


def _mounts(run_dir: str) -> None:
    kernel.make_private()
    kernel.mount("proc", "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
    # Named network namespaces of the lab are files below /run; a run directory down there must stay in sight.
    keep = os.open(run_dir, os.O_PATH | os.O_CLOEXEC)
    kernel.mount("tmpfs", "/run", "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=0755")
    if Path(run_dir).resolve().is_relative_to("/run"):
        os.makedirs(run_dir)
        kernel.mount(f"/proc/self/fd/{keep}", run_dir, flags=kernel.MS_BIND)
    os.close(keep)


def _engine(settings: EngineSettings) -> NoReturn:
    try:
        # The launcher lies outside of this pid namespace, which shows as 0.
        kernel.die_with_parent(0)
        os.setsid()
        for number in _NOT_OURS:
            # What is ignored stays so in every process of the lab, and no shell could trap it.
            signal.signal(number, signal.SIG_DFL)
        _mounts(settings.run_dir)
        # Imported here, so that the process that stands by stays small.
        from chaos.lab.engine import run_engine

        run_engine(settings)
    except BaseException as error:
        write(
            sys.stdout.fileno(),
            Reply(event="failed", text=" ".join(f"{type(error).__name__}: {error}".split())),
        )
        raise
    os._exit(0)


def _stand_by(pid: int) -> int:
    """Wait until the engine or the handle has ended; see to it that the engine has. Its exit code."""
    poll = select.poll()
    fd = os.pidfd_open(pid)
    poll.register(fd, select.POLLIN)
    poll.register(sys.stdin.fileno(), 0)  # POLLHUP alone: the engine reads
    poll.poll()
    os.close(fd)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def main() -> int:
    """`python -m chaos.lab.launcher SETTINGS`, as class Lab calls it."""
    settings = msgspec.json.decode(sys.argv[1], type=EngineSettings)
    for number in _NOT_OURS:
        # The handle decides; its end is what ends a lab.
        signal.signal(number, signal.SIG_IGN)
    try:
        try:
            _enter_namespaces()
        except OSError as error:
            write(sys.stdout.fileno(), Reply(event="failed", text=f"{REFUSED} ({error})"))
            return 1
        pid = os.fork()
        if pid == 0:
            _engine(settings)
        os.close(settings.listener)
        write(sys.stdout.fileno(), Reply(event="pid", pid=pid))
        return _stand_by(pid)
    finally:
        shutil.rmtree(settings.run_dir, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
