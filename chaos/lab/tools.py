"""Run `ip`, `nft` and the like and wait for them without a thread: the lab's processes fork, so they have none."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Collection, Sequence
from typing import BinaryIO

import anyio

from chaos.lab.errors import LabError

_SBIN = "/usr/sbin:/sbin"


def tool_environment() -> dict[str, str]:
    """The environment with the directories of ip and nft in PATH, which an ordinary user's PATH lacks."""
    return {**os.environ, "PATH": f"{os.environ.get('PATH', '/usr/bin:/bin')}:{_SBIN}", "LC_ALL": "C"}


async def exited(pid: int) -> None:
    """Wait until a child has ended; it is left to be reaped."""
    fd = os.pidfd_open(pid)
    try:
        await anyio.wait_readable(fd)
    finally:
        os.close(fd)


def reap(pid: int) -> int:
    """The exit code of a child that has ended; minus the signal's number where one ended it."""
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def set_sysctl(name: str, value: str) -> None:
    """Write a setting below /proc/sys, `net/…` ones in the present network namespace."""
    with open(f"/proc/sys/{name}", "w", encoding="ascii") as file:
        file.write(value)


def _memory_file(name: str) -> BinaryIO:
    return open(os.memfd_create(name), "w+b")


async def run_tool(arguments: Sequence[str], text: str = "", *, allowed: Collection[int] = (0,)) -> str:
    """Run a program with `text` as its input; what it printed.

    Raises LabError with its complaint for any other exit status than the `allowed` ones.
    """
    with _memory_file("input") as given, _memory_file("output") as printed:
        given.write(text.encode())
        given.seek(0)
        try:
            process = subprocess.Popen(  # noqa: ASYNC220 - starting is short, the waiting below does not block
                arguments, stdin=given, stdout=printed, stderr=subprocess.STDOUT, env=tool_environment()
            )
        except FileNotFoundError as error:
            raise LabError(f"{arguments[0]} is not installed: run ./setup-tools.sh") from error
        try:
            await exited(process.pid)
        except BaseException:
            process.kill()
            raise
        finally:
            process.wait()
        printed.seek(0)
        output = printed.read().decode("utf-8", "replace")
    if process.returncode not in allowed:
        raise LabError(f"{' '.join(arguments)}: exit {process.returncode}: {' '.join(output.split())[:800]}")
    return output


async def ip_batch(lines: Sequence[str], *, namespace: str | None = None) -> None:
    """Run many `ip` commands in one process, in a named network namespace or the present one. Raises LabError."""
    where = ["-n", namespace] if namespace else []
    await run_tool(["ip", *where, "-batch", "-"], "".join(f"{line}\n" for line in lines))


async def nft(text: str) -> None:
    """Apply an nftables script as one transaction. Raises LabError."""
    await run_tool(["nft", "-f", "-"], text)
