"""What vipring writes to the API, counted at the lab's API server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

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
