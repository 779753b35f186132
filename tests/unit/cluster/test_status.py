"""Writing a Service's addresses: nothing else in the object changes."""

from __future__ import annotations

import msgspec
import pytest

from cluster.client import ApiClient
from cluster.credentials import Access
from cluster.errors import ApiError
from cluster.objects import LoadBalancerIngress
from cluster.status import write_ingress
from tests.unit.cluster.scripted import Answer, Request, ScriptedServer

INGRESS = [LoadBalancerIngress(ip="198.18.1.0")]
PATH = "/api/v1/namespaces/d/services/web"


class Stored:
    """One Service with fields that nobody here knows; a PUT with another version is a conflict."""

    def __init__(self, conflicts: int = 0) -> None:
        self.conflicts = conflicts
        self.version = 5
        self.puts: list[dict[str, object]] = []
        self.status: dict[str, object] = {"conditions": [{"type": "Kept"}], "loadBalancer": {}}

    def object(self) -> dict[str, object]:
        metadata = {"name": "web", "namespace": "d", "uid": "u1", "resourceVersion": str(self.version)}
        return {
            "metadata": metadata | {"finalizers": ["kept"]},
            "spec": {"unheard": {"of": [1.5, None]}},
            "status": self.status,
        }

    async def __call__(self, request: Request, answer: Answer) -> None:
        if request.method == "GET":
            await answer.json(self.object())
            return
        body = msgspec.json.decode(request.body, type=dict[str, object])
        self.puts.append(body)
        assert request.path == f"{PATH}/status"
        if self.conflicts:
            self.conflicts -= 1
            self.version += 1
            await answer.status(409, "Conflict")
        else:
            self.status = msgspec.convert(body["status"], dict[str, object])
            self.version += 1
            await answer.json(self.object())


async def test_only_the_addresses_change() -> None:
    stored = Stored()
    async with ScriptedServer(stored) as server, ApiClient(Access(server.url)) as client:
        before = stored.object()
        written = await write_ingress(client, "d/web", INGRESS, uid="u1")
        assert written is not None
        assert written.status.load_balancer.ingress == INGRESS
        assert written.metadata.resource_version == "6"
        assert stored.puts == [
            before
            | {
                "status": {
                    "conditions": [{"type": "Kept"}],
                    "loadBalancer": {"ingress": [{"ip": "198.18.1.0"}]},
                }
            }
        ]
        assert await write_ingress(client, "d/web", INGRESS) is not None
        assert len(stored.puts) == 1, "what is right already is not written"
        cleared = await write_ingress(client, "d/web", [])
        assert cleared is not None
        assert stored.status["loadBalancer"] == {}


async def test_conflict_reads_again() -> None:
    stored = Stored(conflicts=3)
    async with ScriptedServer(stored) as server, ApiClient(Access(server.url)) as client:
        assert await write_ingress(client, "d/web", INGRESS) is not None
    versions = [
        msgspec.convert(body["metadata"], dict[str, object])["resourceVersion"] for body in stored.puts
    ]
    assert versions == ["5", "6", "7", "8"]


async def test_endless_conflict_is_an_error() -> None:
    stored = Stored(conflicts=1000)
    async with ScriptedServer(stored) as server, ApiClient(Access(server.url)) as client:
        with pytest.raises(ApiError, match="409 Conflict"):
            await write_ingress(client, "d/web", INGRESS)
    assert len(stored.puts) == 5


async def test_gone_service_is_fine() -> None:
    async def handler(request: Request, answer: Answer) -> None:
        await answer.status(404, "NotFound")

    async with ScriptedServer(handler) as server, ApiClient(Access(server.url)) as client:
        assert await write_ingress(client, "d/web", INGRESS) is None


async def test_another_service_of_the_same_name_is_left_alone() -> None:
    stored = Stored()
    async with ScriptedServer(stored) as server, ApiClient(Access(server.url)) as client:
        assert await write_ingress(client, "d/web", INGRESS, uid="earlier") is None
    assert not stored.puts


async def test_other_refusals_are_raised() -> None:
    async def handler(request: Request, answer: Answer) -> None:
        await answer.status(403, "Forbidden")

    async with ScriptedServer(handler) as server, ApiClient(Access(server.url)) as client:
        with pytest.raises(ApiError, match="403 Forbidden"):
            await write_ingress(client, "d/web", INGRESS)
