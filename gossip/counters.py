"""Running totals of a node, for metrics."""

from collections import Counter
from dataclasses import dataclass, field

from gossip.errors import RejectReason


@dataclass(slots=True)
class Counters:
    """Totals since the start; only ever rising."""

    packets_in: int = 0
    packets_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    streams_in: int = 0
    streams_out: int = 0
    messages_in: Counter[str] = field(default_factory=Counter)
    """Messages by type name: ping, ack, alive ..."""
    rejected: Counter[RejectReason] = field(default_factory=Counter)
    probes: int = 0
    probes_failed: int = 0
    suspicions: int = 0
    """Times a member became suspect."""
    refutations: int = 0
    """Times this node had to refute."""
    deaths: int = 0
    send_errors: int = 0
    """Datagrams that the socket refused (from the shell)."""
    events_lost: int = 0
    """Events that the application did not read in time (from the shell)."""
