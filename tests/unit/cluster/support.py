"""Objects and watch lines as an API server sends them, and the seed of randomised tests."""

from __future__ import annotations

import random

import msgspec

from cluster.objects import Service
from cluster.wire import Page, decode_page
from tests.seed import chosen_seed


def seeded() -> tuple[int, random.Random]:
    """A generator whose seed is printed, and taken from VIPRING_SEED when that is set."""
    seed = chosen_seed()
    return seed, random.Random(seed)


def service(name: str, version: int, uid: str = "", **spec: str) -> dict[str, object]:
    return {
        "metadata": {"name": name, "namespace": "d", "resourceVersion": str(version), "uid": uid or name},
        "spec": spec,
    }


def page(version: int, *objects: dict[str, object], more: str = "") -> Page[Service]:
    data = {"metadata": {"resourceVersion": str(version), "continue": more}, "items": objects}
    return decode_page(msgspec.json.encode(data), Service, "services")


def event(kind: str, obj: object) -> bytes:
    return msgspec.json.encode({"type": kind, "object": obj}) + b"\n"


def bookmark(version: int) -> bytes:
    return event("BOOKMARK", {"kind": "Service", "metadata": {"resourceVersion": str(version)}})


def status(code: int, reason: str) -> bytes:
    return event("ERROR", {"kind": "Status", "code": code, "reason": reason, "message": "m"})
