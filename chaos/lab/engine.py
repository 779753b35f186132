"""PID 1 of a lab: the switch, the API server, the control loops, and the nodes as child processes.

Runs in the lab's own user (where needed), pid, network and mount namespaces; commands come on standard input.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import anyio
import msgspec
from anyio.abc import TaskGroup

from chaos.lab.apiserver.logs import FileLogs
from chaos.lab.apiserver.podio import PodIo
from chaos.lab.apiserver.server import ApiServer, listening_socket
from chaos.lab.channel import Reply, Request, serve, write
from chaos.lab.containerlogs import ContainerLogs
from chaos.lab.controllers import run_controllers
from chaos.lab.errors import LabError
from chaos.lab.node import NodeProcess
from chaos.lab.plan import API_ADDRESS, API_PORT, HOSTS, LabPlan, NodePlan
from chaos.lab.settings import AgentSettings, EngineSettings
from chaos.lab.switch import FILTER, cut, host_script, mend, node_script, switch_script
from chaos.lab.tools import ip_batch, nft, run_tool, set_sysctl
from cluster.client import ApiClient
from cluster.credentials import Access, StaticToken, client_tls

_OUT = 1


def run_engine(settings: EngineSettings) -> None:
    """Run a lab until standard input ends."""
    anyio.run(_run, settings)


def _say(text: str) -> None:
    write(_OUT, Reply(event="say", text=text))


async def _run(settings: EngineSettings) -> None:
    plan = LabPlan.of(settings.lab.nodes, settings.lab.internal_network)
    await _make_switch(plan)
    run_dir = Path(settings.run_dir)
    listeners = [socket.socket(fileno=settings.listener), listening_socket(str(API_ADDRESS), API_PORT)]
    host, port = listeners[0].getsockname()[:2]
    logs = ContainerLogs(run_dir / "logs")
    pods = PodIo(logs=FileLogs(logs.path_of, logs.running))
    async with ApiServer(listeners, pods=pods, rbac=True) as server:
        _write_private(run_dir / "kubeconfig", server.kubeconfig(f"https://{host}:{port}"))
        access = Access(
            server=f"https://{API_ADDRESS}:{API_PORT}",
            tls=client_tls(ca_data=server.ca_pem.encode()),
            token=StaticToken(server.add_token("system:kube-controller-manager"), "lab"),
        )
        async with anyio.create_task_group() as tasks, ApiClient(access, user_agent="lab-controllers") as api:
            nodes = {node.name: _node(server, settings, node) for node in plan.nodes}
            for node in nodes.values():
                node.start(tasks)
            await _publish_itself(api)
            tasks.start_soon(run_controllers, api, settings.lab)
            write(_OUT, Reply(event="ready"))
            await serve(sys.stdin.fileno(), _OUT, Control(nodes, tasks).perform)
            tasks.cancel_scope.cancel()


async def _make_switch(plan: LabPlan) -> None:
    await ip_batch(switch_script(plan))
    await nft(FILTER)
    set_sysctl("net/ipv4/ip_forward", "1")
    async with anyio.create_task_group() as tasks:
        for host in HOSTS:
            tasks.start_soon(_configure, host.name, host_script(host))
        for node in plan.nodes:
            tasks.start_soon(_configure, node.name, node_script(node, plan))


async def _configure(name: str, script: list[str]) -> None:
    await ip_batch(script, namespace=name)


async def _publish_itself(api: ApiClient) -> None:
    """The endpoints of Service default/kubernetes: the API server keeps them itself, in real clusters too."""
    port = {"name": "https", "port": API_PORT, "protocol": "TCP"}
    name = {"name": "kubernetes", "namespace": "default"}
    labelled: dict[str, object] = {**name, "labels": {"kubernetes.io/service-name": "kubernetes"}}
    await api.create(
        "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
        {
            "metadata": labelled,
            "addressType": "IPv4",
            "endpoints": [{"addresses": [str(API_ADDRESS)], "conditions": {"ready": True}}],
            "ports": [port],
        },
        msgspec.Raw,
    )
    await api.create(
        "/api/v1/namespaces/default/endpoints",
        {"metadata": name, "subsets": [{"addresses": [{"ip": str(API_ADDRESS)}], "ports": [port]}]},
        msgspec.Raw,
    )


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")


def _node(server: ApiServer, settings: EngineSettings, plan: NodePlan) -> NodeProcess:
    agent = AgentSettings(
        index=plan.index,
        run_dir=settings.run_dir,
        server=f"https://{API_ADDRESS}:{API_PORT}",
        token=server.add_token(f"system:node:{plan.name}"),
        ca_pem=server.ca_pem,
        lab=settings.lab,
    )
    return NodeProcess(plan, agent, _say)


class Control:
    """Carries out the handle's requests."""

    def __init__(self, nodes: Mapping[str, NodeProcess], tasks: TaskGroup) -> None:
        self._nodes = nodes
        self._tasks = tasks

    async def perform(self, request: Request) -> Reply:
        """One request. Raises LabError."""
        node = self._nodes.get(request.node)
        if node is None:
            raise LabError("there is no such node")
        match request.op:
            case "power_off":
                return Reply(at=await self._power_off(node))
            case "power_on":
                return Reply(at=await self._power_on(node))
            case "kill" | "kill_children" as op:
                return await node.signal_container(op, request.what, request.signal)
            case "throttle":
                return await node.throttle_container(request)
            case "disconnect":
                await nft(cut([_port(node.plan, request.what)]))
            case "connect":
                await nft(mend([_port(node.plan, request.what)]))
        return Reply(at=time.monotonic())

    async def _power_off(self, node: NodeProcess) -> float:
        if not node.running:
            raise LabError("is off already")
        await nft(cut([node.plan.data_port, node.plan.mgmt_port]))
        at = time.monotonic()
        await node.kill()
        return at

    async def _power_on(self, node: NodeProcess) -> float:
        if node.running:
            raise LabError("is on already")
        # A machine that was off knows no neighbours and has no rules.
        await ip_batch(["neigh flush all"], namespace=node.plan.name)
        await run_tool(["nsenter", f"--net=/run/netns/{node.plan.name}", "nft", "flush", "ruleset"])
        await nft(mend([node.plan.data_port, node.plan.mgmt_port]))
        node.start(self._tasks)
        return time.monotonic()


def _port(plan: NodePlan, network: str) -> str:
    match network:
        case "data":
            return plan.data_port
        case "mgmt":
            return plan.mgmt_port
        case _:
            raise LabError(f"network {network!r}: must be data or mgmt")
