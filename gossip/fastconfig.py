"""Settings of the fast lane, which finds a dead member in about `misses` times `pace_s`, whatever the ring's size."""

from dataclasses import dataclass
from typing import Final

from gossip.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class FastLaneConfig:
    """How fast and how sure. Members may differ in these; durations are seconds.

    Raises:
        ConfigError: a value out of its range, with the field and what is allowed.
    """

    pace_s: float = 0.1
    """Time between two questions to each watched member. It must exceed the round trip."""
    misses: int = 4
    """Unanswered questions in a row before a member is accused, where the wire was asked too and was silent."""
    misses_without_wire: int = 10
    """The same where the application has no wire to ask."""
    agreement: int = 2
    """Members that must have tried the silent one themselves before it is declared dead; a lone survivor decides
    alone."""
    reclaim_s: float = 5.0
    """Time after which a dead member of ours may come back at another address."""

    def __post_init__(self) -> None:
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{name}: is {value}; {low} to {high} is allowed")
        if self.misses_without_wire < self.misses:
            raise ConfigError(
                f"misses_without_wire: is {self.misses_without_wire}; misses ({self.misses}) to {MISSES_MAX} is allowed"
            )


MISSES_MAX: Final = 20
"""Most misses that a member is ever granted; from there on ordinary probing is hardly slower."""

PACE_ALLOWED_S: Final = (0.02, 1.0)
MISSES_ALLOWED: Final = (2, MISSES_MAX)
AGREEMENT_ALLOWED: Final = (1, 3)

_RANGES: Final[tuple[tuple[str, float, float], ...]] = (
    ("pace_s", *PACE_ALLOWED_S),
    ("misses", *MISSES_ALLOWED),
    ("misses_without_wire", *MISSES_ALLOWED),
    ("agreement", *AGREEMENT_ALLOWED),
    ("reclaim_s", 0.0, 3600.0),
)
