"""What can be made to go wrong. One document, set from Python or by PUT /lab/faults."""

from __future__ import annotations

import random
from fnmatch import fnmatchcase
from typing import Literal

import anyio
import msgspec

from chaos.lab.apiserver.errors import StatusError


class Faults(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=False):
    """The faults in force. The default is a healthy server; they touch no path below /lab.

    Attributes:
        delay_s: Every request waits this long first.
        hang: Requests are read and never answered.
        error_code: This HTTP status (429, 500 …) instead of an answer, for `error_share` of the requests.
        error_share: Probability of `error_code`, 0 to 1.
        retry_after_s: Retry-After header that goes with `error_code`; 0 sends none.
        half_open_watches: Watches stay open and send nothing any more, not even their end.
        close_watches: Watches end at once without an event.
        gone: Every watch is told 410, as HTTP status or as an ERROR event in the stream.
        users: Only for users whose name matches one of these shell patterns.
        resources: Only for these resources (`services`, `endpointslices.discovery.k8s.io` …); none means all.
        down_s: One-shot: refuse connections for this long.
        drop: One-shot: cut all open connections.
        forget: One-shot: drop the history, so that every older version is too old.
    """

    delay_s: float = 0.0
    hang: bool = False
    error_code: int = 0
    error_share: float = 1.0
    retry_after_s: int = 0
    half_open_watches: bool = False
    close_watches: bool = False
    gone: Literal["", "status", "event"] = ""
    users: tuple[str, ...] = ("*",)
    resources: tuple[str, ...] = ()
    down_s: float = 0.0
    drop: bool = False
    forget: bool = False

    def touch(self, user: str, resource: str) -> bool:
        """Are requests of this user for this resource meant?"""
        return any(fnmatchcase(user, pattern) for pattern in self.users) and (
            not self.resources or resource in self.resources
        )


_HEALTHY = Faults()


class Injector:
    """Holds the faults in force and makes requests suffer from them."""

    def __init__(self, rng: random.Random) -> None:
        self.faults = _HEALTHY
        self._rng = rng
        self._changed = anyio.Event()

    def set(self, faults: Faults) -> None:
        """Put other faults in force; whoever waits in one looks again."""
        self.faults = faults
        self._changed.set()
        self._changed = anyio.Event()

    def faults_for(self, user: str, resource: str) -> Faults:
        """The faults that are meant for such a request."""
        return self.faults if self.faults.touch(user, resource) else _HEALTHY

    async def suffer(self, user: str, resource: str) -> None:
        """Delay, hang or refuse a request. Raises StatusError with the code of the fault."""
        faults = self.faults_for(user, resource)
        if faults.delay_s:
            await anyio.sleep(faults.delay_s)
        while self.faults_for(user, resource).hang:
            await self._changed.wait()
        if faults.error_code and self._rng.random() < faults.error_share:
            reason = "TooManyRequests" if faults.error_code == 429 else "InternalError"
            details = {"retryAfterSeconds": faults.retry_after_s} if faults.retry_after_s else {}
            raise StatusError(faults.error_code, reason, "refused by a fault of the lab", details)

    async def while_half_open(self, user: str, resource: str) -> None:
        """Wait as long as watches like this one are to be silent."""
        while self.faults_for(user, resource).half_open_watches:
            await self._changed.wait()
