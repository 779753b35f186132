"""`make demo`: an installation as in MetalLB's guide, an nginx behind a VIP, its node killed, the VIP alive again.

Everything is real: processes, packets, nginx, the API server that kubectl talks to. Nothing outside the lab's own
network namespaces is touched, and everything is gone at the end.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import anyio
import msgspec

import chaos
from chaos import install, instruments, measure, report, revision
from chaos.errors import ChaosError
from chaos.kubectl import Kubectl
from chaos.lab.errors import LabError
from chaos.lab.lab import Lab
from chaos.lab.plan import CLIENT
from chaos.results import to_json
from chaos.scenarios.model import DETECTED_BY
from chaos.stage import Say, Stage, until
from chaos.status import member_table
from cluster.errors import ClusterError

HTTP_RATE: Final = 50.0
"""GETs a second through the VIP while its owner dies."""

_SERVICE: Final = "nginx"


class DemoFacts(msgspec.Struct, frozen=True):
    """What the demo found. The members are the names of those alive; durations in seconds."""

    commit: str
    external_ip: str
    http_status: int
    owner_before: str
    owner_after: str
    outage_s: float
    members_before: tuple[str, ...]
    members_during: tuple[str, ...]
    members_after: tuple[str, ...]
    seconds_total: float


class Demo:
    """One telling of the story; `tell` does the steps in order."""

    def __init__(self, stage: Stage, say: Say) -> None:
        self._stage = stage
        self._lab = stage.lab
        # Where the lab keeps its own files, so that no end of this process, however sudden, leaves them behind.
        self._directory = stage.lab.run_dir
        self._say = say
        self._kubectl = Kubectl(stage, say)

    async def tell(self, seconds_before: float) -> DemoFacts:
        """All steps; `seconds_before` is what starting the lab took. Raises ChaosError at the first that fails."""
        began = time.monotonic()
        await self._install()
        address = await self._workload()
        status = await self._curl(address)
        observer = await instruments.start_observer(
            self._lab.observer_exec, self._directory / "observer.jsonl", [address]
        )
        try:
            before = await self._owner(observer, address, self._stage.nodes)
            members_before = await self._ring(before, self._stage.nodes, address)
            await self._move_backends(before)
            after, outage_s = await self._fail_over(observer, address, before)
            survivors = [node for node in self._stage.nodes if node != before]
            members_during = await self._ring(after, survivors, address)
            members_after = await self._bring_back(before, address, observer)
            await observer.stop()
        finally:
            observer.kill()
        return DemoFacts(
            commit=revision.commit(Path(chaos.__file__).parent.parent),
            external_ip=address,
            http_status=status,
            owner_before=before,
            owner_after=after,
            outage_s=outage_s,
            members_before=members_before,
            members_during=members_during,
            members_after=members_after,
            seconds_total=seconds_before + time.monotonic() - began,
        )

    async def _install(self) -> None:
        self._say("installing vipring as MetalLB is installed")
        for name in ("namespace.yaml", "vipring.yaml"):
            await self._kubectl.apply(f"manifests/{name}", install.manifest(name).read_text(encoding="utf-8"))
        await self._kubectl.secret(await _random_key())
        await self._kubectl.apply("config.yaml", install.pool_config())
        await self._stage.ring_is(self._stage.nodes, 60)
        self._say(f"the speakers on {', '.join(self._stage.nodes)} are ready and see each other")

    async def _workload(self) -> str:
        self._say("an nginx and a Service of type LoadBalancer in front of it")
        await self._kubectl.apply(
            "manifests/example-nginx.yaml", install.manifest("example-nginx.yaml").read_text(encoding="utf-8")
        )
        address = (await self._stage.external_ips([_SERVICE], 60))[_SERVICE]
        await self._kubectl.show_services()
        return address

    async def _curl(self, address: str) -> int:
        """The status of a GET from the client, once nginx answers."""
        command = [
            "curl",
            "-sS",
            "-o",
            "/dev/null",
            "--max-time",
            "2",
            "-w",
            "%{http_code}",
            f"http://{address}/",
        ]
        found = 0

        async def answered() -> bool:
            nonlocal found
            _, code = await self._lab.run(CLIENT.name, command)
            found = int(code) if code.isascii() and code.isdigit() else 0
            return found == 200

        await until(f"nginx does not answer at http://{address}/", answered, 60)
        self._say(f"$ curl http://{address}/   (from the client {CLIENT.address}): HTTP {found}")
        return found

    async def _owner(
        self, observer: instruments.Observer, address: str, up: Sequence[str], *, seconds: float = 30
    ) -> str:
        """The one node that answers ARP for the address and that all speakers on `up` call its owner; one of `up`."""
        owner: str | None = None

        async def agreed() -> bool:
            nonlocal owner
            owner = self._stage.macs().get(observer.settled(1.0).get(address, ""))
            views = await self._stage.statuses(up)
            return owner in up and all(view.owner(address) == owner for view in views.values())

        await until(f"nobody is seen to own {address}", agreed, seconds)
        if owner is None:
            raise ChaosError(f"nobody is seen to own {address}")
        self._say(f"{owner} announces {address}: {self._lab.node_mac(owner)} is what the wire answers")
        return owner

    async def _ring(self, node: str, up: Sequence[str], address: str) -> tuple[str, ...]:
        """Show the ring as `node` sees it, once the speakers on `up` agree on it; who is alive."""
        await self._stage.ring_is(up, 60)
        status = await self._stage.status(node)
        self._say(f"the ring as {node} sees it; {status.owner(address)} owns {address}:")
        for line in member_table(status):
            self._say(f"  {line}")
        return status.alive

    async def _move_backends(self, owner: str) -> None:
        """Move nginx off the owner: what is to be seen is the address's failover, not the loss of a backend."""
        pods = await self._stage.pods("app=nginx")
        moving = [pod.metadata.name for pod in pods if pod.spec.node_name == owner]
        if not moving:
            return
        self._say(
            f"moving {', '.join(moving)} off {owner} (cordon, delete the Pod, uncordon),"
            " so that what fails over is the address, not a backend"
        )
        await self._stage.cordon(owner, True)
        for name in moving:
            await self._lab.api.delete(f"/api/v1/namespaces/default/pods/{name}")

        async def moved() -> bool:
            ready = await self._stage.ready_nodes(_SERVICE)
            return len(ready) == len(pods) and owner not in ready

        await until(f"nginx is still on {owner}", moved, 40)
        await self._stage.cordon(owner, False)

    async def _fail_over(
        self, observer: instruments.Observer, address: str, before: str
    ) -> tuple[str, float]:
        """Power off the owner under load; who took over, and the outage in seconds."""
        probe = await instruments.start_probe(
            self._lab.client_exec, self._directory / "probe.jsonl", "http", address, 80, rate=HTTP_RATE
        )
        try:

            async def steady() -> bool:
                return probe.steady(1.0)

            await until(f"http://{address}/ is not answered steadily", steady, 30)
            self._say(f"powering off {before} while the client sends {HTTP_RATE:g} GETs a second")
            fault = await self._lab.power_off(before)
            survivors = [node for node in self._stage.nodes if node != before]
            after = await self._owner(observer, address, survivors, seconds=60)
            await until(f"http://{address}/ did not come back", steady, 30)
            await probe.stop()
        finally:
            probe.kill()
        evidence = measure.Evidence(
            vip=address,
            victim=before,
            fault=fault,
            end=time.monotonic(),
            probe=probe.record(),
            observer=observer.record(),
            log=await self._stage.logs(survivors),
            nodes_by_mac=self._stage.macs(),
            detected_by=DETECTED_BY,
        )
        run = measure.assess(evidence)
        if run.failure is not None or run.outage_s is None:
            raise ChaosError(f"no figure for the outage of {address}: {run.failure}")
        self._say(
            f"outage {report.duration(run.outage_s)}: {run.lost} GETs without an answer, now {after} answers"
        )
        for line in report.story(run):
            self._say(f"  {line}")
        return after, run.outage_s

    async def _bring_back(self, node: str, address: str, observer: instruments.Observer) -> tuple[str, ...]:
        self._say(f"powering {node} on again")
        await self._lab.power_on(node)
        members = await self._ring(node, self._stage.nodes, address)
        await self._owner(observer, address, self._stage.nodes)
        return members


