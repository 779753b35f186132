"""Settings of a ring node: memberlist's own, by memberlist's names, and the limits that bound what peers can cost us."""

from dataclasses import dataclass, fields
from typing import Final

from gossip.errors import ConfigError
from gossip.fastconfig import FastLaneConfig
from gossip.member import Versions

META_MAX_SIZE: Final = 512
"""Bytes of meta that a member may announce (memberlist net.go)."""

LABEL_MAX_SIZE: Final = 255
"""Bytes of a label (memberlist label.go)."""

PUSH_PULL_SCALE_THRESHOLD: Final = 32
"""Members up to which push/pull runs at its plain interval (memberlist util.go)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwimConfig:
    """Timing, sizes and limits. All members of a ring should agree on `probe_interval_s` and `suspicion_mult`.

    The defaults are memberlist's for a LAN (memberlist config.go). Durations are seconds, sizes bytes.
    """

    probe_interval_s: float = 1.0
    """One member is probed each interval. Shorter finds failures sooner and costs packets in proportion."""
    probe_timeout_s: float = 0.5
    """Wait for a direct answer before asking others; about the 99th percentile of the round trip, below the interval."""
    indirect_checks: int = 3
    """Members asked to probe on our behalf."""
    disable_tcp_pings: bool = False
    """Whether a failing probe is denied its try by TCP (which shows a UDP-only fault instead of a false death)."""
    awareness_max_multiplier: int = 8
    """An unhealthy node stretches its own failing probes up to this factor (Lifeguard)."""

    suspicion_mult: int = 4
    """Scales the time that a suspect has to refute, with log10 of the size of the ring."""
    suspicion_max_timeout_mult: int = 6
    """The same time, as a multiple, as long as nobody else confirms the suspicion."""
    gossip_to_the_dead_time_s: float = 30.0
    """How long a dead member still gets gossip, so that it can refute; then it is forgotten."""
    dead_node_reclaim_time_s: float = 0.0
    """After this time a dead name may come back at another address; 0 means only when it was forgotten."""

    gossip_interval_s: float = 0.2
    gossip_nodes: int = 3
    """Members that get the queued messages at each gossip interval."""
    retransmit_mult: int = 4
    """Each message is sent this many times, multiplied with log10 of the size of the ring."""
    push_pull_interval_s: float = 30.0
    """Full exchange of state with one random member; 0 turns it off."""
    tcp_timeout_s: float = 10.0
    """For dialling, and for each half of an exchange."""

    udp_buffer_size: int = 1400
    """Largest datagram we compose (a CRC may add 5 bytes). It must fit the path MTU."""
    enable_compression: bool = False
    """Compress datagrams that become shorter. Peers accept both forms; LZW in Python costs up to 1 ms a packet."""
    protocol_version: int = 2
    """memberlist protocol spoken; 1 means the padded encryption of old members."""
    delegate_protocol_min: int = 0
    delegate_protocol_max: int = 0
    delegate_protocol_version: int = 0
    """Versions of the layer above: 0 0 0 for MetalLB and vipring, 2 5 5 for a serf agent's ring. Never mix."""

    fast_lane: FastLaneConfig | None = None
    """Detection in well under a second among members with our Meta (see gossip.fastlane); None turns it off."""

    label: str = ""
    """Text at the head of everything sent and wanted in all that arrives: keeps rings apart that share a network. At
    most 255 bytes; MetalLB and serf have none."""
    gossip_verify_incoming: bool = True
    """Whether a ring with keys refuses plain text."""
    gossip_verify_outgoing: bool = True
    """Whether a ring with keys encrypts what it sends. To give a living ring keys, begin with both off, then turn this
    on everywhere, then the other."""

    meta_min_interval_s: float = 5.0
    """Least time between two announcements of meta: a MetalLB member re-announces every address at each."""
    max_members: int = 8192
    """Names remembered; further ones are refused, so a liar cannot fill the memory."""
    max_streams: int = 127
    """TCP exchanges at once in each direction (memberlist state.go)."""
    max_relays: int = 512
    """Pings under way on behalf of others."""
    max_stream_bytes: int = 20 * 1024 * 1024
    """Bytes of one encrypted frame or one plain stream, as upstream refuses them."""
    max_buffered_bytes: int = 40 * 1024 * 1024
    """Bytes of unfinished streams held at once, all streams together."""
    max_user_bytes: int = 2 * 1024 * 1024
    """Bytes of one message or state of the application on a stream (serf's state: some 40 for each member)."""
    max_decompressed_bytes: int = 8 * 1024 * 1024
    """What a compressed stream may expand to (the largest table with full metas takes 5 MiB). LZW in Python takes two
    seconds for that, in slices. A datagram may expand to 64 KiB."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "fast_lane":
                continue
            limits = _RANGES.get(field.name) or _RANGE_OF_TYPE.get(field.type)
            if limits is None:
                continue
            low, high = limits
            if not low <= value <= high:
                raise ConfigError(f"{field.name}: is {value}; {low} to {high} is allowed")
        if len(self.label.encode()) > LABEL_MAX_SIZE:
            raise ConfigError(
                f"label: has {len(self.label.encode())} bytes; at most {LABEL_MAX_SIZE} are allowed"
            )
        if self.probe_timeout_s >= self.probe_interval_s:
            raise ConfigError(
                f"probe_timeout_s: is {self.probe_timeout_s}; less than probe_interval_s ({self.probe_interval_s}) is allowed"
            )
        if not self.delegate_protocol_min <= self.delegate_protocol_version <= self.delegate_protocol_max:
            raise ConfigError(
                f"delegate_protocol_version: is {self.delegate_protocol_version}; "
                f"{self.delegate_protocol_min} to {self.delegate_protocol_max} is allowed"
            )

    @classmethod
    def lan(cls) -> "SwimConfig":
        """For members within one data centre (memberlist DefaultLANConfig)."""
        return cls()

    @classmethod
    def wan(cls) -> "SwimConfig":
        """For members far from each other (memberlist DefaultWANConfig)."""
        return cls(
            tcp_timeout_s=30.0,
            suspicion_mult=6,
            push_pull_interval_s=60.0,
            probe_timeout_s=3.0,
            probe_interval_s=5.0,
            gossip_nodes=4,
            gossip_interval_s=0.5,
            gossip_to_the_dead_time_s=60.0,
        )

    @classmethod
    def local(cls) -> "SwimConfig":
        """For members on one machine (memberlist DefaultLocalConfig)."""
        return cls(
            tcp_timeout_s=1.0,
            indirect_checks=1,
            retransmit_mult=2,
            suspicion_mult=3,
            push_pull_interval_s=15.0,
            probe_timeout_s=0.2,
            probe_interval_s=1.0,
            gossip_interval_s=0.1,
            gossip_to_the_dead_time_s=15.0,
        )

    @property
    def versions(self) -> Versions:
        """The six version bytes that we announce."""
        return Versions(
            1,
            5,
            self.protocol_version,
            self.delegate_protocol_min,
            self.delegate_protocol_max,
            self.delegate_protocol_version,
        )


_RANGE_OF_TYPE: Final[dict[object, tuple[float, float]]] = {
    float: (0.001, 3600.0),
    int: (1, 1_000_000),
    bool: (False, True),
}

_RANGES: Final[dict[str, tuple[float, float]]] = {
    "push_pull_interval_s": (0.0, 86_400.0),
    "dead_node_reclaim_time_s": (0.0, 86_400.0),
    "meta_min_interval_s": (0.0, 3600.0),
    "indirect_checks": (0, 100),
    "gossip_nodes": (0, 100),
    "suspicion_mult": (1, 100),
    "awareness_max_multiplier": (1, 100),
    "protocol_version": (1, 5),
    "delegate_protocol_min": (0, 255),
    "delegate_protocol_max": (0, 255),
    "delegate_protocol_version": (0, 255),
    "udp_buffer_size": (512, 65_000),
    "max_stream_bytes": (1024, 20 * 1024 * 1024),
    "max_user_bytes": (1024, 20 * 1024 * 1024),
    "max_buffered_bytes": (1024, 1024 * 1024 * 1024),
    "max_decompressed_bytes": (1024, 40 * 1024 * 1024),
}
