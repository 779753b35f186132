"""cluster/ against the lab's embedded API server: the whole way over TLS, with tokens, restarts and faults."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec
import pytest

from chaos.lab.apiserver.faults import Faults
from chaos.lab.apiserver.server import ApiServer, listening_socket
from cluster.backoff import Backoff
from cluster.client import ApiClient
from cluster.config.configmap import config_of
from cluster.credentials import in_cluster_access
from cluster.errors import ApiError
from cluster.events import EventRecorder, reference
from cluster.kubeconfig import kubeconfig_access
from cluster.objects import ConfigMap, LoadBalancerIngress, Service
from cluster.reflector import Reflector
from cluster.status import write_ingress
from cluster.watch import Change, Deleted, Synced, Upserted
from tests.unit.cluster.scripted import until

SERVICES = "/api/v1/namespaces/default/services"


@asynccontextmanager
async def cluster(tmp_path: Path, history: int = 4096) -> AsyncIterator[tuple[ApiServer, ApiClient]]:
    """A server, and a client that logs in with the server's kubeconfig."""
    async with ApiServer([listening_socket("127.0.0.1")], seed=1, bookmark_s=0.2, history=history) as server:
        file = tmp_path / "kubeconfig"
        file.write_text(server.kubeconfig())
        async with ApiClient(kubeconfig_access([file])) as client:
            yield server, client


def load_balancer(name: str, **annotations: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "annotations": annotations, "labels": {"app": "web"}},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], "selector": {"app": "web"}},
    }


class Told:
    """Changes as short text."""

    def __init__(self) -> None:
        self.changes: list[str] = []

    def change(self, change: Change[Service]) -> None:
        match change:
            case Upserted(obj=obj, old=old):
                self.changes.append(f"{'~' if old else '+'}{obj.metadata.name}")
            case Deleted(obj=obj):
                self.changes.append(f"-{obj.metadata.name}")
            case Synced():
                self.changes.append("synced")

    def clear(self) -> None:
        self.changes.clear()


@asynccontextmanager
async def following(
    client: ApiClient, page_limit: int = 250
) -> AsyncIterator[tuple[Reflector[Service], Told]]:
    """A reflector of the labelled Services, synced."""
    told, rng = Told(), random.Random(1)
    reflector = Reflector(
        client,
        "/api/v1/services",
        Service,
        label_selector="app=web",
        rng=rng,
        page_limit=page_limit,
        backoff=Backoff(rng, first_s=0.02, cap_s=0.1),
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reflector.run, told.change)
        await until(lambda: reflector.synced)
        yield reflector, told
        tasks.cancel_scope.cancel()


def seen(told: Told, *changes: str) -> Callable[[], bool]:
    return lambda: told.changes == list(changes)


