"""The controller process against the embedded API server, over real HTTP on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from prometheus_client import generate_latest

from chaos.lab.apiserver.server import ApiServer, listening_socket
from cluster.client import ApiClient
from cluster.errors import CredentialsError
from cluster.objects import Service
from controller.main import Controller, ControllerOptions
from controller.status import ControllerStatus

SYSTEM = "metallb-system"
SERVICES = "/api/v1/namespaces/default/services"
DEADLINE_S = 20.0


class Event(msgspec.Struct):
    reason: str
    type: str
    message: str
    involvedObject: dict[str, Any]  # noqa: N815  (the API's own name)
    source: dict[str, str]


@dataclass
class Bench:
    """An API server, an administrator, and controllers that come and go."""

    server: ApiServer
    admin: ApiClient
    kubeconfig: Path
    stops: list[Callable[[], None]] = field(default_factory=list)

    async def config(self, addresses: str, *, first: bool = True) -> None:
        text = f"address-pools:\n- name: default\n  protocol: layer2\n  addresses: ['{addresses}']\n"
        body = {"metadata": {"name": "config"}, "data": {"config": text}}
        path = f"/api/v1/namespaces/{SYSTEM}/configmaps"
        if first:
            await self.admin.create(path, body, msgspec.Raw)
        else:
            await self.admin.patch(f"{path}/config", body, msgspec.Raw)

    async def service(self, name: str, **spec: Any) -> None:
        ports = [{"port": 80, "protocol": "TCP"}]
        body = {"metadata": {"name": name}, "spec": {"type": "LoadBalancer", "ports": ports, **spec}}
        await self.admin.create(SERVICES, body, msgspec.Raw)

    async def addresses(self) -> dict[str, list[str]]:
        services, _ = await self.admin.list(SERVICES, Service)
        return {
            each.metadata.name: [entry.ip for entry in each.status.load_balancer.ingress]
            for each in services
            if each.spec.type == "LoadBalancer"
        }

    async def addresses_become(self, expected: Mapping[str, list[str]]) -> None:
        async def equal() -> bool:
            return await self.addresses() == expected

        await until(equal)

    def status_writes(self) -> int:
        return self.server.audit.count(verbs=("update", "patch"), resource="services/status")


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition, within a deadline."""
    with anyio.fail_after(DEADLINE_S):
        while not await condition():  # noqa: ASYNC110  (conditions are answers of a server)
            await anyio.sleep(0.02)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with ApiServer([listening_socket("127.0.0.1")], plain=True) as server:
        path = tmp_path / "kubeconfig"
        path.write_text(server.kubeconfig())
        async with ApiClient.from_kubeconfig(str(path)) as admin:
            await admin.create("/api/v1/namespaces", {"metadata": {"name": SYSTEM}}, msgspec.Raw)
            yield Bench(server, admin, path)


