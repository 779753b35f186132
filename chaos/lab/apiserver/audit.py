"""Counts of requests by user, verb and resource, so that a scenario can say who asked for what."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import asdict, dataclass

from chaos.lab.apiserver.errors import Obj

WRITES = ("create", "update", "patch", "delete", "deletecollection")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asked. `agent` is the User-Agent header."""

    user: str
    agent: str


@dataclass(frozen=True, slots=True)
class Write:
    """One write that was accepted or refused; `at` is wall time in seconds."""

    at: float
    user: str
    verb: str
    resource: str
    namespace: str
    name: str
    code: int


@dataclass(frozen=True, slots=True)
class _Line:
    user: str
    agent: str
    verb: str
    resource: str
    code: int


class Audit:
    """Counters since the start or the last `reset`, and the last thousand writes."""

    def __init__(self) -> None:
        self._counts: Counter[_Line] = Counter()
        self.writes: deque[Write] = deque(maxlen=1000)

    def note(self, caller: Caller, verb: str, resource: str, code: int) -> None:
        """Count one request that was answered with HTTP status `code`."""
        self._counts[_Line(caller.user, caller.agent, verb, resource, code)] += 1

    def count(
        self, *, verbs: tuple[str, ...] | None = None, user: str | None = None, resource: str | None = None
    ) -> int:
        """Requests of some verbs, of users whose name starts with `user`, for one resource (`services/status`)."""
        return sum(
            n
            for line, n in self._counts.items()
            if (verbs is None or line.verb in verbs)
            and (user is None or line.user.startswith(user))
            and resource in (None, line.resource)
        )

    def reset(self) -> None:
        """Start from zero."""
        self._counts.clear()
        self.writes.clear()

    def document(self) -> Obj:
        """What GET /lab/requests shows."""
        lines = sorted(self._counts.items(), key=lambda item: (-item[1], str(item[0])))
        return {
            "requests": [{**asdict(line), "count": n} for line, n in lines],
            "writes": [asdict(write) for write in self.writes],
        }