async def test_pages_and_events(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (_, client):
        for number in range(7):
            await client.create(SERVICES, load_balancer(f"s{number}"), Service)
        async with following(client, page_limit=3) as (reflector, told):
            assert told.changes == [*(f"+s{number}" for number in range(7)), "synced"]
            told.clear()
            await client.create(SERVICES, load_balancer("late"), Service)
            await client.patch(f"{SERVICES}/s1", {"metadata": {"annotations": {"a": "b"}}}, Service)
            await client.delete(f"{SERVICES}/s2")
            await client.patch(f"{SERVICES}/s3", {"metadata": {"labels": {"app": "other"}}}, Service)
            await until(seen(told, "+late", "~s1", "-s2", "-s3"))
            assert reflector.store["default/s1"].metadata.annotations == {"a": "b"}


async def test_restart_of_the_server(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (server, client):
        await client.create(SERVICES, load_balancer("kept"), Service)
        await client.create(SERVICES, load_balancer("lost"), Service)
        async with following(client) as (reflector, told):
            await server.pause()
            await until(lambda: reflector.last_error is not None)
            assert set(reflector.store) == {"default/kept", "default/lost"}
            told.clear()
            await server.resume()
            await client.delete(f"{SERVICES}/lost")
            await until(seen(told, "-lost"))
            await until(lambda: reflector.last_error is None)


@pytest.mark.parametrize("how", ["status", "event"])
async def test_version_too_old(tmp_path: Path, how: str) -> None:
    async with cluster(tmp_path) as (server, client):
        await client.create(SERVICES, load_balancer("kept"), Service)
        await client.create(SERVICES, load_balancer("lost"), Service)
        async with following(client) as (reflector, told):
            told.clear()
            await server.pause()
            await until(lambda: reflector.last_error is not None)
            server.set_faults(Faults(gone="status" if how == "status" else "event"))
            await server.resume()
            await client.delete(f"{SERVICES}/lost")
            await client.create(SERVICES, load_balancer("late"), Service)
            await until(seen(told, "-lost", "+late"))
            server.set_faults(Faults())
            await client.delete(f"{SERVICES}/late")
            await until(seen(told, "-lost", "+late", "-late"))
            await until(lambda: reflector.last_error is None)


async def test_history_lost_while_away(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (server, client):
        await client.create(SERVICES, load_balancer("kept"), Service)
        await client.create(SERVICES, load_balancer("lost"), Service)
        async with following(client) as (reflector, told):
            told.clear()
            server.set_faults(Faults(error_code=503, resources=("services",)))
            server.drop_connections()
            await until(lambda: reflector.last_error is not None)
            server.set_faults(Faults(forget=True))
            await client.delete(f"{SERVICES}/lost")
            await until(seen(told, "-lost"))


FAULTS = {
    "close": Faults(close_watches=True),
    "500": Faults(error_code=500),
    "429": Faults(error_code=429),
    "gone": Faults(gone="event"),
}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS.keys())
async def test_lasting_fault_is_survived(tmp_path: Path, faults: Faults) -> None:
    async with cluster(tmp_path) as (server, client), following(client) as (reflector, told):
        told.clear()
        server.set_faults(faults)
        server.drop_connections()
        server.audit.reset()
        await until(lambda: server.audit.count(resource="services") >= 5)
        server.set_faults(Faults())
        await client.create(SERVICES, load_balancer("late"), Service)
        await until(seen(told, "+late"))
        await until(lambda: reflector.last_error is None)


async def test_token_of_a_service_account_changes(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (server, admin):
        first = server.mint_token("metallb-system", "speaker")
        (tmp_path / "token").write_text(first)
        (tmp_path / "namespace").write_text("metallb-system")
        (tmp_path / "ca.crt").write_text(server.ca_pem)
        port = server.base_url.rpartition(":")[2]
        environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": port}
        async with ApiClient(in_cluster_access(environ, tmp_path)) as client, following(client) as (_, told):
            told.clear()
            server.revoke_token(first)
            server.drop_connections()
            with pytest.raises(ApiError, match="401 Unauthorized"):
                await client.get(SERVICES, Service)
            (tmp_path / "token").write_text(server.mint_token("metallb-system", "speaker"))
            await admin.create(SERVICES, load_balancer("late"), Service)
            await until(seen(told, "+late"))


async def test_status_is_written_through_its_subresource(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (_, client):
        created = await client.create(SERVICES, load_balancer("web", kept="yes"), Service)
        ingress = [LoadBalancerIngress(ip="198.18.1.0")]
        written = await write_ingress(client, "default/web", ingress, uid=created.metadata.uid)
        assert written is not None
        stored = await client.get(f"{SERVICES}/web", Service)
        assert stored.status.load_balancer.ingress == ingress
        assert stored.metadata.annotations == {"kept": "yes"}
        assert stored.spec.cluster_ip == created.spec.cluster_ip
        assert await write_ingress(client, "default/web", [], uid="another") is None
        assert await write_ingress(client, "default/absent", ingress) is None
        cleared = await write_ingress(client, "default/web", [])
        assert cleared is not None
        assert cleared.status.load_balancer.ingress == []


async def test_writers_in_conflict(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (_, client):
        await client.create(SERVICES, load_balancer("web"), Service)
        whole = msgspec.json.decode(await client.raw("GET", f"{SERVICES}/web"), type=dict[str, msgspec.Raw])
        await client.patch(f"{SERVICES}/web", {"metadata": {"labels": {"a": "b"}}}, Service)
        with pytest.raises(ApiError) as caught:
            await client.replace(f"{SERVICES}/web", whole, Service)
        assert caught.value.conflict
        assert caught.value.reason == "Conflict"
        async with anyio.create_task_group() as tasks:
            for number in range(4):
                ingress = [LoadBalancerIngress(ip=f"198.18.1.{number}")]
                tasks.start_soon(write_ingress, client, "default/web", ingress)
        final = await client.get(f"{SERVICES}/web", Service)
        assert len(final.status.load_balancer.ingress) == 1


async def test_events_reach_the_server(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (_, client):
        web = await client.create(SERVICES, load_balancer("web"), Service)
        recorder = EventRecorder(client, component="metallb-controller", rng=random.Random(1))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(recorder.run)
            for _ in range(3):
                recorder.event(
                    reference("Service", web.metadata), "Normal", "IPAllocated", 'Assigned IP "198.18.1.0"'
                )
                await recorder.flush(10)
            tasks.cancel_scope.cancel()
        assert (recorder.posted, recorder.dropped, recorder.last_error) == (3, 0, None)
        events = await client.raw("GET", "/api/v1/namespaces/default/events")
        listed = msgspec.json.decode(events, type=dict[str, object])["items"]
        (event,) = msgspec.convert(listed, list[dict[str, object]])
        assert (event["count"], event["reason"], event["type"]) == (3, "IPAllocated", "Normal")
        assert event["source"] == {"component": "metallb-controller"}


async def test_configuration_from_the_server(tmp_path: Path) -> None:
    text = "address-pools:\n- {name: a, protocol: layer2, addresses: [198.18.1.0/24]}\n"
    async with cluster(tmp_path) as (_, client):
        path = "/api/v1/namespaces/default/configmaps"
        body = {"kind": "ConfigMap", "metadata": {"name": "config"}, "data": {"config": text}}
        await client.create(path, body, ConfigMap)
        found, _ = await client.list(path, ConfigMap, field_selector="metadata.name=config")
        assert [pool.name for pool in config_of(found[0]).pools] == ["a"]
