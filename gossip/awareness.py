"""How healthy this node believes itself to be (memberlist awareness.go; Lifeguard, local health)."""


class Awareness:
    """A score from 0, healthy, to one less than the multiplier; it stretches our own failing probes."""

    __slots__ = ("_ceiling", "score")

    def __init__(self, multiplier: int) -> None:
        self._ceiling = multiplier - 1
        self.score = 0

    def apply(self, delta: int) -> None:
        """Raise or lower the score within its bounds."""
        self.score = max(0, min(self._ceiling, self.score + delta))

    def scale(self, duration_s: float) -> float:
        """The duration stretched by the score."""
        return duration_s * (self.score + 1)
