"""The ring on real sockets: UDP and TCP on one port, one task that owns the node."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from anyio.streams.memory import MemoryObjectReceiveStream

from gossip.address import Endpoint
from gossip.config import SwimConfig
from gossip.counters import Counters
from gossip.keyring import Keyring
from gossip.member import MemberView
from gossip.outputs import MembershipEvent


@dataclass(frozen=True, slots=True)
class JoinResult:
    """What came of a join."""

    contacted: tuple[Endpoint, ...]
    failed: Mapping[Endpoint, str]
    """Reason by endpoint."""


class Ring:
    """A member of a ring; use it as an async context manager."""

    events: MemoryObjectReceiveStream[MembershipEvent]
    counters: Counters
    endpoint: Endpoint
    """The advertised address and port."""

    def __init__(
        self,
        *,
        name: str,
        bind: tuple[str, int],
        advertise: tuple[str, int] | None,
        keyring: Keyring | None,
        config: SwimConfig,
        meta: bytes,
        rng: random.Random | None = None,
    ) -> None:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        raise NotImplementedError

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        raise NotImplementedError

    async def join(self, endpoints: Sequence[tuple[str, int]]) -> JoinResult:
        """Exchange state with each endpoint; never raises for unreachable peers."""
        raise NotImplementedError

    def set_meta(self, meta: bytes) -> None:
        """Announce another meta (at most 512 bytes)."""
        raise NotImplementedError

    def members(self) -> Mapping[str, MemberView]:
        """Every known member by name, this node included."""
        raise NotImplementedError

    def former(self) -> Mapping[str, MemberView]:
        """Members that died and were forgotten by the ring: whom to join again after a partition."""
        raise NotImplementedError

    async def leave(self, timeout_s: float = 1.0) -> None:
        """Say goodbye; returns when it was spread or the time is over. The sockets stay open until the exit."""
        raise NotImplementedError
