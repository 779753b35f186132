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
        """Write a volume (None: an empty directory that stays as it is when it exists); its directory."""
        directory = self._root / name
        directory.mkdir(parents=True, exist_ok=True)
        if files is None:
            directory.chmod(0o777 if self._fs_group is None else 0o2770)
            self._own(directory)
            return directory
        for file in files:
            path = directory / file.path
            if not path.resolve().is_relative_to(directory.resolve()):
                continue  # a key cannot name a place outside of its volume
            path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(fd, "wb") as out:
                out.write(file.content)
            # The group of a volume may read what its owner may (kubelet, SetVolumeOwnership).
            path.chmod(file.mode | (0o440 if self._fs_group is not None else 0))
            self._own(path)
        return directory

    def put_text(self, name: str, files: Mapping[str, str]) -> Path:
        """Write files that everybody may read."""
        return self.put(name, [File(path, text.encode(), 0o644) for path, text in files.items()])

    def remove(self) -> None:
        """Remove everything of the Pod."""
        shutil.rmtree(self._root, ignore_errors=True)

    def _own(self, path: Path) -> None:
        if self._fs_group is not None:
            os.chown(path, -1, self._fs_group)
