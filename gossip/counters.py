"""Running totals of a node, for metrics."""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from gossip.errors import RejectReason

BOUNDS_S: Final = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Upper bounds of the classes of durations, seconds."""


@dataclass(slots=True)
class Histogram:
    """Durations by class."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    """Number in each class; the last one has no upper bound."""
    sum_s: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds


@dataclass(slots=True)
class Counters:
    """Totals since the start; only ever rising."""

    packets_in: int = 0
    packets_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    streams_in: int = 0
    streams_out: int = 0
    packets_in_by: Counter[str] = field(default_factory=Counter)
    """Packets by the class of their first message (Ping, Ack, Alive …), or `rejected` where none could be read."""
    packets_out_by: Counter[str] = field(default_factory=Counter)
    bytes_in_by: Counter[str] = field(default_factory=Counter)
    bytes_out_by: Counter[str] = field(default_factory=Counter)
    messages_in: Counter[str] = field(default_factory=Counter)
    """Messages by type name: ping, ack, alive ..."""
    rejected: Counter[RejectReason] = field(default_factory=Counter)
    probes: int = 0
    probes_failed: int = 0
    rtt: Histogram = field(default_factory=Histogram)
    """Round trips of the probes that were answered directly."""
    lag: Histogram = field(default_factory=Histogram)
    """How late the node was woken for its deadlines: the lag of the loop that runs it."""
    suspicions: int = 0
    """Times a member became suspect."""
    refutations: int = 0
    """Times this node had to refute."""
    deaths: int = 0
    doubts: int = 0
    """Times a member missed an answer of the fast lane (one lost packet is enough)."""
    vetoes: int = 0
    """Times a relay, the wire, TCP or our own unproven link spoke against a death that the fast lane had in mind."""
    verdicts: int = 0
    """Members that this node declared dead by the fast lane."""
    false_deaths: int = 0
    """Members that came back from the dead without having started anew."""
    send_errors: int = 0
    """Datagrams that the socket refused (from the shell)."""
    events_lost: int = 0
    """Events that the application did not read in time (from the shell)."""
    messages_lost: int = 0
    """Messages and states of other applications that ours did not read in time (from the shell)."""
