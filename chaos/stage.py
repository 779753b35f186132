"""A lab with vipring in it, as the demo and the scenarios use it: install, ask the speakers, read their logs."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final

import anyio
import msgspec

from chaos import install, phases
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


class Stage:
    """What can be asked of vipring in a lab, from outside: the API, `/status`, logs."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

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

    async def ready_nodes(self, service: str) -> list[str]:
        """The node of each ready endpoint of a Service in `default`."""
        slices, _ = await self.lab.api.list(
            "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
            EndpointSlice,
            label_selector=f"kubernetes.io/service-name={service}",
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

    async def pods(self, selector: str) -> list[Pod]:
        """Pods in `default` that carry these labels and are not being deleted."""
        found, _ = await self.lab.api.list("/api/v1/namespaces/default/pods", Pod, label_selector=selector)
        return [pod for pod in found if pod.metadata.deletion_timestamp is None]

    async def cordon(self, node: str, cordoned: bool) -> None:
        """Let the scheduler leave a node out, or use it again."""
        await self.lab.api.patch(f"/api/v1/nodes/{node}", {"spec": {"unschedulable": cordoned}}, msgspec.Raw)
