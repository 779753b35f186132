"""The meta that a vipring member announces: what it runs, whether it may own addresses, which segments it serves."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import msgpack

from gossip.config import META_MAX_SIZE
from gossip.errors import UsageError

_MAGIC: Final = b"vip1"
"""Tells our meta from others': MetalLB sends none, serf's begins with ff."""

SEGMENT_SIZE: Final = 4
"""Bytes of one segment hash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """Four magic bytes and a msgpack map; unknown keys are skipped, so later members may add some."""

    software: str
    version: str
    draining: bool = False
    """The member may own no addresses because it will leave. Speakers heed it and say it never: their goodbye does the
    same at once (docs/decisions/011-what-meta-says.md)."""
    eligible: bool = True
    """The member may own addresses."""
    segments: tuple[bytes, ...] = field(default=())
    """4-byte hashes of the layer 2 segments on which it is heard. Speakers say none, and read none."""
    instance: bytes = b""
    """Drawn at each start of the process: who comes back from the dead with the same one was never dead."""

    def encode(self) -> bytes:
        """The bytes for the ring.

        Raises:
            UsageError: a segment is not 4 bytes long, or the whole exceeds 512 bytes.
        """
        if any(len(segment) != SEGMENT_SIZE for segment in self.segments):
            raise UsageError(f"segments: each must have {SEGMENT_SIZE} bytes")
        body: bytes = msgpack.packb(
            {
                "d": self.draining,
                "e": self.eligible,
                "g": b"".join(self.segments),
                "i": self.instance,
                "s": self.software,
                "v": self.version,
            },
            use_bin_type=False,
        )
        if len(_MAGIC) + len(body) > META_MAX_SIZE:
            raise UsageError(f"meta: {len(_MAGIC) + len(body)} bytes; {META_MAX_SIZE} are allowed")
        return _MAGIC + body

    @classmethod
    def decode(cls, data: bytes) -> "Meta | None":
        """Read a member's meta; None when it is not one of ours. Never raises."""
        if not data.startswith(_MAGIC) or len(data) > META_MAX_SIZE:
            return None
        try:
            body: object = msgpack.unpackb(data[len(_MAGIC) :], raw=True)
        except (ValueError, TypeError, msgpack.UnpackException):
            return None
        if not isinstance(body, dict):
            return None
        software, version = body.get(b"s"), body.get(b"v")
        draining, eligible, hashes = body.get(b"d", False), body.get(b"e", True), body.get(b"g", b"")
        instance = body.get(b"i", b"")
        if not (isinstance(software, bytes) and isinstance(version, bytes)):
            return None
        if not (isinstance(hashes, bytes) and isinstance(instance, bytes)):
            return None
        if not (isinstance(draining, bool) and isinstance(eligible, bool)) or len(hashes) % SEGMENT_SIZE:
            return None
        try:
            texts = software.decode(), version.decode()
        except UnicodeDecodeError:
            return None
        return cls(
            software=texts[0],
            version=texts[1],
            draining=draining,
            eligible=eligible,
            segments=tuple(hashes[i : i + SEGMENT_SIZE] for i in range(0, len(hashes), SEGMENT_SIZE)),
            instance=instance,
        )


@lru_cache(maxsize=4096)
def is_ours(data: bytes) -> bool:
    """Whether this is the meta of one of our members."""
    return Meta.decode(data) is not None
