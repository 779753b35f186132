"""A lab with vipring in it, as the demo and the scenarios use it: install, ask the speakers, read their logs."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import anyio
import msgspec
from anyio.abc import Process

from chaos import install, instruments, phases
from chaos.errors import ChaosError
from chaos.lab.lab import Lab
from chaos.status import SpeakerStatus, decode
from cluster.errors import ClusterError
from cluster.objects import EndpointSlice, Pod, Service

SPEAKERS: Final = "app=metallb,component=speaker"
STATUS_PORT: Final = 7472
_POLL_S: Final = 0.25

Say = Callable[[str], None]


async def until(what: str, condition: Callable[[], Awaitable[bool]], seconds: float) -> None:
    """Ask every 0.25 s until the condition holds. Raises ChaosError naming `what` when it does not in time.

    A condition that cannot be asked because the API or a speaker does not answer yet does not hold yet.
    """
    deadline = time.monotonic() + seconds
    last: ClusterError | None = None
    while True:
        try:
            if await condition():
                return
        except ClusterError as error:
            last = error
        if time.monotonic() > deadline:
            detail = f" ({last})" if last else ""
            raise ChaosError(f"{what}: not within {seconds:g} s{detail}")
        await anyio.sleep(_POLL_S)


@dataclass(slots=True, kw_only=True)
class Scene:
    """One run of a scenario, as its acts see it (`Stage.scene`) and add to it."""

    number: int
    """Counts from 1."""
    rng: random.Random
    vip: str
    """What the client asks through."""
    owners: Mapping[str, str]
    """Who has to own each address while every node is up, by the election."""
    victims: tuple[str, ...]
    """The nodes that are hit; the first owns `vip`."""
    lasts_s: float
    """How long the fault lasts, seconds; 0 where that has no meaning."""
    recorder: instruments.Recorder
    """The packet record so far."""
    right: Mapping[str, str] = field(default_factory=dict)
    """The same for the time after the fault."""
    watched: tuple[str, ...] = ()
    """The addresses that the observer asks for."""
    off: set[str] = field(default_factory=set)
    """Nodes that stay off until the scenario's `after`."""
    withdrawn: set[str] = field(default_factory=set)
    """Nodes whose backends are out of service for this run."""
    variant: str = ""
    """Which of its forms this run of the scenario had."""
    stalls: list[float] = field(default_factory=list)
    """When a part of a victim's speaker began to stand still, each time, monotonic seconds."""
    programs: dict[str, Process] = field(default_factory=dict)
    """What the scenario has running in the lab, by name."""
    facts: dict[str, float] = field(default_factory=dict)
    """Figures of this scenario alone, for `Scenario.promise` to bound."""
    broken: list[str] = field(default_factory=list)
    """Promises that the fault itself found broken."""

    def require(self, kept: bool, promise: str) -> None:
        """Note a promise that was not kept."""
        if not kept:
            self.broken.append(promise)


