"""How long a suspect may take to refute (memberlist suspicion.go, util.go; Lifeguard, arXiv 1707.00788)."""

import math

from gossip.config import SwimConfig


def minimum_timeout(config: SwimConfig, members: int) -> float:
    """Seconds until a suspicion that was fully confirmed ends in death, in a table of `members` names."""
    scale = max(1.0, math.log10(max(1.0, members)))
    return config.suspicion_mult * math.floor(scale * 1000) / 1000 * config.probe_interval_s


def confirmed_timeout(confirmations: int, needed: int, minimum_s: float, maximum_s: float) -> float:
    """Seconds from the start of the suspicion until death, after so many confirmations by others.

    It falls from `maximum_s` with none to `minimum_s` with `needed`, by the logarithm, in whole milliseconds.
    """
    if needed < 1:
        return minimum_s
    share = math.log(confirmations + 1) / math.log(needed + 1)
    raw = maximum_s - share * (maximum_s - minimum_s)
    return max(minimum_s, math.floor(1000 * raw + 1e-9) / 1000)


class Suspicion:
    """A running suspicion of one member: who accused it, and when it ends."""

    __slots__ = ("_accusers", "_confirmations", "_maximum_s", "_minimum_s", "_needed", "deadline", "start")

    def __init__(self, accuser: str, config: SwimConfig, members: int, now: float) -> None:
        self._minimum_s = minimum_timeout(config, members)
        self._maximum_s = config.suspicion_max_timeout_mult * self._minimum_s
        self._needed = config.suspicion_mult - 2
        if members - 2 < self._needed:
            self._needed = 0
        self._confirmations = 0
        self._accusers = {accuser}
        self.start = now
        self.deadline = now + (self._maximum_s if self._needed > 0 else self._minimum_s)
        """Monotonic seconds at which the member is declared dead."""

    def confirm(self, accuser: str) -> bool:
        """Count another accuser; True if it was one more that counts, so that the word should be passed on."""
        if self._confirmations >= self._needed or accuser in self._accusers:
            return False
        self._accusers.add(accuser)
        self._confirmations += 1
        self.deadline = self.start + confirmed_timeout(
            self._confirmations, self._needed, self._minimum_s, self._maximum_s
        )
        return True
