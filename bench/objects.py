"""An API server with so many Services in it, as a process of its own: `python -m bench.objects --help`.

Prints `ready` once it serves. Every Service has an address of the pool and one EndpointSlice of two endpoints, whose nodes
are those of the cluster in turn. On SIGUSR1 it makes its one client list Services and EndpointSlices anew and prints `listed`
when it has asked for the last page.
"""

import argparse
import signal
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

import anyio

from chaos.lab.apiserver.faults import Faults
from chaos.lab.apiserver.server import ApiServer, listening_socket
from chaos.lab.apiserver.store import Store

NAMESPACE: Final = "metallb-system"
LABELS: Final = {"app": "metallb", "component": "speaker"}
FIRST_NODE: Final = IPv4Address("198.18.0.11")
FIRST_VIP: Final = IPv4Address("198.18.64.0")
POOL: Final = "198.18.64.0/18"
ENDPOINTS: Final = 2
_LISTED: Final = ("services", "endpointslices.discovery.k8s.io")
_PAGE: Final = 250
_POLL_S: Final = 0.02


def nodes(store: Store, count: int) -> None:
    """Nodes n1 …, each with the Pod of its speaker, and the configuration."""
    kinds = store.kinds
    store.create(kinds.by_resource("namespaces"), "", {"metadata": {"name": NAMESPACE}})
    config = f"address-pools:\n- {{name: lan, protocol: layer2, addresses: [{POOL}]}}\n"
    store.create(
        kinds.by_resource("configmaps"),
        NAMESPACE,
        {"metadata": {"name": "config"}, "data": {"config": config}},
    )
    pods = kinds.by_resource("pods")
    for number in range(1, count + 1):
        store.create(kinds.by_resource("nodes"), "", {"metadata": {"name": f"n{number}"}})
        spec = {"nodeName": f"n{number}", "containers": [{"name": "speaker", "image": "vipring"}]}
        pod = store.create(
            pods, NAMESPACE, {"metadata": {"name": f"speaker-n{number}", "labels": LABELS}, "spec": spec}
        ).obj
        status = {"phase": "Running", "podIP": str(FIRST_NODE + number - 1)}
        store.update(pods, NAMESPACE, f"speaker-n{number}", {**pod, "status": status}, status=True)


def service(store: Store, number: int, among: int) -> None:
    """One Service with an address and its EndpointSlice."""
    kinds = store.kinds
    services = kinds.by_resource("services")
    name = f"web-{number}"
    # There are fewer node ports than Services.
    spec = {"type": "LoadBalancer", "ports": [{"port": 80}], "allocateLoadBalancerNodePorts": False}
    made = store.create(
        services,
        "default",
        {"metadata": {"name": name}, "spec": spec},
    ).obj
    status = {"loadBalancer": {"ingress": [{"ip": str(FIRST_VIP + number)}]}}
    store.update(services, "default", name, {**made, "status": status}, status=True)
    endpoints = [
        {
            "addresses": [str(IPv4Address("198.19.0.0") + ENDPOINTS * number + each)],
            "nodeName": f"n{(number + each) % among + 1}",
            "conditions": {"ready": True, "serving": True, "terminating": False},
        }
        for each in range(ENDPOINTS)
    ]
    store.create(
        kinds.by_resource("endpointslices.discovery.k8s.io"),
        "default",
        {
            "metadata": {"name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": [{"port": 8080}],
        },
    )


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    while True:
        if condition():
            return
        await anyio.sleep(_POLL_S)


async def list_anew(server: ApiServer, services: int) -> None:
    """Cut the watches, say once that their version is too old, and wait for the lists."""

    def pages() -> list[int]:
        return [server.audit.count(verbs=("list",), resource=resource) for resource in _LISTED]

    before, whole = pages(), -(-services // _PAGE)
    server.set_faults(Faults(drop=True, gone="status", resources=_LISTED))
    await until(lambda: all(now > then for now, then in zip(pages(), before, strict=True)))
    server.set_faults(Faults())
    await until(lambda: all(now >= then + whole for now, then in zip(pages(), before, strict=True)))
    print("listed", flush=True)


async def serve(address: str, kubeconfig: Path, node_count: int, service_count: int) -> None:
    """Serve until SIGTERM."""
    async with ApiServer([listening_socket(address)]) as server:
        nodes(server.store, node_count)
        for number in range(service_count):
            service(server.store, number, node_count)
        await anyio.Path(kubeconfig).write_text(server.kubeconfig())
        print("ready", flush=True)
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGUSR1) as signals:
            async for number in signals:
                if number == signal.SIGTERM:
                    break
                await list_anew(server, service_count)


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(prog="python -m bench.objects", description=__doc__)
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument("--services", type=int, required=True)
    args = parser.parse_args()
    anyio.run(serve, args.address, args.kubeconfig, args.nodes, args.services)


if __name__ == "__main__":
    main()
