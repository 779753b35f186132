"""System calls that Python's os module lacks: namespaces, mounts, capabilities (unshare(2), setns(2), mount(2), prctl(2)).

Every function raises OSError naming what failed. Nothing here is undone: call these in a process made for it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from collections.abc import Callable, Iterable
from typing import Final, NoReturn

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18
_MNT_DETACH: Final = 2

_PR_SET_PDEATHSIG: Final = 1
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4

_SYS_MOUNT_SETATTR: Final = 442  # the same number on every architecture
_AT_FDCWD: Final = -100
_AT_RECURSIVE: Final = 0x8000
_MOUNT_ATTR_RDONLY: Final = 1
_CAP_VERSION_3: Final = 0x20080522

CAPABILITIES: Final = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip
"""Names as Kubernetes writes them, at the index that linux/capability.h gives them."""

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Leave the namespaces that `flags` (CLONE_NEW…) name for fresh ones. NEWPID holds for children to come."""
    _check(_libc.unshare(flags), "unshare")


def enter(path: str, kind: int) -> None:
    """Join the namespace that a file stands for; `kind` is its CLONE_NEW… flag."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(fd, kind), f"setns {path}")
    finally:
        os.close(fd)


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    arguments = (source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode())
    _check(_libc.mount(*arguments), f"mount {kind or source} on {target}")


def detach(target: str) -> None:
    """Take a mount out of the tree; it goes when its last user has gone."""
    _check(_libc.umount2(target.encode(), _MNT_DETACH), f"umount {target}")


def make_private() -> None:
    """Keep mounts of this mount namespace to itself."""
    mount("none", "/", flags=MS_REC | MS_PRIVATE)


def make_read_only(path: str) -> None:
    """Make a mount and everything mounted under it read-only (mount_setattr(2), Linux 5.12)."""
    _mount_attributes(path, _AT_RECURSIVE, _MOUNT_ATTR_RDONLY, 0)


def make_writable(path: str) -> None:
    """Take `make_read_only` back for one mount."""
    _mount_attributes(path, 0, 0, _MOUNT_ATTR_RDONLY)


def _mount_attributes(path: str, flags: int, put: int, clear: int) -> None:
    attributes = struct.pack("=QQQQ", put, clear, 0, 0)
    result = _libc.syscall(
        ctypes.c_long(_SYS_MOUNT_SETATTR),
        ctypes.c_int(_AT_FDCWD),
        path.encode(),
        ctypes.c_uint(flags),
        attributes,
        ctypes.c_size_t(len(attributes)),
    )
    _check(result, f"mount_setattr {path}")


def pivot_root(path: str) -> None:
    """Make the mount at `path` the root and let the former root go (pivot_root(2) with both at one place)."""
    os.chdir(path)
    _check(_libc.pivot_root(b".", b"."), f"pivot_root {path}")
    detach(".")
    os.chdir("/")


def die_with_parent(parent: int) -> None:
    """Get SIGKILL when the parent dies; end at once when it is dead already.

    `parent` is what getppid() says while it lives: its pid, or 0 where it is outside of this pid namespace.
    """
    _check(_libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0), "prctl PDEATHSIG")
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
        os._exit(137)


def forbid_new_privileges() -> None:
    """Nothing executed from here gains privileges (allowPrivilegeEscalation: false)."""
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl NO_NEW_PRIVS")


def bound_capabilities(keep: Iterable[str]) -> None:
    """Drop every capability but `keep` from the bounding set, and all that could be inherited."""
    kept = set(keep)
    for number, name in enumerate(CAPABILITIES):
        # EINVAL: this kernel does not know the capability.
        if (
            name not in kept
            and _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) != 0
            and ctypes.get_errno() != 22
        ):
            _check(-1, f"prctl CAPBSET_DROP {name}")
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)


def set_capabilities(keep: Iterable[str]) -> None:
    """Hold `keep` as permitted and effective, nothing as inheritable (capset(2)).

    execve by uid 0 sets the first two anew, within the bounding set.
    """
    mask = sum(1 << CAPABILITIES.index(name) for name in set(keep))
    low, high = mask & 0xFFFFFFFF, mask >> 32
    header = struct.pack("=Ii", _CAP_VERSION_3, 0)
    _check(_libc.capset(header, struct.pack("=6I", low, low, 0, high, high, 0)), "capset")


def map_user(inside: int, outside: int, group_inside: int, group_outside: int) -> None:
    """Give the fresh user namespace of this process its one uid and one gid."""
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{inside} {outside} 1"),
        ("gid_map", f"{group_inside} {group_outside} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def maps_one_user() -> bool:
    """Is this a user namespace that has a single uid, as `unshare -r` makes it?"""
    with open("/proc/self/uid_map", encoding="ascii") as file:
        return sum(int(line.split()[2]) for line in file) == 1


def spawn_init(prepare: Callable[[], NoReturn]) -> int:
    """Fork a child that is PID 1 of a pid namespace of its own, and wait until it has called exec.

    `prepare` runs in the child and must exec. Returns the child's pid here. Raises OSError with the child's words
    when it failed before that. The caller must have no threads that hold locks.
    """
    read_end, write_end = os.pipe()
    unshare(CLONE_NEWPID)
    try:
        pid = os.fork()
        if pid == 0:
            _child(prepare, write_end)
    finally:
        # Children that follow belong into our own pid namespace again.
        enter("/proc/self/ns/pid", CLONE_NEWPID)
    os.close(write_end)
    with open(read_end, "rb") as pipe:
        complaint = pipe.read(4096).decode("utf-8", "replace")
    if complaint:
        os.waitpid(pid, 0)
        raise OSError(complaint)
    return pid


def _child(prepare: Callable[[], NoReturn], write_end: int) -> NoReturn:
    try:
        prepare()
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent is to know
        os.write(write_end, f"{type(error).__name__}: {error}".encode()[:4096])
    finally:
        os._exit(127)
