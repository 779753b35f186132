"""What the parts of one node share."""

import random
from dataclasses import dataclass, field

from gossip.address import Endpoint
from gossip.config import SwimConfig
from gossip.counters import Counters
from gossip.errors import RejectReason
from gossip.outputs import Output
from gossip.rejections import Rejections
from gossip.timers import Timers


@dataclass(slots=True)
class Context:
    """Settings, randomness, deadlines and outputs of one node; holds no protocol logic."""

    config: SwimConfig
    rng: random.Random
    timers: Timers = field(default_factory=Timers)
    outputs: list[Output] = field(default_factory=list)
    counters: Counters = field(default_factory=Counters)
    rejections: Rejections = field(init=False)
    sequence: int = field(init=False)

    def __post_init__(self) -> None:
        self.rejections = Rejections(self.counters, self.outputs)
        # A random start keeps recorded acks of an earlier life from answering our questions.
        self.sequence = self.rng.getrandbits(32)

    def next_sequence(self) -> int:
        """A fresh number for a ping."""
        self.sequence = (self.sequence + 1) & 0xFFFFFFFF
        return self.sequence

    def emit(self, output: Output) -> None:
        """Append an output."""
        self.outputs.append(output)

    def reject(self, source: Endpoint, reason: RejectReason, detail: str, now: float) -> None:
        """Record that something from a peer was refused."""
        self.rejections.reject(source, reason, detail, now)
