"""What a target of the fuzzer is: it takes a script of byte strings and tells in a word what came of it.

Anything but the package's own error, a broken invariant included, is a finding.
"""

import random
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final, TypeAlias

from gossip.errors import DecodeError
from tests.fuzz.mutation import mutated

Script: TypeAlias = tuple[bytes, ...]
_DIGITS: Final = re.compile(r"\d+")


def word(error: DecodeError) -> str:
    """An error in a word: without its numbers, so that like ones count as one."""
    return f"{error.reason}:{_DIGITS.sub('0', error.detail)[:40]}"


class Target(ABC):
    """One thing that takes bytes of strangers."""

    name: str

    def __init__(self) -> None:
        self.seeds = self.begin()

    @abstractmethod
    def begin(self) -> list[Script]:
        """Good inputs to start from."""

    @abstractmethod
    def run(self, script: Script) -> str:
        """Take an input; the outcome in a word."""

    def vary(self, script: Script, rng: random.Random, others: Sequence[Script]) -> Script:
        """An input near this one."""
        return (mutated(script[0], rng, [other[0] for other in others]),)
