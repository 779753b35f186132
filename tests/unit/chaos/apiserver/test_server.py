"""The server in this process: tokens, counters, and everything that can be made to go wrong."""

from __future__ import annotations

import contextlib
import json
import ssl
from collections.abc import AsyncIterator

import anyio
import httpx2
import pytest

from chaos.lab.apiserver.faults import Faults
from chaos.lab.apiserver.server import ApiServer, listening_socket
from tests.unit.chaos.apiserver.builders import Obj

pytestmark = pytest.mark.anyio
PODS = "/api/v1/namespaces/default/pods"
MAPS = "/api/v1/namespaces/default/configmaps"
DEADLINE_S = 20.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[tuple[ApiServer, httpx2.AsyncClient]]:
    """A server and its administrator's client."""
    with anyio.fail_after(DEADLINE_S):
        sockets = [listening_socket("127.0.0.1")]
        async with (
            ApiServer(sockets, seed=1, bookmark_s=0.2) as server,
            client(server, server.admin_token) as admin,
        ):
            yield server, admin


def client(server: ApiServer, token: str) -> httpx2.AsyncClient:
    context = ssl.create_default_context(cadata=server.ca_pem)
    headers = {"authorization": f"Bearer {token}", "user-agent": "suite"}
    return httpx2.AsyncClient(base_url=server.base_url, verify=context, headers=headers, timeout=DEADLINE_S)


async def test_tokens_stand_for_users() -> None:
    async with serving() as (server, admin):
        token = server.mint_token("metallb-system", "speaker")
        async with client(server, token) as speaker:
            assert (await speaker.get(MAPS)).status_code == 200
            assert server.audit.count(user="system:serviceaccount:metallb-system:speaker") == 1
            server.revoke_token(token)
            answer = await speaker.get(MAPS)
        assert (answer.status_code, answer.json()["reason"]) == (401, "Unauthorized")
        made = await admin.post("/api/v1/namespaces/default/serviceaccounts/default/token", json={})
        async with client(server, made.json()["status"]["token"]) as account:
            assert (await account.get(MAPS)).status_code == 200


async def test_requests_are_counted_by_verb_and_resource() -> None:
    async with serving() as (server, admin):
        for name in ("a", "b"):
            await admin.post(MAPS, json={"metadata": {"name": name}})
        await admin.get(f"{MAPS}/a")
        await admin.get(f"{MAPS}/none")
        await admin.delete(f"{MAPS}/a")
        assert server.audit.count(resource="configmaps", verbs=("create",)) == 2
        assert server.audit.count(resource="configmaps", verbs=("get",)) == 2
        assert [(w.verb, w.name, w.code) for w in server.audit.writes][-1] == ("delete", "a", 200)
        lines = (await admin.get("/lab/requests")).json()["requests"]
        assert {"user": "lab-admin", "agent": "suite", "verb": "get", "resource": "configmaps", "code": 404,
                "count": 1} in lines  # fmt: skip
        await admin.delete("/lab/requests")
        assert server.audit.count() == 0


async def test_a_paused_server_refuses_and_comes_back_with_everything() -> None:
    async with serving() as (server, admin):
        await admin.post(MAPS, json={"metadata": {"name": "kept"}})
        async with admin.stream("GET", MAPS, params={"watch": "true"}) as watch:
            lines = watch.aiter_lines()
            for _ in range(2):
                await anext(lines)
            await server.pause()
            with pytest.raises(httpx2.TransportError):
                await anext(lines)
        with pytest.raises(httpx2.ConnectError):
            await admin.get(MAPS)
        await server.resume()
        assert (await admin.get(f"{MAPS}/kept")).status_code == 200


async def test_down_for_a_while_over_http() -> None:
    async def up(admin: httpx2.AsyncClient) -> bool:
        await anyio.sleep(0.02)
        try:
            return (await admin.get(MAPS)).status_code == 200
        except httpx2.TransportError:
            return False

    async with serving() as (_, admin):
        with contextlib.suppress(httpx2.TransportError):
            await admin.put("/lab/faults", json={"down_s": 0.3})
        for wanted in (False, True):
            while await up(admin) is not wanted:
                pass


async def test_dropped_connections() -> None:
    async with serving() as (server, admin):
        async with admin.stream("GET", PODS, params={"watch": "true"}) as watch:
            server.set_faults(Faults(drop=True))
            with pytest.raises(httpx2.TransportError):
                await anext(watch.aiter_lines())
        assert (await admin.get(MAPS)).status_code == 200


async def test_errors_for_a_share_of_the_requests() -> None:
    async with serving() as (server, admin):
        server.set_faults(Faults(error_code=429, error_share=0.5, retry_after_s=7))
        answers = [await admin.get(MAPS) for _ in range(60)]
        codes = [answer.status_code for answer in answers]
        assert {*codes} == {200, 429}
        refused = answers[codes.index(429)]
        assert (refused.headers["retry-after"], refused.json()["reason"]) == ("7", "TooManyRequests")
        server.set_faults(Faults())
        assert (await admin.get(MAPS)).status_code == 200


