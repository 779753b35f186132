"""What the responder process keeps of the privileges of the speaker: CAP_NET_RAW and nothing else. And of its memory, how
soon the kernel lets it run, and what its sockets receive.

Calls of Linux that the standard library does not offer, by ctypes.
"""

import ctypes
import os
import socket
import struct

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_NET_RAW = 13
_SIGKILL = 9
_SO_ATTACH_FILTER = 26
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
"""The number of sched_setattr(2), which the C library has no function for before glibc 2.41."""
_SHORTEST_TURN_NS = 100_000
_POINTER_BYTES = 8

_libc = ctypes.CDLL(None, use_errno=True)


def keep_only_raw_sockets() -> None:
    """Give up every capability but CAP_NET_RAW, and the right to gain any by executing a file. Raises OSError."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    kept = 1 << _CAP_NET_RAW
    # struct __user_cap_header_struct, and effective, permitted, inheritable for capabilities 0 to 31 and 32 to 63
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0))
    sets = ctypes.create_string_buffer(struct.pack("=6I", kept, kept, 0, 0, 0, 0))
    _checked("capset", _libc.capset(header, sets))


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that forked it ends. Raises OSError."""
    _prctl(_PR_SET_PDEATHSIG, _SIGKILL)


def set_name(name: str) -> None:
    """Set what `ps -o comm` shows, at most 15 bytes. Raises OSError."""
    _checked("prctl", _libc.prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()), 0, 0, 0))


def release_memory() -> None:
    """Give memory that was used and freed back to the kernel, where the C library can (malloc_trim(3))."""
    trim = getattr(_libc, "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))


def take_short_turns() -> None:
    """Ask the scheduler for the shortest time slice: who wakes with a shorter one than whoever runs need not wait for the
    end of that one's.

    Needs no privilege. Kernels before 6.12 do not know slices of ordinary processes and change nothing. A process that was
    given another policy keeps it.
    """
    number = _SCHED_SETATTR.get(os.uname().machine)
    if number is None or struct.calcsize("P") != _POINTER_BYTES or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    # struct sched_attr: size, policy (SCHED_OTHER), flags, nice, priority, runtime, deadline, period
    attributes = struct.pack("=IIQiIQQQ", 48, os.SCHED_OTHER, 0, nice, 0, _SHORTEST_TURN_NS, 0, 0)
    # Where it is refused, by a filter of system calls perhaps, the usual slice does as well as it did.
    _libc.syscall(ctypes.c_long(number), 0, ctypes.create_string_buffer(attributes, len(attributes)), 0)


def _prctl(option: int, argument: int) -> None:
    zero = ctypes.c_ulong(0)
    _checked("prctl", _libc.prctl(option, ctypes.c_ulong(argument), zero, zero, zero))


def _checked(call: str, result: int) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{call} failed")


def attach_filter(to: socket.socket, program: bytes) -> None:
    """Let a socket receive only what a classic BPF program of 8-byte instructions accepts. Raises OSError."""
    memory = ctypes.create_string_buffer(program, len(program))
    argument = struct.pack("@HP", len(program) // 8, ctypes.addressof(memory))
    to.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, argument)
