"""Encryption of packets and of stream frames (memberlist security.go)."""

from collections.abc import Callable
from typing import Final

from gossip.errors import DecodeError, RejectReason
from gossip.keyring import NONCE_SIZE, TAG_SIZE, Keyring, Opened

_PADDED: Final = 0
"""Encryption version 0: plain text padded by PKCS#7 to 16 bytes."""
_PLAIN: Final = 1
"""Encryption version 1: no padding."""
_BLOCK: Final = 16


def overhead(protocol_version: int) -> int:
    """Bytes that sealing may add to a message, as the packet budget reserves them."""
    fixed = 1 + NONCE_SIZE + TAG_SIZE
    return fixed + _BLOCK if protocol_version == 1 else fixed


def seal(
    plaintext: bytes,
    keyring: Keyring,
    entropy: Callable[[int], bytes],
    protocol_version: int,
    associated: bytes = b"",
    key: bytes | None = None,
) -> bytes:
    """Version byte, nonce, ciphertext and tag. `entropy` gives that many unpredictable bytes; `key` picks one of the
    keyring, by default the first.
    """
    nonce = entropy(NONCE_SIZE)
    if protocol_version == 1:
        padding = _BLOCK - len(plaintext) % _BLOCK
        padded = plaintext + bytes((padding,)) * padding
        return b"\x00" + nonce + keyring.encrypt(padded, nonce, associated, key)
    return b"\x01" + nonce + keyring.encrypt(plaintext, nonce, associated, key)


def unseal(data: bytes, keyring: Keyring, associated: bytes = b"") -> Opened:
    """Open either version, whatever we send ourselves.

    Raises:
        DecodeError: UNENCRYPTED (no such encryption version), TRUNCATED, UNDECRYPTABLE.
    """
    if not data:
        raise DecodeError(RejectReason.TRUNCATED, "empty packet")
    version = data[0]
    if version > _PLAIN:
        raise DecodeError(RejectReason.UNENCRYPTED, f"begins with byte {version}, no encryption version")
    if len(data) < overhead(1 if version == _PADDED else 2):
        raise DecodeError(RejectReason.TRUNCATED, f"{len(data)} bytes are too few for an encrypted message")
    nonce = data[1 : 1 + NONCE_SIZE]
    opened = keyring.decrypt(data[1 + NONCE_SIZE :], nonce, associated)
    if opened is None:
        raise DecodeError(RejectReason.UNDECRYPTABLE, "no key of ours opens it")
    if version == _PADDED:
        plaintext = opened.plaintext
        padding = plaintext[-1] if plaintext else 0
        if not 1 <= padding <= _BLOCK or padding > len(plaintext):
            raise DecodeError(RejectReason.MALFORMED, f"padding of {padding} bytes")
        return Opened(plaintext[:-padding], opened.key)
    return opened
