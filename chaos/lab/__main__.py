"""`python -m chaos.lab` and `vipring lab`: a cluster in a box, left running until Ctrl-C."""

from __future__ import annotations

import argparse
import base64
import secrets
import signal
import sys
from collections.abc import Sequence

import anyio

from chaos import install
from chaos.lab.errors import LabError
from chaos.lab.lab import Lab
from cluster.errors import ClusterError
from cluster.objects import Pod

_READY_WITHIN_S = 60.0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def _serve(nodes: int, with_vipring: bool) -> int:
    """Hold a lab until a signal comes; the exit code."""
    code = 0
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async with anyio.create_task_group() as tasks:

            async def hold() -> None:
                nonlocal code
                try:
                    await _hold(nodes, with_vipring)
                except (LabError, ClusterError) as error:
                    _say(f"lab: {error}")
                    code = 1
                tasks.cancel_scope.cancel()

            tasks.start_soon(hold)
            async for _ in signals:
                tasks.cancel_scope.cancel()
                break
    return code


async def _hold(nodes: int, with_vipring: bool) -> None:
    async with Lab(nodes, say=_say) as lab:
        if with_vipring:
            await install_vipring(lab)
        print(lab.describe(), end="\n\n")
        print(f"export KUBECONFIG={lab.kubeconfig}")
        if with_vipring:
            for pod in await _speakers(lab):
                print(f"kubectl get --raw {status_path(pod)}   # {pod.spec.node_name}")
        print("stop with Ctrl-C", flush=True)
        await anyio.sleep_forever()


async def _speakers(lab: Lab) -> list[Pod]:
    pods, _ = await lab.api.list(
        f"/api/v1/namespaces/{install.NAMESPACE}/pods", Pod, label_selector="app=metallb,component=speaker"
    )
    return sorted(pods, key=lambda pod: pod.spec.node_name)


def status_path(pod: Pod) -> str:
    """Where the API server shows the `/status` of a speaker."""
    return f"/api/v1/namespaces/{pod.metadata.namespace}/pods/{pod.metadata.name}:7472/proxy/status"


async def install_vipring(lab: Lab) -> None:
    """The shipped manifests, a fresh secret and a layer 2 pool; returns when a speaker answers on every node."""
    await lab.apply(install.manifest("namespace.yaml"))
    await lab.apply(install.secret(base64.b64encode(secrets.token_bytes(128)).decode()))
    await lab.apply(install.pool_config())
    await lab.apply(install.manifest("vipring.yaml"))

    async def answer() -> bool:
        pods = await _speakers(lab)
        for pod in pods:
            await lab.api.raw("GET", status_path(pod))
        return len(pods) == len(lab.nodes)

    await lab.wait(answer, _READY_WITHIN_S, "a speaker on every node")
    _say(f"vipring is installed, pool {install.POOL}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a lab; the exit code is 1 when it could not be started."""
    parser = argparse.ArgumentParser(
        prog="vipring lab",
        description="A cluster in a box, left running until Ctrl-C: network namespaces, an API server, node agents.",
        epilog="example: vipring lab --nodes 5, then in another shell: export KUBECONFIG=…; kubectl get pods -A",
    )
    parser.add_argument("--nodes", type=int, default=3, metavar="N", help="number of nodes (default: 3)")
    parser.add_argument(
        "--install",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="install vipring with a fresh secret and a pool (default), or leave the cluster empty",
    )
    given = parser.parse_args(argv)
    try:
        return anyio.run(_serve, given.nodes, given.install)
    except LabError as error:
        _say(f"lab: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
