"""Which commit is being measured."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

_MEASURED: Final = (":(exclude)bench/results", ":(exclude)docs", ":(exclude)README.md")
"""Figures of one measurement, and the pages that show them, do not make another one that of other code."""


def commit(root: Path) -> str:
    """The short commit id of the checkout at `root`, `-dirty` when its code differs, `unknown` without git."""
    try:
        found = _git(root, "describe", "--always", "--exclude=*", "--abbrev=12")
        changes = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", *_MEASURED)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    if not found:
        return "unknown"
    return f"{found}-dirty" if changes else found


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()
