"""The ring's secret on disk, read again and again: a changed Secret of Kubernetes needs no restart."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import anyio
import structlog

from gossip.keyring import Keyring, derive_key
from gossip.rotation import Rotation
from gossip.shell import Ring
from speaker.options import MAX_SECRET_BYTES, RingOptions, secret_file

log = structlog.get_logger()

LOOK_S: Final = 2.0
"""Between two looks at the file; kubelet itself takes a minute to bring a changed Secret to a node."""


def all_keys(keyring: Keyring) -> Sequence[bytes]:
    """Every key that counts for what others send; the first one is ours."""
    return (*keyring.keys, *keyring.incoming)


class SecretKeeper:
    """Holds the keys of the ring, and follows the file of the secret where there is one."""

    def __init__(self, secret: bytes, options: RingOptions, *, look_s: float = LOOK_S) -> None:
        self._path = secret_file(Path(options.secret_path)) if options.secret_path is not None else None
        self._size = options.key_size
        self._look_s = look_s
        self._complaint: str | None = None
        self.rotation = Rotation(self._key(secret), overlap_s=options.key_overlap_s, now=time.monotonic())

    def _key(self, secret: bytes) -> bytes:
        return derive_key(secret, 32 if self._size == 32 else 16)

    async def run(self, ring: Ring, on_keys: Callable[[Sequence[bytes]], None]) -> None:
        """Give the ring, and `on_keys`, every key in its time; returns only when there is no file to follow."""
        on_keys(all_keys(self.rotation.keyring()))
        while self._path is not None:
            if self._look(self._path, time.monotonic()):
                keyring = self.rotation.keyring()
                await ring.set_keyring(keyring)
                on_keys(all_keys(keyring))
                log.info("ringKeysChanged", keys=len(keyring.keys), incoming=len(keyring.incoming))
            await anyio.sleep(self._look_s)

    def _look(self, path: Path, now: float) -> bool:
        """Read the file and do what is due; whether the keys changed."""
        changed = self.rotation.handle_timer(now)
        try:
            with path.open("rb") as file:
                secret = file.read(MAX_SECRET_BYTES + 1)
        except OSError as error:
            self._complain(error.strerror or str(error))
            return changed
        if not 0 < len(secret) <= MAX_SECRET_BYTES:
            self._complain(f"has {len(secret)} bytes; 1 to {MAX_SECRET_BYTES} are allowed")
            return changed
        self._complaint = None
        return self.rotation.read(self._key(secret), now) or changed

    def _complain(self, text: str) -> None:
        """Once for each kind of failure: the keys in force stay."""
        if text != self._complaint:
            log.warning("secretUnreadable", path=str(self._path), error=text)
        self._complaint = text
