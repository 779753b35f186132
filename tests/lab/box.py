"""Pods, Services and waiting for them, in the lab that the tests of the lab itself share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import anyio

from chaos.lab.errors import DeadlineError
from chaos.lab.lab import Lab
from chaos.lab.objects import Endpoint, EndpointSlice, Pod
from chaos.lab.settings import LabSettings

T = TypeVar("T")

SETTINGS = LabSettings(
    heartbeat_s=1.0, node_grace_s=4.0, eviction_s=1000.0, restart_backoff_s=1.0, volume_sync_s=1.0
)
PODS = "/api/v1/namespaces/default/pods"
SOON_S = 20.0


async def wait(lab: Lab, condition: Callable[[], Awaitable[T]], seconds: float, what: str) -> T:
    """Lab.wait that shows the state of the lab when it was in vain."""
    try:
        return await lab.wait(condition, seconds, what)
    except DeadlineError:
        for file in ("engine.log", "n1.log", "n2.log", "n3.log"):
            print(file, (await anyio.Path(lab.run_dir, file).read_text())[-2000:])
        for kind in ("/api/v1/nodes", "/api/v1/pods", "/apis/apps/v1/daemonsets", "/api/v1/events"):
            print(kind, (await lab.api.raw("GET", kind)).decode()[:10000])
        raise


def shell_pod(name: str, script: str, **spec: object) -> dict[str, object]:
    """A Pod that runs a shell script; it ends on SIGTERM unless the script says otherwise."""
    container = {"name": name, "image": "debian:12", "command": ["sh", "-c", script]}
    for field in ("env", "volumeMounts", "securityContext", "livenessProbe", "readinessProbe"):
        if field in spec:
            container[field] = spec.pop(field)  # type: ignore[assignment]
    whole = {"containers": [container], "terminationGracePeriodSeconds": 1, **spec}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": whole,
    }


def service(name: str, port: int, **spec: object) -> dict[str, object]:
    ports = [{"name": "p", "port": port, "targetPort": port}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": ports, **spec},
    }


async def pod(lab: Lab, name: str) -> Pod:
    return await lab.api.get(f"{PODS}/{name}", Pod)


async def until(lab: Lab, name: str, what: str, holds: Callable[[Pod], bool]) -> Pod:
    """Wait for a Pod to be as described."""

    async def there() -> Pod | None:
        found = await pod(lab, name)
        return found if holds(found) else None

    found = await wait(lab, there, SOON_S, f"pod {name} {what}")
    assert found is not None
    return found


async def log(lab: Lab, name: str, ending: str = "done\n") -> str:
    """The log of a Pod once its script has written the last line."""

    async def whole() -> str:
        text = (await lab.api.raw("GET", f"{PODS}/{name}/log")).decode()
        return text if text.endswith(ending) else ""

    return await wait(lab, whole, SOON_S, f"log of {name} ends with {ending!r}")


async def delete(lab: Lab, *names: str) -> None:
    """Delete Pods and wait until they have gone."""
    for name in names:
        await lab.api.delete(f"{PODS}/{name}")

    async def gone() -> bool:
        pods, _ = await lab.api.list(PODS, Pod)
        return not {p.metadata.name for p in pods} & set(names)

    await wait(lab, gone, SOON_S, f"pods {names} gone")


async def endpoints(lab: Lab, name: str) -> list[Endpoint]:
    found, _ = await lab.api.list(
        "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
        EndpointSlice,
        label_selector=f"kubernetes.io/service-name={name}",
    )
    return [endpoint for one in found for endpoint in one.endpoints or ()]


async def ready_on(lab: Lab, name: str, nodes: Sequence[str]) -> None:
    async def there() -> bool:
        return sorted(str(e.node_name) for e in await endpoints(lab, name) if e.conditions.ready) == list(
            nodes
        )

    await wait(lab, there, SOON_S, f"endpoints of {name} ready on {nodes}")


def restarts(found: Pod) -> int:
    return sum(s.restart_count for s in found.status.container_statuses)


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
