"""Volumes of Pods on a node's own tmpfs: written before the containers start, gone with the Pod or the node's power."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from chaos.lab.podplan import File


class VolumeStore:
    """The volumes of one Pod below `root`. `fs_group` owns them where this user namespace knows more than one gid."""

    def __init__(self, root: Path, fs_group: int | None) -> None:
        self._root = root
        self._fs_group = fs_group

    def put(self, name: str, files: Iterable[File] | None) -> Path:
        """Make a volume hold these files and no others (None: an emptyDir, which stays as it is); its directory."""
        directory = self._root / name
        directory.mkdir(parents=True, exist_ok=True)
        if files is None:
            directory.chmod(0o777 if self._fs_group is None else 0o2770)
            self._own(directory)
            return directory
        written = set()
        for file in files:
            path = directory / file.path
            if not path.resolve().is_relative_to(directory.resolve()):
                continue  # a key cannot name a place outside of its volume
            written.add(path)
            if not path.is_file() or path.read_bytes() != file.content:
                self._write(path, file)
        for path in directory.rglob("*"):
            if path.is_file() and path not in written:
                path.unlink()
        return directory

    def _write(self, path: Path, file: File) -> None:
        """Replace a file whole: a container that reads it never sees half of one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.fresh")
        fresh.touch(mode=0o600)
        fresh.write_bytes(file.content)
        # The group of a volume may read what its owner may (kubelet, SetVolumeOwnership).
        fresh.chmod(file.mode | (0o440 if self._fs_group is not None else 0))
        self._own(fresh)
        fresh.rename(path)

    def put_text(self, name: str, files: Mapping[str, str]) -> Path:
        """Write files that everybody may read."""
        return self.put(name, [File(path, text.encode(), 0o644) for path, text in files.items()])

    def remove(self) -> None:
        """Remove everything of the Pod."""
        shutil.rmtree(self._root, ignore_errors=True)

    def _own(self, path: Path) -> None:
        if self._fs_group is not None:
            os.chown(path, -1, self._fs_group)
