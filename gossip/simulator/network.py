"""How packets fare between hosts: delay, loss, bursts of loss, copies, overtaking."""

import random
from collections.abc import Callable
from typing import Annotated, Literal

import msgspec

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
"""A probability."""

Seconds = Annotated[float, msgspec.Meta(ge=0.0, le=86_400.0)]
"""A time span or a moment after the start of a plan."""


class Latency(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Delay of one way: `least_s` and a random part on top."""

    least_s: Seconds = 0.0003
    spread_s: Seconds = 0.0004
    """What `shape` scales: the whole width of the uniform part, the mean of the exponential one, the median of the
    lognormal one (whose sigma is 1, so that one packet in 100 takes ten times as long)."""
    shape: Literal["uniform", "exponential", "lognormal"] = "uniform"

    def sampler(self, rng: random.Random) -> Callable[[], float]:
        """A function that draws one delay."""
        least, spread, draw = self.least_s, self.spread_s, rng.random
        if not spread:
            return lambda: least
        match self.shape:
            case "uniform":
                return lambda: least + spread * draw()
            case "exponential":
                return lambda: least + rng.expovariate(1.0 / spread)
            case "lognormal":
                return lambda: least + spread * rng.lognormvariate(0.0, 1.0)


class Bursts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Times in which a member's link loses much (Gilbert's model): good and bad spells of random length in turn."""

    every_s: Annotated[float, msgspec.Meta(gt=0.0, le=86_400.0)] = 60.0
    """Mean length of a good spell."""
    last_s: Annotated[float, msgspec.Meta(gt=0.0, le=86_400.0)] = 0.5
    """Mean length of a bad one."""
    loss: Share = 1.0
    """Share of the datagrams lost in a bad spell, in each direction."""


class Network(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How packets fare. Streams are as slow and as cut as datagrams, but lose nothing."""

    latency: Latency = Latency()
    loss: Share = 0.0
    """Share of the datagrams that vanish."""
    bursts: Bursts | None = None
    duplicate: Share = 0.0
    """Share of the datagrams that arrive twice."""
    reorder: Share = 0.0
    """Share of the datagrams that take `reorder_s` longer, so that later ones overtake them."""
    reorder_s: Seconds = 0.005


class Link:
    """The network port of one host."""

    __slots__ = ("_bad", "_turns_at", "loss_in", "loss_out", "side")

    def __init__(self) -> None:
        self.side = 0
        """Part of the network that the port is connected to."""
        self.loss_in = 0.0
        """Share of the arriving datagrams that vanish; at 1 no stream works either."""
        self.loss_out = 0.0
        self._bad = False
        self._turns_at = 0.0

    def loses(self, bursts: Bursts, rng: random.Random, now: float) -> bool:
        """Whether a datagram passing now falls victim to a bad spell."""
        while self._turns_at <= now:
            begun = not self._turns_at
            start = now if begun else self._turns_at
            self._bad = not self._bad and not begun
            mean = bursts.last_s if self._bad else bursts.every_s
            self._turns_at = start + rng.expovariate(1.0 / mean)
        return self._bad and rng.random() < bursts.loss

    def carries_streams_to(self, other: "Link") -> bool:
        """Whether a stream between the two can make progress."""
        deaf = max(self.loss_in, self.loss_out, other.loss_in, other.loss_out) >= 1.0
        return self.side == other.side and not deaf