async def _random_key() -> str:
    """What `openssl rand -base64 128` prints, as the guide says. Raises ChaosError when it fails."""
    try:
        done = await anyio.run_process(["openssl", "rand", "-base64", "128"], check=False)
    except FileNotFoundError:
        raise ChaosError("openssl is not installed; install it with: apt-get install openssl") from None
    if done.returncode != 0:
        raise ChaosError(f"openssl rand: {' '.join(done.stderr.decode(errors='replace').split())}")
    return done.stdout.decode().strip()


async def run_demo(*, json_path: str | None, nodes: int, say: Say) -> DemoFacts:
    """The whole story in a lab of `nodes` nodes; writes the facts to `json_path`.

    Raises ChaosError, LabError or ClusterError, one line each, when anything did not hold.
    """
    began = time.monotonic()
    say(f"starting a cluster in a box: {nodes} nodes, a client, an observer")
    async with Lab(nodes=nodes, say=say) as lab:
        facts = await Demo(Stage(lab), say).tell(time.monotonic() - began)
        say("tearing everything down")
    facts = msgspec.structs.replace(facts, seconds_total=time.monotonic() - began)
    if json_path is not None:
        await anyio.Path(json_path).write_text(to_json(facts), encoding="utf-8")
    return facts


def main(argv: list[str] | None = None) -> int:
    """`vipring demo`: 0 when the whole story held, 1 with one line on standard error otherwise."""
    parser = argparse.ArgumentParser(
        prog="vipring demo",
        description="A cluster in a box: install, announce, kill the node, watch the address fail over.",
        epilog="examples:\n  vipring demo\n  vipring demo --json facts.json\n  vipring demo --nodes 5",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", metavar="FILE", help="write the facts")
    parser.add_argument(
        "--nodes", type=int, default=3, choices=range(2, 11), metavar="N", help="2 to 10 (default 3)"
    )
    args = parser.parse_args(argv)
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f}  {line}", flush=True)

    async def demo() -> DemoFacts:
        return await run_demo(json_path=args.json, nodes=args.nodes, say=say)

    try:
        facts = anyio.run(demo)
    except (ChaosError, LabError, ClusterError, OSError) as error:
        print(f"demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo interrupted", file=sys.stderr)
        return 130
    say(
        f"{facts.external_ip} moved from {facts.owner_before} to {facts.owner_after} in"
        f" {report.duration(facts.outage_s)}; the whole demo took {facts.seconds_total:.0f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
