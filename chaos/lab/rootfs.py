"""The file tree of a container: the host's own, read-only, with the container's volumes in it.

Built in the mount namespace of the container-to-be. A directory that must hold something which the host lacks
is "opened": made anew on a tmpfs, with every child of the host's directory bound into it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from chaos.lab import kernel

_TMPFS = kernel.MS_NOSUID | kernel.MS_NODEV
_OWN_TREES = ("proc", "sys", "dev", "run", "tmp")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_SCRATCH = ("/tmp", "/run", "/var/tmp", "/dev/shm")


@dataclass(frozen=True, slots=True)
class Mount:
    """A file or directory of the node that appears at `target` in the container."""

    source: str
    target: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class Tree:
    """What a container's root is to be. `needed` are host directories that its user must be able to reach."""

    root: str
    mounts: Sequence[Mount]
    needed: Sequence[Path]
    read_only: bool


def build(tree: Tree) -> None:
    """Build the tree at `tree.root`, an empty directory, and make it the root of this process. Raises OSError."""
    root = Path(tree.root)
    kernel.mount("tmpfs", tree.root, "tmpfs", _TMPFS, "mode=0755")
    targets = [Path(os.path.realpath(mount.target)) for mount in tree.mounts]
    opened = _to_open(targets, tree.needed)
    _bind_children(root, Path("/"), opened)
    _own_trees(root)
    for path in tree.needed:
        if path.parts[1] in _OWN_TREES:
            _bind(path, root / path.relative_to("/"))
    for target, mount in zip(targets, tree.mounts, strict=True):
        _bind(Path(mount.source), root / target.relative_to("/"))
    kernel.make_read_only(tree.root)
    writable = [] if tree.read_only else list(_SCRATCH)
    writable += [str(t) for t, mount in zip(targets, tree.mounts, strict=True) if not mount.read_only]
    for place in [*writable, "/dev/shm"]:
        kernel.make_writable(f"{tree.root}{place}")
    kernel.mount("proc", f"{tree.root}/proc", "proc", _TMPFS | kernel.MS_NOEXEC)
    for name in ("sys", "sysrq-trigger", "irq", "bus"):
        entry = f"{tree.root}/proc/{name}"
        with contextlib.suppress(FileNotFoundError):
            kernel.mount(entry, entry, flags=kernel.MS_BIND | kernel.MS_REC)
            kernel.make_read_only(entry)
    kernel.pivot_root(tree.root)


def _to_open(targets: Iterable[Path], needed: Iterable[Path]) -> set[Path]:
    """Host directories to open: where a mount point is missing, and where others may not pass."""
    opened = {Path("/")}
    for target in targets:
        if target.exists() or target.parts[1] in _OWN_TREES:
            continue
        deepest = next(parent for parent in target.parents if parent.exists())
        opened |= {deepest, *deepest.parents}
    for path in needed:
        for parent in path.parents:
            if not parent.stat().st_mode & 0o001:
                opened |= {parent, *parent.parents}
    return opened


def _bind_children(root: Path, directory: Path, opened: set[Path]) -> None:
    """Fill an opened directory with what the host has in it."""
    with os.scandir(directory) as entries:
        found = list(entries)
    for entry in found:
        source = Path(entry.path)
        target = root / source.relative_to("/")
        if directory == Path("/") and entry.name in _OWN_TREES:
            target.mkdir()
        elif entry.is_symlink():
            target.symlink_to(os.readlink(entry.path))
        elif source in opened:
            target.mkdir()
            _bind_children(root, source, opened)
        elif entry.is_dir() or (entry.is_file() and directory != Path("/")):
            with contextlib.suppress(PermissionError):
                _bind(source, target)


def _bind(source: Path, target: Path) -> None:
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    kernel.mount(str(source), str(target), flags=kernel.MS_BIND | kernel.MS_REC)


def _own_trees(root: Path) -> None:
    """/run, /tmp, /dev and /sys of the container itself."""
    kernel.mount("tmpfs", f"{root}/run", "tmpfs", _TMPFS, "mode=0755")
    kernel.mount("tmpfs", f"{root}/tmp", "tmpfs", _TMPFS, "mode=1777")
    kernel.mount("tmpfs", f"{root}/var/tmp", "tmpfs", _TMPFS, "mode=1777")
    kernel.mount("tmpfs", f"{root}/dev", "tmpfs", kernel.MS_NOSUID, "mode=0755")
    for name in _DEVICES:
        _bind(Path("/dev") / name, root / "dev" / name)
    for name, target in (
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ):
        (root / "dev" / name).symlink_to(target)
    (root / "dev/shm").mkdir()
    kernel.mount("tmpfs", f"{root}/dev/shm", "tmpfs", _TMPFS, "mode=1777")
    try:
        # Of the network namespace this process is in.
        kernel.mount("sysfs", f"{root}/sys", "sysfs", _TMPFS | kernel.MS_NOEXEC)
    except OSError:
        kernel.mount("/sys", f"{root}/sys", flags=kernel.MS_BIND | kernel.MS_REC)
