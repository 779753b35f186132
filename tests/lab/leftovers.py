"""What a program left behind: processes, files and namespaces."""

import contextlib
import time
from pathlib import Path


def traces(directory: Path) -> list[str]:
    """Processes, files and mounted namespaces of a program whose temporary directory this is.

    A namespace needs a process or a mount to live on.
    """
    needle = str(directory).encode()
    found = [str(path) for path in directory.iterdir()]
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and (
                needle in (process / "cmdline").read_bytes() or needle in (process / "environ").read_bytes()
            ):
                found.append(f"{process.name}: {(process / 'cmdline').read_bytes()!r}")
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return found + [mount for mount in mounts if str(directory) in mount]


def nothing_is_left_of(directory: Path, *, within_s: float = 20.0) -> None:
    """Fail unless all of it is gone in time; the programs of a lab are taken away by the kernel, a moment later."""
    deadline = time.monotonic() + within_s
    while left := traces(directory):
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.1)
