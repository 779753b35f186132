"""The node agent: PID 1 of a node. It registers the Node, runs its Pods and writes its data path.

`python -m chaos.lab.agent FILE`, started by the engine inside the node's namespaces. What a kubelet and a
kube-proxy do, as far as the lab needs it.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import anyio
import msgspec
from anyio.abc import TaskGroup

from chaos.lab import kernel
from chaos.lab.channel import Reply, Request, serve
from chaos.lab.clock import now_micro, now_text
from chaos.lab.conntrack import forget_all
from chaos.lab.dataplane import Applier
from chaos.lab.errors import LabError
from chaos.lab.objects import EndpointSlice, Node, Pod, Service
from chaos.lab.plan import API_ADDRESS, API_PORT, NodePlan, node_plan
from chaos.lab.pod import Host, PodWorker
from chaos.lab.podnet import AddressBook
from chaos.lab.settings import AgentSettings
from chaos.lab.tools import set_sysctl
from cluster.client import ApiClient
from cluster.credentials import Access, StaticToken, client_tls
from cluster.errors import ApiError, ClusterError
from cluster.events import EventRecorder
from cluster.reflector import Reflector
from cluster.watch import Change, Deleted, Upserted
from cluster.wire import KubeObject

K = TypeVar("K", bound=KubeObject)

VERSION = "v1.32.0"
_SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv4/conf/all/send_redirects": "0",
    "net/ipv4/conf/default/send_redirects": "0",
    "net/ipv4/conf/eth0/send_redirects": "0",
}


def _note(text: str) -> None:
    print(now_text(), text, file=sys.stderr, flush=True)


class Agent:
    """One node."""

    def __init__(self, settings: AgentSettings, api: ApiClient, tasks: TaskGroup) -> None:
        self._settings = settings
        self._plan: NodePlan = node_plan(settings.index, settings.lab.internal_network)
        self._api = api
        self._tasks = tasks
        self._rng = random.Random(settings.index)
        self._workers: dict[str, PodWorker] = {}
        self._saying = False
        work = Path(f"/run/lab/{self._plan.name}")
        # A machine that was off has lost what was in its memory.
        shutil.rmtree(work, ignore_errors=True)
        root = work / "root"
        root.mkdir(parents=True)
        self._events = EventRecorder(api, component="kubelet", host=self._plan.name, rng=self._rng)
        self._host = Host(
            plan=self._plan,
            api=api,
            events=self._events,
            addresses=AddressBook(self._plan.pod_network),
            settings=settings.lab,
            work=work,
            logs=Path(settings.run_dir) / "logs" / self._plan.name,
            root=str(root),
            one_user=kernel.maps_one_user(),
            note=_note,
        )

    async def run(self) -> None:
        """Run until the node is powered off."""
        for name, value in _SYSCTLS.items():
            set_sysctl(name, value)
        # Rules of the network namespace that outlived the power are gone already; so must be what it remembers.
        forget_all()
        await self._register()
        self._tasks.start_soon(self._events.run)
        self._tasks.start_soon(self._heartbeat)
        applier = Applier(self._plan, note=_note)
        self._tasks.start_soon(applier.run)
        by_node = f"spec.nodeName={self._plan.name}"
        self._tasks.start_soon(self._reflector("/api/v1/pods", Pod, by_node).run, self._on_pod)
        self._tasks.start_soon(
            self._reflector("/api/v1/nodes", Node, f"metadata.name={self._plan.name}").run, self._on_node
        )
        services = self._reflector("/api/v1/services", Service, "")
        slices = self._reflector("/apis/discovery.k8s.io/v1/endpointslices", EndpointSlice, "")
        self._tasks.start_soon(services.run, applier.on_service)
        self._tasks.start_soon(slices.run, applier.on_slice)

    def _reflector(self, path: str, item: type[K], field_selector: str) -> Reflector[K]:
        return Reflector(
            self._api,
            path,
            item,
            field_selector=field_selector,
            rng=self._rng,
            on_trouble=lambda trouble: _note(f"{path}: {trouble}"),
        )

    # -- pods ---------------------------------------------------------------------------------------------

    def _on_pod(self, change: Change[Pod]) -> None:
        match change:
            case Upserted(obj=pod):
                uid = pod.metadata.uid
                before = change.old
                if before is not None and before.metadata.uid != uid and before.metadata.uid in self._workers:
                    self._workers[before.metadata.uid].gone()
                if uid in self._workers:
                    self._workers[uid].update(pod)
                elif not (pod.finished and pod.metadata.deletion_timestamp is None):
                    worker = self._workers[uid] = PodWorker(self._host, pod)
                    self._tasks.start_soon(self._work, worker)
            case Deleted(obj=pod):
                if pod.metadata.uid in self._workers:
                    self._workers[pod.metadata.uid].gone()
            case _:
                pass

    async def _work(self, worker: PodWorker) -> None:
        await worker.run()
        del self._workers[worker.pod.metadata.uid]

    async def perform(self, request: Request) -> Reply:
        """A command of the engine. Raises LabError."""
        found = (worker.running(request.what) for worker in self._workers.values())
        run = next((run for run in found if run is not None), None)
        if run is None:
            raise LabError(f"no container {request.what!r} runs on {self._plan.name}")
        match request.op:
            case "kill":
                return Reply(at=run.signal(request.signal), pid=run.pid)
            case "kill_children":
                return Reply(at=run.signal_children(request.signal), pid=run.pid)
            case "throttle":
                at = await run.throttle(request.seconds, stop_s=request.stop_s, run_s=request.run_s)
                return Reply(at=at, pid=run.pid)
            case _:
                raise LabError(f"{request.op}: not for a node agent")

    # -- the Node -----------------------------------------------------------------------------------------

    def _on_node(self, change: Change[Node]) -> None:
        if isinstance(change, Upserted) and not change.obj.ready and not self._saying:
            # The control plane gave this node up while it could not be heard.
            self._saying = True
            self._tasks.start_soon(self._retried, "say that the node is ready", self._say_ready)

    async def _register(self) -> None:
        plan = self._plan
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": plan.name,
                "labels": {
                    "kubernetes.io/hostname": plan.name,
                    "kubernetes.io/os": "linux",
                    "kubernetes.io/arch": "amd64",
                    "beta.kubernetes.io/os": "linux",
                },
            },
            "spec": {"podCIDR": str(plan.pod_network), "podCIDRs": [str(plan.pod_network)]},
        }
        await self._retried("register", lambda: self._create("/api/v1/nodes", node))
        await self._retried("say that the node is ready", self._say_ready)

    async def _create(self, path: str, body: object) -> None:
        try:
            await self._api.create(path, body, msgspec.Raw)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise

    async def _retried(self, what: str, attempt: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                return await attempt()
            except ClusterError as error:
                _note(f"{what}: {error}")
            await anyio.sleep(1)

    async def _say_ready(self) -> None:
        now = now_text()
        conditions = [
            _condition(kind, status, reason, text, now)
            for kind, status, reason, text in (
                ("NetworkUnavailable", "False", "RouteCreated", "the lab made the routes"),
                (
                    "MemoryPressure",
                    "False",
                    "KubeletHasSufficientMemory",
                    "kubelet has sufficient memory available",
                ),
                ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
                ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
                ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
            )
        ]
        size = {"cpu": "2", "memory": "8Gi", "pods": "110"}
        status = {
            "conditions": conditions,
            "addresses": [
                {"type": "InternalIP", "address": str(self._plan.internal_ip)},
                {"type": "Hostname", "address": self._plan.name},
            ],
            "capacity": size,
            "allocatable": size,
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "nodeInfo": {
                "kubeletVersion": VERSION,
                "kubeProxyVersion": VERSION,
                "osImage": "vipring lab",
                "kernelVersion": os.uname().release,
                "containerRuntimeVersion": "lab://1",
                "operatingSystem": "linux",
                "architecture": "amd64",
                "machineID": self._plan.name,
                "systemUUID": self._plan.name,
                "bootID": self._plan.name,
            },
        }
        await self._api.patch(f"/api/v1/nodes/{self._plan.name}/status", {"status": status}, msgspec.Raw)
        self._saying = False

    async def _heartbeat(self) -> None:
        """Renew the Lease; its age is what tells a dead node."""
        path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._plan.name},
            "spec": {
                "holderIdentity": self._plan.name,
                "leaseDurationSeconds": int(4 * self._settings.lab.heartbeat_s),
                "renewTime": now_micro(),
            },
        }
        await self._retried("create the lease", lambda: self._create(path, lease))
        while True:
            renewal = {"spec": {"renewTime": now_micro()}}
            try:
                await self._api.patch(f"{path}/{self._plan.name}", renewal, msgspec.Raw)
            except ClusterError as error:
                _note(f"renew the lease: {error}")
            await anyio.sleep(self._settings.lab.heartbeat_s)


def _condition(kind: str, status: str, reason: str, text: str, now: str) -> dict[str, str]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": text,
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }


async def _run(settings: AgentSettings) -> None:
    access = Access(
        server=f"https://{API_ADDRESS}:{API_PORT}",
        tls=client_tls(ca_data=settings.ca_pem.encode()),
        token=StaticToken(settings.token, "lab"),
    )
    async with ApiClient(access, user_agent="lab-agent") as api, anyio.create_task_group() as tasks:
        agent = Agent(settings, api, tasks)
        tasks.start_soon(agent.run)
        await serve(0, 1, agent.perform)
        tasks.cancel_scope.cancel()


def main() -> int:
    """Run one node until the engine has gone."""
    anyio.run(_run, msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=AgentSettings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
