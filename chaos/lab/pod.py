"""One Pod on a node, from the first sight of it to its end: network, volumes, containers, probes, status.

What the kubelet's pod worker does (pkg/kubelet/pod_workers.go), reduced to restartable containers; init containers
run first, one after the other.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import anyio
import msgspec

from chaos.lab import podnet, probing
from chaos.lab.backoff import RestartBackoff
from chaos.lab.clock import now_text
from chaos.lab.container import ContainerRun, RunSpec
from chaos.lab.errors import LabError
from chaos.lab.images import Image, find_image, needed_paths
from chaos.lab.objects import Condition, Container, Pod, Probe
from chaos.lab.plan import API_ADDRESS, API_PORT, NodePlan
from chaos.lab.podplan import (
    NotYet,
    Sources,
    capabilities,
    environment,
    expand,
    user,
    volume_files,
)
from chaos.lab.podsources import TOKEN_DIR, fetch_service_account, fetch_sources
from chaos.lab.podstatus import ContainerRecord, pod_status, running, terminated, waiting
from chaos.lab.rootfs import Mount, Tree
from chaos.lab.settings import LabSettings
from chaos.lab.volumes import VolumeStore
from cluster.client import ApiClient
from cluster.errors import ApiError, ClusterError
from cluster.events import EventRecorder, reference

_RETRY_S = 1.0
_LONGEST_RETRY_S = 10.0


@dataclass(frozen=True, slots=True)
class Host:
    """What all Pods of a node share. `work` is on the node's tmpfs, `logs` outlives the node, `root` is an empty directory."""

    plan: NodePlan
    api: ApiClient
    events: EventRecorder
    addresses: podnet.AddressBook
    settings: LabSettings
    work: Path
    logs: Path
    root: str
    one_user: bool
    note: Callable[[str], None]


