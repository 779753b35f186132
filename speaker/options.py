"""What a speaker is started with. Imports only the standard library: it is read before the responder is forked."""

from __future__ import annotations

from dataclasses import dataclass, field

DEFAULT_RING_PORT = 7946
DEFAULT_HTTP_PORT = 7472


@dataclass(frozen=True, slots=True, kw_only=True)
class RingOptions:
    """The speaker's place in the ring.

    `secret` is the text of the memberlist secret as it is stored, never trimmed (MetalLB takes it as it is,
    line breaks included); None makes a ring without encryption. `key_size` is 32 bytes for members from
    MetalLB 0.14 on and 16 for older ones.
    """

    bind_address: str
    labels: str
    namespace: str
    port: int = DEFAULT_RING_PORT
    secret: bytes | None = field(default=None, repr=False)
    key_size: int = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerOptions:
    """Everything `vipring speaker` was told by flags and environment.

    `ring` is None where bind address, labels and namespace are not all given: as with MetalLB the ring is
    then off and every known node counts as running a speaker.
    """

    node_name: str
    config_name: str = "config"
    http_host: str = ""
    http_port: int = DEFAULT_HTTP_PORT
    ring: RingOptions | None = None
    order: str = "current"
    namespace: str | None = None
    kubeconfig: str | None = None
    version: str = ""
