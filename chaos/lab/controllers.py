"""The control loops of a cluster, over the API alone: workloads, scheduler, endpoints, node lifecycle, Pod garbage.

Level-triggered: whatever changed, the loops look at everything and do what is missing. Decisions are in workloads.py,
scheduling.py, endpoints.py and lifecycle.py; this is the shell.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import anyio
import msgspec

from chaos.lab import endpoints, scheduling, workloads
from chaos.lab.clock import now_text
from chaos.lab.lifecycle import Lifecycle, NodeChange
from chaos.lab.objects import DaemonSet, Deployment, EndpointSlice, Lease, Node, Pod, PodTemplate, Service
from chaos.lab.podview import PodView
from chaos.lab.settings import LabSettings
from cluster.client import ApiClient
from cluster.errors import ApiError, ClusterError
from cluster.events import EventRecorder, reference
from cluster.objects import ObjectMeta
from cluster.reflector import Reflector
from cluster.watch import Change, Deleted, Upserted
from cluster.wire import KubeObject

K = TypeVar("K", bound=KubeObject)

# Changes come in flocks; one look serves a flock.
_SETTLE_S = 0.03
_RETRY_S = 1.0
_LIFECYCLE_S = 1.0


async def run_controllers(api: ApiClient, settings: LabSettings) -> None:
    """Run all loops until cancelled."""
    await Controllers(api, settings).run()


class Controllers:
    """All control loops of one cluster."""

    def __init__(self, api: ApiClient, settings: LabSettings) -> None:
        self._api = api
        self._rng = random.Random(0)
        self._events = EventRecorder(api, component="lab-controllers", rng=self._rng)
        self._changed = anyio.Event()
        self._nodes = self._reflector("/api/v1/nodes", Node)
        self._pods = self._reflector("/api/v1/pods", Pod)
        self._services = self._reflector("/api/v1/services", Service)
        self._slices = self._reflector("/apis/discovery.k8s.io/v1/endpointslices", EndpointSlice)
        self._deployments = self._reflector("/apis/apps/v1/deployments", Deployment)
        self._daemons = self._reflector("/apis/apps/v1/daemonsets", DaemonSet)
        self._leases = self._reflector(
            "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", Lease
        )
        self._view = PodView(self._pods.store)
        self._lifecycle = Lifecycle(settings.node_grace_s, settings.eviction_s)
        # What was written last, by path: nothing is written twice.
        self._written: dict[str, object] = {}
        self._with_endpoints: dict[str, str] = {}

    def _reflector(self, path: str, item: type[K]) -> Reflector[K]:
        return Reflector(self._api, path, item, rng=self._rng)

    async def run(self) -> None:
        """Run until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._events.run)
            tasks.start_soon(self._pods.run, self._on_pod)
            for run in (
                self._nodes.run,
                self._services.run,
                self._deployments.run,
                self._daemons.run,
            ):
                tasks.start_soon(run, self._on_any)
            tasks.start_soon(self._slices.run, self._on_slice)
            tasks.start_soon(self._leases.run, self._on_lease)
            tasks.start_soon(self._watch_nodes)
            while True:
                with anyio.move_on_after(self._view.expiry_s):
                    await self._changed.wait()
                await anyio.sleep(_SETTLE_S)
                self._changed = anyio.Event()
                if not await self._guarded("look", self._look):
                    self._changed.set()
                    await anyio.sleep(_RETRY_S)

    def _on_any(self, _: Change[K]) -> None:
        self._changed.set()

    def _on_pod(self, change: Change[Pod]) -> None:
        if isinstance(change, Upserted | Deleted):
            self._view.seen(change.obj.metadata.key)
        self._changed.set()

    def _on_slice(self, change: Change[EndpointSlice]) -> None:
        if isinstance(change, Deleted):
            self._written.pop(_path_of("slices", change.obj.metadata), None)
        self._changed.set()

    def _on_lease(self, change: Change[Lease]) -> None:
        if isinstance(change, Upserted):
            self._lifecycle.renewed(change.obj.metadata.name, change.obj.spec.renew_time, time.monotonic())

    async def _guarded(self, what: str, attempt: Callable[[], Awaitable[None]]) -> bool:
        """False when the API refused or did not answer; the next look tries again."""
        try:
            await attempt()
        except ClusterError as error:
            print(now_text(), f"controllers: {what}: {error}", file=sys.stderr, flush=True)
            return False
        return True

    # -- one look -----------------------------------------------------------------------------------------

    async def _look(self) -> None:
        everything = (self._nodes, self._pods, self._services, self._deployments, self._daemons)
        if not all(reflector.synced for reflector in everything):
            return
        nodes = [self._nodes.store[key] for key in sorted(self._nodes.store)]
        for daemons in list(self._daemons.store.values()):
            await self._daemon_set(daemons, nodes)
        for deployment in list(self._deployments.store.values()):
            await self._deployment(deployment)
        await self._schedule(nodes)
        await self._endpoints()
        await self._collect(nodes)

    def _owned(self, meta: ObjectMeta) -> list[Pod]:
        return [p for p in self._view.all(time.monotonic()) if scheduling.owner_uid(p) == meta.uid]

    async def _daemon_set(self, daemons: DaemonSet, nodes: Sequence[Node]) -> None:
        meta = daemons.metadata
        if meta.deletion_timestamp is None:
            work = workloads.daemon_work(daemons, nodes, self._owned(meta))
            labels = {workloads.REVISION_LABEL: workloads.template_hash(daemons.spec.template)}
            await self._do(work, "DaemonSet", meta, daemons.spec.template, labels)
        status = workloads.daemon_status(daemons, nodes, self._owned(meta))
        await self._status(f"/apis/apps/v1/namespaces/{meta.namespace}/daemonsets/{meta.name}", meta, status)

    async def _deployment(self, deployment: Deployment) -> None:
        meta = deployment.metadata
        if meta.deletion_timestamp is None:
            work = workloads.deployment_work(deployment, self._owned(meta))
            labels = {workloads.HASH_LABEL: workloads.template_hash(deployment.spec.template)}
            await self._do(work, "Deployment", meta, deployment.spec.template, labels)
        status = workloads.deployment_status(deployment, self._owned(meta))
        enough = status["readyReplicas"] >= deployment.spec.replicas
        condition = {"type": "Available", "status": "True" if enough else "False"}
        condition["reason"] = "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable"
        path = f"/apis/apps/v1/namespaces/{meta.namespace}/deployments/{meta.name}"
        await self._status(path, meta, {**status, "conditions": [condition]})

    async def _do(
        self,
        work: workloads.Work,
        kind: str,
        meta: ObjectMeta,
        template: PodTemplate,
        labels: Mapping[str, str],
    ) -> None:
        for pod in work.delete:
            await self._delete(pod)
        for node in work.create:
            spec = msgspec.json.decode(template.spec, type=dict[str, object])
            owner = {
                "apiVersion": "apps/v1",
                "kind": kind,
                "name": meta.name,
                "uid": meta.uid,
                "controller": True,
            }
            middle = labels[workloads.HASH_LABEL] + "-" if workloads.HASH_LABEL in labels else ""
            body = {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "generateName": f"{meta.name}-{middle}",
                    "namespace": meta.namespace,
                    "labels": {**template.metadata.labels, **labels},
                    "annotations": template.metadata.annotations,
                    "ownerReferences": [{**owner, "blockOwnerDeletion": True}],
                },
                "spec": {**spec, **({"nodeName": node} if node else {})},
            }
            made = await self._api.create(f"/api/v1/namespaces/{meta.namespace}/pods", body, Pod)
            self._view.made(made, time.monotonic())
            self._events.event(
                reference(kind, meta, "apps/v1"),
                "Normal",
                "SuccessfulCreate",
                f"Created pod: {made.metadata.name}",
            )

    async def _delete(self, pod: Pod, **options: str) -> None:
        path = f"/api/v1/namespaces/{pod.metadata.namespace}/pods/{pod.metadata.name}"
        try:
            await self._api.delete(path, **options)
        except ApiError as error:
            if not error.not_found:
                raise
        self._view.deleted(pod, time.monotonic())

    async def _status(self, path: str, meta: ObjectMeta, status: Mapping[str, object]) -> None:
        key = f"{path} {meta.uid}"
        if self._written.get(key) == status:
            return
        stamped = dict(status)
        if "conditions" in stamped:
            stamped["conditions"] = [
                {**c, "lastTransitionTime": now_text(), "lastUpdateTime": now_text()}
                for c in msgspec.convert(stamped["conditions"], list[dict[str, str]])
            ]
        try:
            await self._api.patch(f"{path}/status", {"status": stamped}, msgspec.Raw)
        except ApiError as error:
            if not error.not_found:
                raise
        self._written[key] = status

    # -- scheduler ----------------------------------------------------------------------------------------

    async def _schedule(self, nodes: Sequence[Node]) -> None:
        pods = self._view.all(time.monotonic())
        for pod in pods:
            if pod.spec.node_name or pod.finished or pod.metadata.deletion_timestamp is not None:
                continue
            node, reasons = scheduling.choose(pod, nodes, self._view.all(time.monotonic()))
            path = f"/api/v1/namespaces/{pod.metadata.namespace}/pods/{pod.metadata.name}"
            who = reference("Pod", pod.metadata)
            if node is None:
                text = f"0/{len(nodes)} nodes are available: "
                text += ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items())) + "."
                await self._unschedulable(path, pod, text)
                continue
            target = {"apiVersion": "v1", "kind": "Node", "name": node}
            body = {
                "apiVersion": "v1",
                "kind": "Binding",
                "metadata": {"name": pod.metadata.name},
                "target": target,
            }
            try:
                await self._api.create(f"{path}/binding", body, msgspec.Raw)
            except ApiError as error:
                if not (error.not_found or error.conflict):
                    raise
                continue
            self._view.bound(pod, node, time.monotonic())
            self._events.event(
                who, "Normal", "Scheduled", f"Successfully assigned {pod.metadata.key} to {node}"
            )

    async def _unschedulable(self, path: str, pod: Pod, text: str) -> None:
        key = f"{path} {pod.metadata.uid}"
        if self._written.get(key) == text:
            return
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": text,
            "lastTransitionTime": now_text(),
        }
        self._events.event(reference("Pod", pod.metadata), "Warning", "FailedScheduling", text)
        await self._api.patch(f"{path}/status", {"status": {"conditions": [condition]}}, msgspec.Raw)
        self._written[key] = text

    # -- endpoints ----------------------------------------------------------------------------------------

    async def _endpoints(self) -> None:
        pods = self._view.all(time.monotonic())
        by_namespace: dict[str, list[Pod]] = {}
        for pod in pods:
            by_namespace.setdefault(pod.metadata.namespace, []).append(pod)
        for service in list(self._services.store.values()):
            if not service.spec.selector or service.metadata.deletion_timestamp is not None:
                continue
            await self._service(service, by_namespace.get(service.metadata.namespace, []))
        if self._slices.synced:
            await self._superfluous()

    async def _service(self, service: Service, pods: Sequence[Pod]) -> None:
        namespace = service.metadata.namespace
        base = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        for name, body in endpoints.slices(service, pods).items():
            meta = ObjectMeta(name=name, namespace=namespace)
            await self._put(_path_of("slices", meta), base, name, body)
        former = endpoints.endpoints(service, pods)
        key = f"endpoints {service.metadata.key} {service.metadata.uid}"
        await self._put(key, f"/api/v1/namespaces/{namespace}/endpoints", service.metadata.name, former)
        self._with_endpoints[service.metadata.key] = key

    async def _put(self, key: str, collection: str, name: str, body: Mapping[str, object]) -> None:
        """Create an object or replace it, unless that is what was written last."""
        if self._written.get(key) == body:
            return
        try:
            await self._api.replace(f"{collection}/{name}", body, msgspec.Raw)
        except ApiError as error:
            if not error.not_found:
                raise
            try:
                await self._api.create(collection, body, msgspec.Raw)
            except ApiError as refused:
                if not refused.not_found:  # the namespace is on its way out
                    raise
        self._written[key] = body

    async def _superfluous(self) -> None:
        """Remove Endpoints and EndpointSlices of ours that no Service has any more."""
        for service_key in [key for key in self._with_endpoints if key not in self._services.store]:
            namespace, name = service_key.split("/")
            await self._remove(f"/api/v1/namespaces/{namespace}/endpoints/{name}")
            self._written.pop(self._with_endpoints.pop(service_key), None)
        wanted: set[str] = set()
        pods = self._view.all(time.monotonic())
        for service in self._services.store.values():
            if service.spec.selector:
                wanted |= {f"{service.metadata.namespace}/{name}" for name in endpoints.slices(service, pods)}
        for found in list(self._slices.store.values()):
            ours = found.metadata.labels.get("endpointslice.kubernetes.io/managed-by") == endpoints.MANAGED_BY
            if ours and found.metadata.key not in wanted:
                path = f"/apis/discovery.k8s.io/v1/namespaces/{found.metadata.namespace}/endpointslices"
                await self._remove(f"{path}/{found.metadata.name}")

    async def _remove(self, path: str) -> None:
        try:
            await self._api.delete(path)
        except ApiError as error:
            if not error.not_found:
                raise

    # -- nodes --------------------------------------------------------------------------------------------

    async def _collect(self, nodes: Sequence[Node]) -> None:
        """Pods of Nodes that do not exist go at once (podgc)."""
        names = {node.metadata.name for node in nodes}
        for pod in self._view.all(time.monotonic()):
            if pod.spec.node_name and pod.spec.node_name not in names:
                await self._delete(pod, gracePeriodSeconds="0")

    async def _watch_nodes(self) -> None:
        while True:
            await anyio.sleep(_LIFECYCLE_S)
            if self._leases.last_error is not None:
                self._lifecycle.begin_anew(time.monotonic())
            elif self._nodes.synced and self._pods.synced and self._leases.synced:
                pods = self._view.all(time.monotonic())
                changes = self._lifecycle.look(self._nodes.store.values(), pods, time.monotonic(), now_text())
                for change in changes:
                    await self._guarded("node lifecycle", partial(self._carry_out, change))

    async def _carry_out(self, change: NodeChange) -> None:
        for path, body in change.patches:
            await self._api.patch(path, body, msgspec.Raw)
        for pod in change.evict:
            await self._delete(pod)
        if change.text:
            node = self._nodes.store.get(change.node)
            if node is not None:
                kind = "Warning" if change.reason == "NodeNotReady" else "Normal"
                self._events.event(reference("Node", node.metadata), kind, change.reason, change.text)


def _path_of(kind: str, meta: ObjectMeta) -> str:
    return f"{kind} {meta.namespace}/{meta.name}"