@asynccontextmanager
async def controller(bench: Bench) -> AsyncIterator[Controller]:
    """A running controller; it is stopped as by SIGTERM."""
    made = Controller(ControllerOptions(namespace=SYSTEM, kubeconfig=str(bench.kubeconfig), version="test"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(made.run)
        yield made
        made.stop()


async def status(made: Controller) -> ControllerStatus:
    return msgspec.json.decode(await made.status({}), type=ControllerStatus)


async def test_services_get_addresses_and_events(bench: Bench) -> None:
    await bench.config("198.18.1.0/30")
    async with controller(bench) as made:
        for name in ("a", "b"):
            await bench.service(name)
        await bench.service("c", loadBalancerIP="198.18.9.9")
        await bench.service("plain", type="ClusterIP")
        await bench.addresses_become({"a": ["198.18.1.0"], "b": ["198.18.1.1"], "c": []})

        async def told() -> bool:
            found, _ = await bench.admin.list("/api/v1/namespaces/default/events", Event)
            return {
                (each.involvedObject["name"], each.reason, each.type, each.message) for each in found
            } == {
                ("a", "IPAllocated", "Normal", 'Assigned IP "198.18.1.0"'),
                ("b", "IPAllocated", "Normal", 'Assigned IP "198.18.1.1"'),
                (
                    "c",
                    "AllocationFailed",
                    "Warning",
                    'Failed to allocate IP for "default/c": "198.18.9.9" is not allowed in config',
                ),
            } and {each.source["component"] for each in found} == {"metallb-controller"}

        await until(told)
        assert made.ready() is None
        assert made.healthy() is None
        document = await status(made)
        assert document.pending == {"default/c": '"198.18.9.9" is not allowed in config'}
        assert [(pool.name, pool.capacity, pool.addresses) for pool in document.pools] == [("default", 4, 2)]
        text = generate_latest(made.registry()).decode()
        for line in (
            'metallb_allocator_addresses_total{pool="default"} 4.0',
            'metallb_allocator_addresses_in_use_total{pool="default"} 2.0',
            'metallb_allocator_services_allocated_total{pool="default"} 2.0',
            "metallb_k8s_client_config_loaded_bool 1.0",
            "metallb_k8s_client_config_stale_bool 0.0",
            "metallb_k8s_client_update_errors_total 0.0",
        ):
            assert line in text.splitlines()


async def test_nothing_changed_means_no_write(bench: Bench) -> None:
    await bench.config("198.18.1.0/28")
    names = [f"s{number}" for number in range(8)]
    for name in names:
        await bench.service(name)
    expected = {name: [f"198.18.1.{number}"] for number, name in enumerate(names)}
    async with controller(bench):
        await bench.addresses_become(expected)
        assert bench.status_writes() == len(names)
    async with controller(bench) as made:
        await bench.config("198.18.1.0/27", first=False)

        async def wider() -> bool:
            return [pool.capacity for pool in (await status(made)).pools] == [32]

        await until(wider)
        await bench.service("last")
        await bench.addresses_become({**expected, "last": ["198.18.1.8"]})
    assert bench.status_writes() == len(names) + 1


async def test_a_restart_keeps_addresses_and_fills_gaps_only_afterwards(bench: Bench) -> None:
    await bench.config("198.18.1.0/29")
    async with controller(bench):
        for number, name in enumerate("zyx"):
            await bench.service(name, loadBalancerIP=f"198.18.1.{number}")
        await bench.addresses_become({"z": ["198.18.1.0"], "y": ["198.18.1.1"], "x": ["198.18.1.2"]})
    await bench.admin.delete(f"{SERVICES}/y")
    await bench.service("a")
    await bench.service("b")
    async with controller(bench):
        await bench.addresses_become(
            {"z": ["198.18.1.0"], "x": ["198.18.1.2"], "a": ["198.18.1.1"], "b": ["198.18.1.3"]}
        )


async def test_a_released_address_goes_to_the_service_that_waits(bench: Bench) -> None:
    await bench.config("198.18.1.0/32")
    async with controller(bench) as made:
        await bench.service("a")
        await bench.addresses_become({"a": ["198.18.1.0"]})
        await bench.service("b")

        async def waits() -> bool:
            return (await status(made)).pending == {"default/b": "no available IPs"}

        await until(waits)
        await bench.admin.delete(f"{SERVICES}/a")
        await bench.addresses_become({"b": ["198.18.1.0"]})


async def test_the_api_server_may_be_away_at_the_start_and_in_the_middle(bench: Bench) -> None:
    await bench.config("198.18.1.0/28")
    await bench.service("a")
    await bench.server.pause()
    async with controller(bench) as made:

        async def troubled() -> bool:
            return set((await status(made)).api_errors) == {"services", "configmaps"}

        await until(troubled)
        missing = made.ready()
        assert missing is not None
        assert missing.startswith("services are not listed yet")
        await bench.server.resume()
        await bench.addresses_become({"a": ["198.18.1.0"]})
        await bench.server.pause()
        await until(troubled)
        assert made.ready() is None
        await bench.server.resume()
        await bench.service("b")
        await bench.addresses_become({"a": ["198.18.1.0"], "b": ["198.18.1.1"]})


async def test_a_write_that_fails_is_tried_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from cluster import status as writer
    from cluster.errors import ApiError
    from controller import main

    refusals = [ApiError(403, "Forbidden", "no"), ApiError(503, "ServiceUnavailable", "busy"), None]
    real = writer.write_ingress

    async def unreliable(*args: Any, **named: Any) -> Service | None:
        refusal = refusals.pop(0) if refusals else None
        if refusal is not None:
            raise refusal
        return await real(*args, **named)

    monkeypatch.setattr(main, "write_ingress", unreliable)
    await bench.config("198.18.1.0/28")
    await bench.service("a")
    async with controller(bench) as made:
        await bench.addresses_become({"a": ["198.18.1.0"]})
        assert "metallb_k8s_client_update_errors_total 2.0" in generate_latest(made.registry()).decode()


async def test_a_bad_config_is_stale_and_the_last_good_one_stays(bench: Bench) -> None:
    await bench.config("198.18.1.0/28")
    async with controller(bench) as made:
        await bench.service("a")
        await bench.addresses_become({"a": ["198.18.1.0"]})
        for addresses, part in (
            ("nonsense", "nonsense"),
            ("198.18.7.0/28", "not compatible with assigned IPs"),
        ):
            await bench.config(addresses, first=False)

            async def stale(part: str = part) -> bool:
                return part in ((await status(made)).config.error or "")

            await until(stale)
        await bench.service("b")
        await bench.addresses_become({"a": ["198.18.1.0"], "b": ["198.18.1.1"]})
        await bench.config("198.18.1.0/29", first=False)

        async def good() -> bool:
            return not (await status(made)).config.stale

        await until(good)


async def test_without_a_config_map_the_controller_waits_and_is_ready(bench: Bench) -> None:
    await bench.service("a")
    async with controller(bench) as made:

        async def ready() -> bool:
            return made.ready() is None

        await until(ready)
        assert await bench.addresses() == {"a": []}
        await bench.config("198.18.1.0/28")
        await bench.addresses_become({"a": ["198.18.1.0"]})


async def test_unusable_credentials_end_the_process_with_one_line(tmp_path: Path) -> None:
    missing = Controller(ControllerOptions(kubeconfig=str(tmp_path / "none")))
    with pytest.raises(CredentialsError, match="none"):
        await missing.run()
