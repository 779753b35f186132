"""Which requests count as writes of vipring."""

import json

from chaos import writes

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
