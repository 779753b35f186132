"""What vipring writes to the API, counted at the lab's API server."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import anyio
import msgspec

from chaos.install import NAMESPACE
from cluster.client import ApiClient

_VERBS = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_LEASES = "leases.coordination.k8s.io"
_USERS = f"system:serviceaccount:{NAMESPACE}:"


class _Line(msgspec.Struct, frozen=True):
    user: str
    verb: str
    resource: str
    count: int


class _Requests(msgspec.Struct, frozen=True):
    requests: tuple[_Line, ...]


Writes = Mapping[str, int]
"""Writes by what they are: `speaker create events`."""


def read(document: bytes) -> Writes:
    """The writes of vipring's service accounts in an answer of GET /lab/requests, Leases left out."""
    found: Counter[str] = Counter()
    for line in msgspec.json.decode(document, type=_Requests).requests:
        if line.user.startswith(_USERS) and line.verb in _VERBS and line.resource != _LEASES:
            found[f"{line.user.removeprefix(_USERS)} {line.verb} {line.resource}"] += line.count
    return found


async def count(api: ApiClient) -> Writes:
    """All writes since the start of the lab. Raises ClusterError."""
    return read(await api.raw("GET", "/lab/requests"))


def between(before: Writes, after: Writes) -> dict[str, int]:
    """What was written between two counts."""
    return {what: n - before.get(what, 0) for what, n in sorted(after.items()) if n > before.get(what, 0)}


@dataclass(frozen=True, slots=True)
class Calm:
    """A time in which nothing changes, so that nothing is to be written."""

    api: ApiClient
    before: Writes
    began: float

    @classmethod
    async def begin(cls, api: ApiClient) -> Calm:
        """From now on. Raises ClusterError."""
        return cls(api, await count(api), time.monotonic())

    async def end(self, seconds: float) -> int:
        """How much was written once it has lasted so long at least. Raises ClusterError."""
        await anyio.sleep(max(0.0, self.began + seconds - time.monotonic()))
        return sum(between(self.before, await count(self.api)).values())
