"""Keys of an encrypted ring: how MetalLB makes one from the secret, and the list that encrypts and decrypts."""

import hashlib
from collections.abc import Sequence
from typing import Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gossip.errors import ConfigError

NONCE_SIZE: Final = 12
TAG_SIZE: Final = 16


def derive_key(secret: bytes, size: Literal[16, 32] = 32) -> bytes:
    """The ring key of a `memberlist` secret, by MetalLB's rule (metallb internal/speakerlist).

    The digest of nothing is appended to the secret and the first `size` bytes are taken, so a long secret is its own
    key. The text counts as it is: no base64 decoding, no trimming.

    Args:
        secret: the content of key `secretkey`.
        size: 32 since MetalLB 0.14, 16 in v0.9 to v0.13.

    Raises:
        ConfigError: the secret is empty; MetalLB means no encryption by that, which is the caller's decision.
    """
    if not secret:
        raise ConfigError("secret: must not be empty")
    return (secret + hashlib.sha256(b"").digest())[:size]


class Keyring:
    """Keys in order: the first encrypts, all are tried to decrypt (memberlist keyring.go)."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys:
            raise ConfigError("keys: at least one key is needed")
        for index, key in enumerate(keys):
            if len(key) not in (16, 24, 32):
                raise ConfigError(f"keys[{index}]: has {len(key)} bytes; 16, 24 or 32 are allowed")
        self.keys: Final = tuple(dict.fromkeys(keys))
        self._ciphers: Final = tuple(AESGCM(key) for key in self.keys)

    def encrypt(self, plaintext: bytes, nonce: bytes, associated: bytes) -> bytes:
        """Ciphertext and 16-byte tag under the first key; `nonce` must never repeat (12 bytes)."""
        return self._ciphers[0].encrypt(nonce, plaintext, associated or None)

    def decrypt(self, ciphertext: bytes, nonce: bytes, associated: bytes) -> bytes | None:
        """The plain text under the first key that authenticates, None if none does."""
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(nonce, ciphertext, associated or None)
            except InvalidTag:
                continue
        return None
