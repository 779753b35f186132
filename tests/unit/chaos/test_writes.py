"""Which requests count as writes of vipring."""

import json
from typing import cast

import anyio

from chaos import writes
from cluster.client import ApiClient

CONTROLLER, SPEAKER = (f"system:serviceaccount:metallb-system:{name}" for name in ("controller", "speaker"))


def document(*lines: tuple[str, str, str, int]) -> bytes:
    requests = [
        {"user": user, "agent": "x", "verb": verb, "resource": resource, "code": 200, "count": count}
        for user, verb, resource, count in lines
    ]
    return json.dumps({"requests": requests, "writes": []}).encode()


def test_only_writes_of_vipring_count_and_no_leases() -> None:
    found = writes.read(
        document(
            (CONTROLLER, "update", "services/status", 2),
            (SPEAKER, "create", "events", 3),
            (SPEAKER, "create", "events", 1),
            (SPEAKER, "watch", "services", 9),
            (SPEAKER, "update", "leases.coordination.k8s.io", 9),
            ("system:node:n1", "patch", "nodes/status", 9),
            ("system:serviceaccount:default:speaker", "patch", "services", 9),
        )
    )
    assert found == {"controller update services/status": 2, "speaker create events": 4}


def test_what_was_written_between_two_counts() -> None:
    before, after = {"a": 1, "b": 2}, {"a": 1, "b": 5, "c": 1}
    assert writes.between(before, after) == {"b": 3, "c": 1}


class _Api:
    """Has been written to a given number of times whenever it is asked."""

    def __init__(self, *counts: int) -> None:
        self._counts = list(counts)

    async def raw(self, _method: str, _path: str) -> bytes:
        return document((SPEAKER, "create", "events", self._counts.pop(0)))


def test_what_is_written_in_a_calm_is_counted() -> None:
    async def calm(*counts: int) -> int:
        return await (await writes.Calm.begin(cast("ApiClient", _Api(*counts)))).end(0.0)

    assert anyio.run(calm, 4, 4) == 0
    assert anyio.run(calm, 4, 6) == 2
