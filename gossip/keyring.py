"""Keys of an encrypted ring: how MetalLB makes one from the secret, and the list that encrypts and decrypts."""

import hashlib
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

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


class Opened(NamedTuple):
    """A message that authenticated."""

    plaintext: bytes
    key: bytes
    """The key that opened it."""


class Keyring:
    """Keys in order: the first encrypts, all are tried to decrypt (memberlist keyring.go). Immutable.

    Args:
        keys: 16, 24 or 32 bytes each.
        incoming: further keys that others may use already. They decrypt, and who used one is answered in it, since
            it may hold no other.

    Raises:
        ConfigError: no key, or one of another length.
    """

    def __init__(self, keys: Sequence[bytes], *, incoming: Sequence[bytes] = ()) -> None:
        if not keys:
            raise ConfigError("keys: at least one key is needed")
        for index, key in enumerate((*keys, *incoming)):
            if len(key) not in (16, 24, 32):
                raise ConfigError(f"keys[{index}]: has {len(key)} bytes; 16, 24 or 32 are allowed")
        self.incoming: Final = frozenset(incoming) - frozenset(keys)
        self._ciphers: Final = {key: AESGCM(key) for key in (*keys, *incoming)}
        self.keys: Final = tuple(self._ciphers)
        """Every key, the one that encrypts first."""

    def encrypt(self, plaintext: bytes, nonce: bytes, associated: bytes, key: bytes | None = None) -> bytes:
        """Ciphertext and 16-byte tag; `nonce` must never repeat (12 bytes).

        Args:
            plaintext: what to encrypt.
            nonce: 12 bytes.
            associated: authenticated with it, not sent.
            key: the key to use, if it is one of ours; else the first.
        """
        cipher = self._ciphers.get(key or b"") or self._ciphers[self.keys[0]]
        return cipher.encrypt(nonce, plaintext, associated or None)

    def decrypt(self, ciphertext: bytes, nonce: bytes, associated: bytes) -> Opened | None:
        """The plain text under the first key that authenticates, None if none does."""
        for key, cipher in self._ciphers.items():
            try:
                return Opened(cipher.decrypt(nonce, ciphertext, associated or None), key)
            except InvalidTag:
                continue
        return None
