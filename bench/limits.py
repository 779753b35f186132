"""What is asked of a figure, and whether it was kept."""

from collections.abc import Iterable

import msgspec


class Limit(msgspec.Struct, frozen=True):
    """A figure that must not exceed a bound."""

    what: str
    found: float
    bound: float
    unit: str

    @property
    def kept(self) -> bool:
        """Whether the figure is within its bound."""
        return self.found <= self.bound

    def line(self) -> str:
        """One line for people."""
        word = "kept  " if self.kept else "BROKEN"
        return f"{word}  {self.what}: {self.found:.4g} {self.unit}, at most {self.bound:g}".replace(" ,", ",")


def failures(limits: Iterable[Limit]) -> int:
    """Print every limit; 1 if one is broken, else 0."""
    code = 0
    for limit in limits:
        print(limit.line())
        code |= not limit.kept
    return int(code)
