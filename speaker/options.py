"""What a speaker is started with. Imports nothing heavy: it is read before the responder is forked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from announcer.layer2.gratuitous import FRAMES_PER_S
from gossip.fastconfig import FastLaneConfig

DEFAULT_RING_PORT = 7946
DEFAULT_HTTP_PORT = 7472
DEFAULT_KEY_OVERLAP_S = 600.0
DEFAULT_RING_CONFIG = "/etc/metallb/memberlist/config.json"
MAX_SECRET_BYTES = 64 * 1024
SECRET_FILE = "secretkey"  # noqa: S105  (a file name: the key of the Secret that the pod mounts)


def secret_file(path: Path) -> Path:
    """The file itself, or the one in the directory that a Secret is mounted at."""
    return path / SECRET_FILE if path.is_dir() else path


@dataclass(frozen=True, slots=True, kw_only=True)
class RingOptions:
    """The speaker's place in the ring.

    `secret` is the text of the memberlist secret as it is stored, never trimmed (MetalLB takes it as it is,
    line breaks included); None makes a ring without encryption. `key_size` is 32 bytes for members from
    MetalLB 0.14 on and 16 for older ones. `secret_path` is the file or directory that the secret came from, which
    is read again while the speaker runs; when it changes, both keys count for `key_overlap_s`.

    `config_path` is MetalLB's file of the ring's settings, which must exist where `config_wanted`; without it `wan`
    picks memberlist's profile. `fast_lane` finds dead members among ours in well under a second; None turns it off.
    """

    bind_address: str
    labels: str
    namespace: str
    port: int = DEFAULT_RING_PORT
    secret: bytes | None = field(default=None, repr=False)
    key_size: int = 32
    secret_path: str | None = None
    key_overlap_s: float = DEFAULT_KEY_OVERLAP_S
    config_path: str = DEFAULT_RING_CONFIG
    config_wanted: bool = False
    wan: bool = False
    fast_lane: FastLaneConfig | None = field(default_factory=FastLaneConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerOptions:
    """Everything `vipring speaker` was told by flags and environment.

    `ring` is None where bind address, labels and namespace are not all given: as with MetalLB the ring is
    then off and every known node counts as running a speaker. `ring_missing` says which of them are not, as
    their variables and flags are called. `gratuitous_per_s` is how many gratuitous frames a second leave at most.
    """

    node_name: str
    config_name: str = "config"
    http_host: str = ""
    http_port: int = DEFAULT_HTTP_PORT
    ring: RingOptions | None = None
    ring_missing: tuple[str, ...] = ()
    order: str = "current"
    gratuitous_per_s: int = FRAMES_PER_S
    namespace: str | None = None
    kubeconfig: str | None = None
    version: str = ""
