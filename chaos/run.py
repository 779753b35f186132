"""Run a scenario: one lab, as many runs as asked for, each measured from outside."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio

import chaos
from chaos import install, instruments, measure, results, revision
from chaos.errors import ChaosError
from chaos.lab.lab import Lab
from chaos.lab.plan import CLIENT
from chaos.report import run_line
from chaos.results import Result, Run
from chaos.scenarios.model import Scenario
from chaos.stage import Say, Stage, until
from chaos.status import SpeakerStatus

SETTLE_S: Final = 90.0
"""How long everything may take to come to rest after a fault, seconds."""

CALM_S: Final = 2.0
"""At rest means: for so long no answer missing and one owner for each VIP, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `python -m chaos run` takes."""

    nodes: int = 3
    repeat: int = 5
    seed: int = 0
    services: int = 4
    rate: float = 250.0


async def run_scenario(scenario: Scenario, options: Options, say: Say) -> Result:
    """All runs of a scenario in one lab. Raises ChaosError when the lab cannot be brought to a start of a run."""
    rng = random.Random(options.seed)
    runs: list[Run] = []
    async with Lab(nodes=options.nodes, say=say) as lab:
        stage = Stage(lab)
        vips = await prepare(stage, options.services, say)
        for number in range(1, options.repeat + 1):
            runs.append(await _run(stage, scenario, vips, rng, options))
            say(run_line(number, runs[-1]))
    return Result(
        scenario=scenario.name,
        nodes=options.nodes,
        seed=options.seed,
        commit=revision.commit(Path(chaos.__file__).parent.parent),
        runs=tuple(runs),
        summary=results.summarise(runs),
    )


async def prepare(stage: Stage, services: int, say: Say) -> list[str]:
    """Install vipring, a pool, echo backends and Services; the VIPs, once the ring is whole and each has one owner."""
    names = [f"echo-{number}" for number in range(1, services + 1)]
    say("installing vipring, a pool of addresses, echo backends and services")
    for name in ("namespace.yaml", "vipring.yaml"):
        await stage.lab.apply(install.manifest(name))
    await stage.lab.apply([install.secret(install.random_key())])
    await stage.lab.apply(install.documents(install.pool_config()))
    await stage.lab.apply(install.echo_objects(stage.nodes, names))
    await stage.ring_is(stage.nodes, 90)
    vips = await stage.external_ips(names, 60)
    say(f"ring of {len(stage.nodes)}; {', '.join(f'{name} has {vip}' for name, vip in vips.items())}")
    return sorted(vips.values())


async def _run(
    stage: Stage,
    scenario: Scenario,
    vips: Sequence[str],
    rng: random.Random,
    options: Options,
) -> Run:
    lab = stage.lab
    # Where the lab keeps its own files, so that no end of this process, however sudden, leaves them behind.
    directory = lab.run_dir
    observer = await instruments.start_observer(lab.observer_exec, directory / "observer.jsonl", vips)
    started: list[instruments.Instrument] = [observer]
    try:
        owner = await _at_rest(stage, observer, vips, stage.nodes)
        vip = rng.choice(list(vips))
        victim = owner[vip]
        await _withdraw_backend(stage, victim)
        await scenario.before(stage, victim)
        up = [node for node in stage.nodes if node != victim] if scenario.comes_back else stage.nodes
        await _at_rest(stage, observer, vips, up)
        probe = await instruments.start_probe(
            lab.client_exec, directory / "probe.jsonl", "udp", vip, install.ECHO_PORT, rate=options.rate
        )
        started.append(probe)
        await until(f"{vip} is not answered steadily", _steady(probe), 30)
        # The fault must not keep step with the ring's own probing.
        await anyio.sleep(rng.random())
        fault = await scenario.fault(stage, victim)
        if scenario.forget_neighbour:
            await _forget(stage, vip)
        up = [node for node in stage.nodes if node != victim] if scenario.down_after else stage.nodes
        failure: str | None = None
        try:
            await _at_rest(stage, observer, vips, up, probe=probe, fault=fault)
        except ChaosError as error:
            failure = str(error)
        end = time.monotonic()
        for instrument in (probe, observer):
            await instrument.stop()
        run = await _assess(stage, scenario, vip, victim, (fault, end), (probe, observer), failure)
    finally:
        for one in started:
            one.kill()
    await scenario.after(stage, victim)
    await stage.ring_is(stage.nodes, SETTLE_S)
    await stage.label(f"echo-{victim}", {install.BACKEND_LABEL: "yes"})
    return run


async def _forget(stage: Stage, vip: str) -> None:
    """Make the client ask for the VIP anew.

    More than once, because a killed process may answer for some more milliseconds until the kernel has taken it away.
    Not by `ip neigh flush`, which deletes as often as it finds something, and so the echo that waits for the answer.
    """
    for _ in range(5):
        await stage.lab.run(CLIENT.name, ["ip", "neigh", "del", vip, "dev", "eth0"])
        await anyio.sleep(0.05)


def _steady(probe: instruments.Probe) -> Callable[[], Awaitable[bool]]:
    async def steady() -> bool:
        return probe.steady(1.0)

    return steady


async def _at_rest(
    stage: Stage,
    observer: instruments.Observer,
    vips: Sequence[str],
    up: Sequence[str],
    *,
    probe: instruments.Probe | None = None,
    fault: float = float("-inf"),
) -> dict[str, str]:
    """Wait until all speakers on `up` agree on ring and owners, the wire agrees with them, and no answer is missing.

    What was before `fault` (monotonic seconds) does not count as rest. Returns the owner of each VIP.
    """
    settled: dict[str, str] = {}
    reason = "the observer has no record yet"

    async def rest() -> bool:
        nonlocal reason, settled
        if time.monotonic() < fault + CALM_S:
            return False
        macs = stage.macs()
        settled = {vip: macs[mac] for vip, mac in observer.settled(CALM_S).items() if mac in macs}
        views = await stage.statuses(up)
        reason = unrest(settled, views, vips, up)
        if not reason and probe is not None and not probe.steady(CALM_S):
            reason = "answers are missing"
        return not reason

    try:
        await until("not at rest", rest, SETTLE_S)
    except ChaosError:
        raise ChaosError(f"not at rest within {SETTLE_S:g} s: {reason}") from None
    return settled


def unrest(
    settled: Mapping[str, str],
    views: Mapping[str, SpeakerStatus],
    vips: Sequence[str],
    up: Sequence[str],
) -> str:
    """Why a cluster is not at rest, empty when it is."""
    wanted = tuple(sorted(up))
    for node in wanted:
        if node not in views or not views[node].ready:
            return f"the speaker on {node} is not ready"
        if views[node].alive != wanted:
            return f"{node} sees {', '.join(views[node].alive)} alive"
    for vip in vips:
        if vip not in settled:
            return f"{vip} has not had one owner for {CALM_S:g} s"
        for node in wanted:
            if views[node].owner(vip) != settled[vip]:
                return (
                    f"{settled[vip]} answers for {vip}, but {node} says that {views[node].owner(vip)} owns it"
                )
    return ""


async def _withdraw_backend(stage: Stage, node: str) -> None:
    """Take the echo Pod of a node out of service: a scenario measures the address, not the loss of a backend."""
    await stage.label(f"echo-{node}", {install.BACKEND_LABEL: "no"})
    names = list(await stage.services())

    async def gone() -> bool:
        return all([node not in await stage.ready_nodes(name) for name in names])

    await until(f"the echo server on {node} is still a backend", gone, 30)


async def _assess(
    stage: Stage,
    scenario: Scenario,
    vip: str,
    victim: str,
    times: tuple[float, float],
    records: tuple[instruments.Probe, instruments.Observer],
    failure: str | None,
) -> Run:
    probe, observer = records
    alive = [node for node in stage.nodes if node != victim or not scenario.down_after]
    evidence = measure.Evidence(
        vip=vip,
        victim=victim,
        fault=times[0],
        end=times[1],
        probe=probe.record(),
        observer=observer.record(),
        log=await stage.logs(alive),
        nodes_by_mac=stage.macs(),
        detected_by=scenario.detected_by,
        comes_back=scenario.comes_back,
    )
    return measure.assess(evidence, failure=failure)