class PodWorker:
    """Runs one Pod. `run` returns when it has ended and the API knows."""

    def __init__(self, host: Host, pod: Pod) -> None:
        self.pod = pod
        self._host = host
        self._stop = anyio.Event()
        self._done = anyio.Event()
        self._grace_s = float(pod.spec.termination_grace_period_seconds)
        self._gone = False
        self._news = anyio.Event()
        self._written: dict[str, object] | None = None
        self._conditions: list[Condition] = list(pod.status.conditions)
        self._started = pod.status.start_time or now_text()
        self._ip = str(host.plan.internal_ip) if pod.spec.host_network else ""
        self._netns: str | None = None
        before = {status.name: status for status in pod.status.container_statuses}
        self._records = {
            c.name: ContainerRecord.of(c.name, c.image, before.get(c.name)) for c in pod.spec.containers
        }
        self._runs: dict[str, ContainerRun] = {}
        self._busy = len(self._records)
        group = None if host.one_user else pod.spec.security_context.fs_group
        self._volumes = VolumeStore(host.work / "pods" / pod.metadata.uid, group)
        self._logs = host.logs / f"{pod.metadata.namespace}_{pod.metadata.name}_{pod.metadata.uid}"
        if pod.metadata.deletion_timestamp is not None:
            self.update(pod)

    # -- what the agent says ------------------------------------------------------------------------------

    def update(self, pod: Pod) -> None:
        """The API has another version of the Pod."""
        self.pod = pod
        if pod.ready != self._ready_now() and self._written is not None:
            # Somebody else wrote the status: the control plane, when it could not hear this node.
            self._written = None
            self._news.set()
        if pod.metadata.deletion_timestamp is not None and not self._stop.is_set():
            asked = pod.metadata.deletion_grace_period_seconds
            self._grace_s = float(asked if asked is not None else pod.spec.termination_grace_period_seconds)
            self._event("Normal", "Killing", "Stopping the containers")
            self._stop.set()

    def _ready_now(self) -> bool:
        return bool(self._records) and all(record.ready for record in self._records.values())

    def gone(self) -> None:
        """The API has the Pod no more: end it without grace."""
        self._gone = True
        self._grace_s = 0.0
        self._stop.set()

    def running(self, container: str) -> ContainerRun | None:
        """The present run of a container of this name."""
        run = self._runs.get(container)
        return None if run is None or run.ended else run

    # -- life ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep the Pod running until it is to stop, then take it away."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._write_statuses)
                await self._live()
                tasks.cancel_scope.cancel()
        finally:
            for run in self._runs.values():
                run.signal(signal.SIGKILL)
            self._volumes.remove()
        if self._netns is not None:
            try:
                await podnet.disconnect(self.pod.metadata.uid)
            except LabError as error:
                self._host.note(f"network of {self.pod.metadata.key}: {error}")
        self._host.addresses.give_back(self.pod.metadata.uid)
        await self._report_end()

    async def _live(self) -> None:
        if not await self._until_stopped(self._connect):
            return
        async with anyio.create_task_group() as tasks:
            for container in self.pod.spec.containers:
                tasks.start_soon(self._keep, container)
            async with anyio.create_task_group() as side:
                side.start_soon(self._refresh_volumes)
                await self._stop.wait()
                side.cancel_scope.cancel()
            for run in self._runs.values():
                run.signal(signal.SIGTERM)
            with anyio.move_on_after(self._grace_s):
                await self._done.wait()
            for run in self._runs.values():
                run.signal(signal.SIGKILL)

    async def _until_stopped(self, attempt: Callable[[], Awaitable[None]]) -> bool:
        """Try again until it works (True) or the Pod is to stop."""
        pause = _RETRY_S
        while not self._stop.is_set():
            try:
                await attempt()
            except NotYet as reason:
                self._wait_for_all(reason.reason, reason.message)
            except (LabError, ClusterError, OSError, ValueError) as error:
                self._wait_for_all("ContainerCreating", str(error))
            else:
                return True
            await self._sleep(pause)
            pause = min(2 * pause, _LONGEST_RETRY_S)
        return False

    def _wait_for_all(self, reason: str, message: str) -> None:
        self._event("Warning", "FailedMount" if "found" in message else "FailedCreatePodSandBox", message)
        for record in self._records.values():
            record.state = waiting(reason, message)
        self._news.set()

    async def _connect(self) -> None:
        """Volumes and network. Raises NotYet, LabError, ClusterError."""
        await self._fill_volumes()
        if not self.pod.spec.host_network and self._netns is None:
            uid = self.pod.metadata.uid
            address = self._host.addresses.take(uid, self.pod.status.pod_ip)
            self._netns = await podnet.connect(uid, address, self._host.addresses.gateway)
            self._ip = str(address)
        self._news.set()
        for container in self.pod.spec.init_containers:
            await self._run_to_end(container)

    async def _run_to_end(self, container: Container) -> None:
        """An init container."""
        run = await self._start(container, ContainerRecord(container.name, container.image))
        code = await run.wait()
        if code != 0:
            raise NotYet("Init:Error", f'init container "{container.name}" ended with code {code}')

    async def _sleep(self, seconds: float) -> None:
        """Sleep, but not beyond the order to stop."""
        with anyio.move_on_after(seconds):
            await self._stop.wait()

    # -- one container ------------------------------------------------------------------------------------

    async def _keep(self, container: Container) -> None:
        """Run a container again and again, as the restart policy says."""
        record = self._records[container.name]
        backoff = RestartBackoff(
            self._host.settings.restart_backoff_s, self._host.settings.restart_backoff_max_s
        )
        pause = _RETRY_S
        try:
            while not self._stop.is_set():
                begun = time.monotonic()
                try:
                    run = await self._start(container, record)
                except (NotYet, LabError, ClusterError, OSError) as error:
                    reason = error.reason if isinstance(error, NotYet) else "RunContainerError"
                    self._set(record, waiting(reason, str(error)))
                    self._event("Warning", "Failed", str(error))
                    await self._sleep(pause)
                    pause = min(2 * pause, _LONGEST_RETRY_S)
                    continue
                code = await self._attend(container, record, run)
                if not _again(self.pod.spec.restart_policy, code):
                    return
                wait_s = backoff.next_pause(time.monotonic() - begun)
                record.last_state = record.state
                if wait_s > 0 and not self._stop.is_set():
                    text = f"back-off {wait_s:g}s restarting failed container={container.name}"
                    self._set(record, waiting("CrashLoopBackOff", text))
                    self._event(
                        "Warning", "BackOff", f"Back-off restarting failed container {container.name}"
                    )
                    await self._sleep(wait_s)
                record.restarts += 1
        finally:
            self._busy -= 1
            if self._busy == 0:
                self._done.set()

    async def _attend(self, container: Container, record: ContainerRecord, run: ContainerRun) -> int:
        """Probe a run until it ends; its exit code."""
        since = now_text()
        record.ready = container.readiness_probe is None and container.startup_probe is None
        record.container_id = f"lab://{self.pod.metadata.uid}/{container.name}/{record.restarts}"
        self._set(record, running(since))
        self._event("Normal", "Started", f"Started container {container.name}")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._probes, container, record, run)
            code = await run.wait()
            tasks.cancel_scope.cancel()
        record.ready = False
        reason = "Completed" if code == 0 else "Error"
        self._set(record, terminated(code, reason, since, now_text()))
        return code

    def _set(self, record: ContainerRecord, state: Mapping[str, Mapping[str, object]]) -> None:
        record.state = state
        self._news.set()

    async def _start(self, container: Container, record: ContainerRecord) -> ContainerRun:
        """Raises NotYet, LabError, ClusterError and OSError."""
        image = find_image(container.image)
        if image is None:
            text = f'the lab has no image "{container.image}"; it has vipring/vipring, vipring/echo, nginx, busybox, debian'
            raise NotYet("ErrImagePull", text)
        spec = self._spec(container, record, image, await fetch_sources(self._host.api, self.pod))
        run = ContainerRun(spec)
        self._runs[container.name] = run
        return run

    def _spec(self, container: Container, record: ContainerRecord, image: Image, sources: Sources) -> RunSpec:
        variables = environment(
            self.pod,
            container,
            image,
            sources,
            pod_ip=self._ip,
            host_ip=str(self._host.plan.internal_ip),
            api=(str(API_ADDRESS), API_PORT),
        )
        context = container.security_context
        command = image.command(
            [expand(word, variables) for word in container.command],
            [expand(word, variables) for word in container.args],
        )
        tree = Tree(
            root=self._host.root,
            mounts=self._mounts(container, image),
            needed=needed_paths(),
            read_only=context.read_only_root_filesystem,
        )
        return RunSpec(
            command=command,
            environment=variables,
            directory=container.working_dir,
            tree=tree,
            log=self._logs / container.name / f"{record.restarts}.log",
            hostname=self._host.plan.name if self.pod.spec.host_network else self.pod.metadata.name[:63],
            netns=self._netns,
            user=user(self.pod, container),
            capabilities=capabilities(container),
            no_new_privileges=not context.allow_privilege_escalation and not context.privileged,
            one_user=self._host.one_user,
        )

    def _mounts(self, container: Container, image: Image) -> list[Mount]:
        root = self._host.work / "pods" / self.pod.metadata.uid
        mounts = [
            Mount(str(self._volumes.put_text(f"image{i}-{container.name}", files)), target, read_only=True)
            for i, (target, files) in enumerate(image.files.items())
        ]
        kinds = {volume.name: volume for volume in self.pod.spec.volumes}
        for mount in container.volume_mounts:
            volume = kinds.get(mount.name)
            if volume is None:
                raise NotYet(
                    "CreateContainerConfigError", f"volume mount {mount.name}: there is no such volume"
                )
            read_only = mount.read_only or volume.empty_dir is None
            source = root / mount.name / mount.sub_path
            if not source.exists():
                source.mkdir(parents=True)
            mounts.append(Mount(str(source), mount.mount_path, read_only))
        if self.pod.spec.automount_service_account_token and all(
            m.mount_path != TOKEN_DIR for m in container.volume_mounts
        ):
            mounts.append(Mount(str(root / "service-account"), TOKEN_DIR, read_only=True))
        return mounts

    # -- what it is made of -------------------------------------------------------------------------------

    async def _fill_volumes(self) -> None:
        sources = await fetch_sources(self._host.api, self.pod)
        for volume in self.pod.spec.volumes:
            self._volumes.put(volume.name, volume_files(volume, sources))
        if self.pod.spec.automount_service_account_token:
            self._volumes.put("service-account", await fetch_service_account(self._host.api, self.pod))

    async def _refresh_volumes(self) -> None:
        """Carry changes of Secrets and ConfigMaps into the running containers, as the kubelet does."""
        watched = [v for v in self.pod.spec.volumes if v.secret is not None or v.config_map is not None]
        while watched:
            await anyio.sleep(self._host.settings.volume_sync_s)
            try:
                sources = await fetch_sources(self._host.api, self.pod)
                for volume in watched:
                    self._volumes.put(volume.name, volume_files(volume, sources))
            except (NotYet, ClusterError, OSError) as error:
                self._host.note(f"volumes of {self.pod.metadata.key}: {error}")

    # -- probes -------------------------------------------------------------------------------------------

    async def _probes(self, container: Container, record: ContainerRecord, run: ContainerRun) -> None:
        if container.startup_probe is not None:
            await self._startup(container, container.startup_probe, run)
            record.ready = container.readiness_probe is None
            self._news.set()
        async with anyio.create_task_group() as tasks:
            if container.readiness_probe is not None:
                tasks.start_soon(self._readiness, container, container.readiness_probe, record)
            if container.liveness_probe is not None:
                tasks.start_soon(self._liveness, container, container.liveness_probe, run)

    async def _startup(self, container: Container, probe: Probe, run: ContainerRun) -> None:
        counter = probing.ProbeCounter(probe, healthy=False)
        failures = 0
        await anyio.sleep(probe.initial_delay_seconds)
        while not counter.healthy:
            wrong = await probing.ask(container, probe, self._ip)
            counter.book(not wrong)
            failures = failures + 1 if wrong else 0
            if failures >= probe.failure_threshold:
                await self._give_up(container, run, f"Startup probe failed: {wrong}")
            if not counter.healthy:
                await anyio.sleep(probe.period_seconds)

    async def _readiness(self, container: Container, probe: Probe, record: ContainerRecord) -> None:
        counter = probing.ProbeCounter(probe, healthy=False)
        await anyio.sleep(probe.initial_delay_seconds)
        while True:
            wrong = await probing.ask(container, probe, self._ip)
            if wrong:
                self._event("Warning", "Unhealthy", f"Readiness probe failed: {wrong}")
            if counter.book(not wrong):
                record.ready = counter.healthy
                self._news.set()
            # Until it is ready, ask often: nobody should wait a period for the first good answer.
            await anyio.sleep(probe.period_seconds if counter.healthy else min(1, probe.period_seconds))

    async def _liveness(self, container: Container, probe: Probe, run: ContainerRun) -> None:
        counter = probing.ProbeCounter(probe, healthy=True)
        await anyio.sleep(probe.initial_delay_seconds)
        while True:
            wrong = await probing.ask(container, probe, self._ip)
            if wrong:
                self._event("Warning", "Unhealthy", f"Liveness probe failed: {wrong}")
            if counter.book(not wrong):
                await self._give_up(container, run, f"Liveness probe failed: {wrong}")
            await anyio.sleep(probe.period_seconds)

    async def _give_up(self, container: Container, run: ContainerRun, why: str) -> None:
        """End a run that fails its probes; this task is cancelled when it has ended."""
        self._event("Normal", "Killing", f"Container {container.name} will be restarted: {why}")
        run.signal(signal.SIGTERM)
        await anyio.sleep(self.pod.spec.termination_grace_period_seconds)
        run.signal(signal.SIGKILL)
        await anyio.sleep_forever()

    # -- what the API hears -------------------------------------------------------------------------------

    def _event(self, kind: str, reason: str, message: str) -> None:
        self._host.events.event(reference("Pod", self.pod.metadata), kind, reason, message)

    @property
    def _path(self) -> str:
        return f"/api/v1/namespaces/{self.pod.metadata.namespace}/pods/{self.pod.metadata.name}"

    async def _write_statuses(self) -> None:
        """Write the status whenever it has changed; on failure again and again."""
        while True:
            self._news = anyio.Event()
            status = self._status()
            if status != self._written and not self._gone:
                try:
                    body = {"metadata": {"uid": self.pod.metadata.uid}, "status": status}
                    await self._host.api.patch(f"{self._path}/status", body, msgspec.Raw)
                except ClusterError as error:
                    if not (isinstance(error, ApiError) and (error.not_found or error.conflict)):
                        self._host.note(f"status of {self.pod.metadata.key}: {error}")
                        await anyio.sleep(_RETRY_S)
                        continue
                self._written = status
                self._conditions = msgspec.convert(status["conditions"], list[Condition])
            await self._news.wait()

    def _status(self) -> dict[str, object]:
        return pod_status(
            self.pod,
            list(self._records.values()),
            pod_ip=self._ip,
            host_ip=str(self._host.plan.internal_ip),
            started=self._started,
            now=now_text(),
            before=self._conditions,
        )

    async def _report_end(self) -> None:
        """Delete the object for good: its containers are gone."""
        while not self._gone:
            try:
                await self._host.api.delete(self._path, gracePeriodSeconds="0")
            except ApiError as error:
                if error.not_found or error.conflict:
                    return
            except ClusterError as error:
                self._host.note(f"end of {self.pod.metadata.key}: {error}")
            else:
                return
            await anyio.sleep(_RETRY_S)


def _again(policy: str, code: int) -> bool:
    return policy == "Always" or (policy == "OnFailure" and code != 0)