async def test_faults_for_some_users_and_resources_only() -> None:
    async with serving() as (server, admin):
        fault = {"error_code": 500, "users": ["system:serviceaccount:*"], "resources": ["configmaps"]}
        assert (await admin.put("/lab/faults", json=fault)).status_code == 200
        async with client(server, server.mint_token("x", "y")) as account:
            assert (await account.get(MAPS)).status_code == 500
            assert (await account.get(PODS)).status_code == 200
        assert (await admin.get(MAPS)).status_code == 200


@pytest.mark.parametrize("body", [{"nonsense": 1}, {"gone": "maybe"}, {"delay_s": "long"}])
async def test_a_fault_that_is_none_is_refused(body: Obj) -> None:
    async with serving() as (server, admin):
        answer = await admin.put("/lab/faults", json=body)
        assert (answer.status_code, answer.json()["reason"]) == (400, "BadRequest")
        assert server.faults == Faults()


async def test_half_open_watches_are_silent_until_healed() -> None:
    async with serving() as (server, admin):
        server.set_faults(Faults(half_open_watches=True))
        params = {
            "watch": "true",
            "resourceVersion": str(server.store.revisions.revision),
            "timeoutSeconds": "1",
        }
        async with admin.stream("GET", MAPS, params=params) as watch:
            lines = watch.aiter_lines()
            made = await admin.post(MAPS, json={"metadata": {"name": "unseen"}})
            assert made.status_code == 201
            with anyio.move_on_after(1.5) as waiting:
                await anext(lines)
            assert waiting.cancelled_caught
        async with admin.stream("GET", MAPS, params=params) as watch:
            server.set_faults(Faults())
            assert json.loads(await anext(watch.aiter_lines()))["object"]["metadata"]["name"] == "unseen"


async def test_hanging_requests_go_on_when_healed() -> None:
    async with serving() as (server, admin):
        server.set_faults(Faults(hang=True))
        with anyio.move_on_after(0.3) as waiting:
            await admin.get(MAPS)
        assert waiting.cancelled_caught
        codes = []

        async def ask() -> None:
            codes.append((await admin.get(MAPS)).status_code)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            with anyio.move_on_after(0.3) as waiting:
                await admin.get(MAPS)
            assert waiting.cancelled_caught
            assert codes == []
            server.set_faults(Faults())
        assert codes == [200]


async def test_a_storm_of_410() -> None:
    async with serving() as (server, admin):
        params = {"watch": "true", "resourceVersion": str(server.store.revisions.revision)}
        server.set_faults(Faults(gone="status"))
        assert (await admin.get(MAPS, params=params)).status_code == 410
        server.set_faults(Faults(gone="event"))
        answer = await admin.get(MAPS, params=params)
        event = json.loads(answer.text)
        assert (answer.status_code, event["type"], event["object"]["code"]) == (200, "ERROR", 410)
        server.set_faults(Faults(close_watches=True))
        answer = await admin.get(MAPS, params=params)
        assert (answer.status_code, answer.content) == (200, b"")


async def test_a_forgotten_history_makes_old_versions_too_old() -> None:
    async with serving() as (server, admin):
        version = str(server.store.revisions.revision)
        page = (await admin.get("/api/v1/namespaces", params={"limit": "1"})).json()
        await admin.post(MAPS, json={"metadata": {"name": "a"}})
        server.set_faults(Faults(forget=True))
        answer = await admin.get(MAPS, params={"watch": "true", "resourceVersion": version})
        assert json.loads(answer.text)["object"]["reason"] == "Expired"
        answer = await admin.get("/api/v1/namespaces", params={"continue": page["metadata"]["continue"]})
        assert (answer.status_code, answer.json()["reason"]) == (410, "Expired")


async def test_a_slow_watcher_is_told_when_it_fell_behind() -> None:
    async with serving() as (server, admin):
        server.set_faults(Faults(half_open_watches=True))
        params = {"watch": "true", "resourceVersion": str(server.store.revisions.revision)}
        maps = server.store.kinds.by_resource("configmaps")
        async with admin.stream("GET", MAPS, params=params) as watch:
            server.store.create(maps, "default", {"metadata": {"name": "first"}})
            await anyio.wait_all_tasks_blocked()
            server.store.create(maps, "default", {"metadata": {"name": "second"}})
            server.store.revisions.forget()
            server.set_faults(Faults())
            events = [json.loads(line) async for line in watch.aiter_lines()]
        assert events[-1]["type"] == "ERROR"
        assert events[-1]["object"]["code"] == 410


async def test_the_kubeconfig_leads_to_the_server() -> None:
    async with serving() as (server, _):
        config = json.loads(server.kubeconfig("https://example.invalid:1"))
        assert config["clusters"][0]["cluster"]["server"] == "https://example.invalid:1"
        assert config["users"][0]["user"]["token"] == server.admin_token
        assert json.loads(server.kubeconfig())["clusters"][0]["cluster"]["server"] == server.base_url