class Stage:
    """What can be asked of vipring in a lab, from outside: the API, `/status`, logs."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._scene: Scene | None = None

    @property
    def scene(self) -> Scene:
        """The present run. Raises ChaosError between runs."""
        if self._scene is None:
            raise ChaosError("no scenario is running")
        return self._scene

    @scene.setter
    def scene(self, scene: Scene) -> None:
        self._scene = scene

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of all nodes, those that are off too."""
        return tuple(self.lab.nodes)

    async def speaker_pods(self) -> dict[str, Pod]:
        """The speaker Pod of each node."""
        pods, _ = await self.lab.api.list(
            f"/api/v1/namespaces/{install.NAMESPACE}/pods", Pod, label_selector=SPEAKERS
        )
        return {pod.spec.node_name: pod for pod in pods if pod.metadata.deletion_timestamp is None}

    async def status(self, node: str) -> SpeakerStatus:
        """`/status` of the speaker on `node`, through the API server. Raises ClusterError or ChaosError."""
        pod = (await self.speaker_pods()).get(node)
        if pod is None:
            raise ChaosError(f"no speaker on {node}")
        return await self._status(pod)

    async def _status(self, pod: Pod) -> SpeakerStatus:
        path = f"/api/v1/namespaces/{install.NAMESPACE}/pods/{pod.metadata.name}:{STATUS_PORT}/proxy/status"
        return decode(await self.lab.api.raw("GET", path))

    async def statuses(self, nodes: Iterable[str]) -> dict[str, SpeakerStatus]:
        """`/status` of the speakers on these nodes. Raises ClusterError when one does not answer."""
        pods = await self.speaker_pods()
        return {node: await self._status(pods[node]) for node in nodes if node in pods}

    async def logs(self, nodes: Iterable[str]) -> list[phases.Entry]:
        """The log lines of the speakers on these nodes; a container that was restarted counts with both lives."""
        pods = await self.speaker_pods()
        entries: list[phases.Entry] = []
        for node in nodes:
            if node not in pods:
                continue
            path = f"/api/v1/namespaces/{install.NAMESPACE}/pods/{pods[node].metadata.name}/log"
            entries += phases.read_log(node, (await self.lab.api.raw("GET", path)).decode(errors="replace"))
        return entries

    async def ring_is(self, names: Iterable[str], seconds: float) -> None:
        """Wait until the speakers on exactly these nodes agree that they are the live members, and are ready."""
        wanted = tuple(sorted(names))

        async def agreed() -> bool:
            found = await self.statuses(wanted)
            return len(found) == len(wanted) and all(
                one.ready and one.alive == wanted for one in found.values()
            )

        await until(f"the speakers on {', '.join(wanted)} do not agree on the ring", agreed, seconds)

    async def services(self, namespace: str = "default") -> dict[str, str]:
        """The first external address of each LoadBalancer Service that has one."""
        found, _ = await self.lab.api.list(f"/api/v1/namespaces/{namespace}/services", Service)
        return {
            service.metadata.name: service.status.load_balancer.ingress[0].ip
            for service in found
            if service.status.load_balancer.ingress
        }

    async def external_ips(self, names: Sequence[str], seconds: float) -> dict[str, str]:
        """Wait until each of the Services has an external address."""
        addresses: dict[str, str] = {}

        async def there() -> bool:
            addresses.update(await self.services())
            return all(name in addresses for name in names)

        await until(f"no external address for {', '.join(names)}", there, seconds)
        return {name: addresses[name] for name in names}

    async def ready_nodes(self, service: str | None = None) -> list[str]:
        """The node of each of the ready endpoints of a Service in `default`, of all of them where none is named."""
        slices, _ = await self.lab.api.list(
            "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
            EndpointSlice,
            label_selector=f"kubernetes.io/service-name={service}" if service is not None else "",
        )
        return [
            endpoint.node_name or ""
            for one in slices
            for endpoint in one.endpoints or ()
            if endpoint.conditions.ready is not False
        ]

    def macs(self) -> Mapping[str, str]:
        """Node names by the MAC address of the node on the data network."""
        return {self.lab.node_mac(node): node for node in self.nodes}

    async def label(self, pod: str, labels: Mapping[str, str]) -> None:
        """Change labels of a Pod in `default`."""
        await self.lab.api.patch(
            f"/api/v1/namespaces/default/pods/{pod}", {"metadata": {"labels": dict(labels)}}, msgspec.Raw
        )

    async def withdraw_backends(self, nodes: Iterable[str]) -> None:
        """Take the echo Pods of some nodes out of service for this run: it is the address that is measured, not the
        loss of a backend."""
        gone = set(nodes)
        self.scene.withdrawn |= gone
        for node in sorted(gone):
            await self.label(f"echo-{node}", {install.BACKEND_LABEL: "no"})

        async def left() -> bool:
            return not gone & set(await self.ready_nodes())

        await until(f"the echo servers on {', '.join(sorted(gone))} are still backends", left, 30)

    async def return_backends(self) -> None:
        """Undo `withdraw_backends`."""
        for node in sorted(self.scene.withdrawn):
            await self.label(f"echo-{node}", {install.BACKEND_LABEL: "yes"})

    async def pods(self, selector: str) -> list[Pod]:
        """Pods in `default` that carry these labels and are not being deleted."""
        found, _ = await self.lab.api.list("/api/v1/namespaces/default/pods", Pod, label_selector=selector)
        return [pod for pod in found if pod.metadata.deletion_timestamp is None]

    async def cordon(self, node: str, cordoned: bool) -> None:
        """Let the scheduler leave a node out, or use it again."""
        await self.lab.api.patch(f"/api/v1/nodes/{node}", {"spec": {"unschedulable": cordoned}}, msgspec.Raw)
