"""The trailer by which members tell each other's ARP frames from everybody else's. Pure: bytes in, bytes out.

An ARP packet needs 42 of the 60 bytes of the shortest Ethernet frame; the trailer lies in the 18 bytes of padding, which
other hosts ignore (RFC 894, IEEE 802.3). docs/claims.md shows it byte by byte.

    0   magic "vr"
    2   kind (low four bits) and flags (high four bits)
    3   first four bytes of SHA-256 of the sender's name
    7   rank of the sender for the address in question: first three bytes of SHA-256 of "name#address"
    10  question: nonce; everything else: first eight bytes of HMAC-SHA-256, RFC 2104
"""

import hmac
import struct
from collections.abc import Sequence
from enum import IntEnum
from hashlib import sha256
from ipaddress import IPv4Address
from typing import Final, NamedTuple

from announcer.layer2.arp import MINIMUM_FRAME, ArpFrame

NONCE_BYTES: Final = 8
NO_NONCE: Final = bytes(NONCE_BYTES)
MAGIC: Final = b"vr"
_TRAILER: Final = struct.Struct("!2sB4s3s8s")
_OFFSET: Final = MINIMUM_FRAME - _TRAILER.size
MARK: Final = slice(_OFFSET, _OFFSET + len(MAGIC))
"""Where a frame with a trailer has MAGIC."""
_MAC_BYTES: Final = 8
_PURPOSE: Final = b"vipring claims 1"


class Kind(IntEnum):
    """What a signed frame is."""

    QUESTION = 1
    """Does a member announce the target address, or live at it? Not signed: the nonce is what the answer must cover."""
    ANSWER = 2
    """The sender answers for the target address."""
    HELLO = 3
    """The sender is at this interface and address."""
    ANNOUNCEMENT = 4
    """A gratuitous frame: the sender answers for the address from now on."""
    OFFER = 5
    """The sender answers for the address and would rather have the receiver do so."""


FLAG_GO: Final = 1
"""Answer: the asker may have the address. Hello: the receiver is asked to say hello too."""


class Trailer(NamedTuple):
    """The trailer of a frame; `proof` is the nonce of a question and the signature of anything else."""

    kind: Kind
    flags: int
    name: bytes
    rank: bytes
    proof: bytes


def name_hash(name: str) -> bytes:
    """Return the four bytes by which a member is named on the wire."""
    return sha256(name.encode()).digest()[:4]


def rank(name: str, address: bytes) -> bytes:
    """Return the place of a member in the order of those that want an address; the lowest goes first.

    The beginning of the hash that the election sorts by (MetalLB internal/layer2, speaker/layer2_controller.go).
    """
    return sha256(f"{name}#{IPv4Address(address)}".encode()).digest()[:3]


def claim_key(ring_key: bytes) -> bytes:
    """Derive the key that signs frames from a key of the ring, so that neither can be used for the other."""
    return hmac.digest(ring_key, _PURPOSE, "sha256")


def read(frame: bytes) -> Trailer | None:
    """Return the trailer of a frame, None where there is none. Nothing is verified. Never raises."""
    if frame[MARK] != MAGIC or len(frame) < MINIMUM_FRAME:
        return None
    _, kind, name, place, proof = _TRAILER.unpack_from(frame, _OFFSET)
    try:
        return Trailer(Kind(kind & 0x0F), kind >> 4, name, place, proof)
    except ValueError:
        return None


class Signer:
    """Writes and verifies trailers for one member.

    `keys` as the ring's keyring: the first one signs, all are accepted. Without keys frames are marked but not protected,
    as the packets of a ring without a secret.
    """

    def __init__(self, name: str, keys: Sequence[bytes]) -> None:
        self.name = name
        self.hash = name_hash(name)
        self._keys = tuple(keys) or (b"",)

    def question(self, frame: ArpFrame, nonce: bytes) -> bytes:
        """Encode a request as a question."""
        return _with_trailer(
            frame, Trailer(Kind.QUESTION, 0, self.hash, rank(self.name, frame.target_ip), nonce)
        )

    def sign(self, frame: ArpFrame, kind: Kind, *, flags: int = 0, nonce: bytes = NO_NONCE) -> bytes:
        """Encode a frame with a signature; the answer to a question covers its nonce."""
        place = rank(self.name, frame.sender_ip)
        unsigned = Trailer(kind, flags, self.hash, place, b"")
        proof = _signature(self._keys[0], frame, unsigned, nonce)
        # Not by _replace: what that leaves to the interpreter, thousands of times, is not given back.
        return _with_trailer(frame, Trailer(kind, flags, self.hash, place, proof))

    def verifies(self, frame: ArpFrame, trailer: Trailer, nonce: bytes = NO_NONCE) -> bool:
        """Tell whether a member signed the frame, for this nonce. Our own frames, reflected, do not count."""
        return trailer.name != self.hash and any(
            hmac.compare_digest(_signature(key, frame, trailer, nonce), trailer.proof) for key in self._keys
        )


def _with_trailer(frame: ArpFrame, trailer: Trailer) -> bytes:
    kind, flags, *rest = trailer
    return frame.encode()[:_OFFSET] + _TRAILER.pack(MAGIC, kind | flags << 4, *rest)


def _signature(key: bytes, frame: ArpFrame, trailer: Trailer, nonce: bytes) -> bytes:
    """Sign what the frame says, by whom, from which MAC; the receiver is free, since offers may go to several."""
    said = bytes((trailer.kind, trailer.flags, frame.operation)) + b"".join(
        (trailer.name, trailer.rank, nonce, frame.source, frame.sender_mac, frame.sender_ip)
    )
    return hmac.digest(key, said, "sha256")[:_MAC_BYTES]
