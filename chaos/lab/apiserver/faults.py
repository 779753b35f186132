"""What can be made to go wrong. One document, set from Python or by PUT /lab/faults."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal

import msgspec


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


HEALTHY = Faults()
