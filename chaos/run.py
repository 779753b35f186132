"""Run a scenario: one lab, as many runs as asked for, each measured from outside."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
import msgspec

import chaos
from chaos import gather, install, instruments, measure, results, revision, writes
from chaos.errors import ChaosError
from chaos.lab.lab import Lab
from chaos.lab.plan import CLIENT
from chaos.observer import MAX_VIPS
from chaos.report import run_line
from chaos.results import Result, Run
from chaos.scenarios.model import Scenario
from chaos.stage import Say, Scene, Stage, until
from chaos.status import SpeakerStatus

QUIET_S: Final = 1.0
"""Between two looks whether something is still being written to the API, seconds."""

SETTLE_S: Final = 90.0
"""How long everything may take to come to rest after a fault, seconds."""

CALM_S: Final = 2.0
"""At rest means: for so long no answer missing and one owner for each VIP, seconds."""

REST_S: Final = 2.0
"""So long after that nothing may be written to the API, seconds."""

RESTS: Final = 5
"""In so many runs of a lab, from the first on, this is waited for: it costs each of them a second."""

FORGET_S: Final = 0.1
"""How often a cold client forgets its neighbour entry, seconds."""

SEGMENT: Final = "br-data"
"""The bridge of the lab's data network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `python -m chaos run` takes; None leaves it to the scenario."""

    nodes: int | None = None
    repeat: int = 5
    seed: int = 0
    services: int | None = None
    rate: float | None = None
    lasts_s: float | None = None


async def run_scenario(scenario: Scenario, options: Options, say: Say) -> Result:
    """All runs of a scenario in one lab. Raises ChaosError when the lab cannot be brought to a start of a run."""
    rng = random.Random(options.seed)
    runs: list[Run] = []
    nodes = nodes_of(scenario, options)
    async with Lab(nodes=nodes, say=say, settings=scenario.settings) as lab:
        stage = Stage(lab)
        vips = await prepare(stage, scenario, options.services or scenario.services, say)
        election = gather.Election(lab.api)
        for number in range(1, options.repeat + 1):
            runs.append(await _Run(stage, election, scenario, options, vips, rng, number).play())
            say(run_line(number, runs[-1]))
    return results.conclude(
        Result(
            scenario=scenario.name,
            nodes=nodes,
            seed=options.seed,
            commit=revision.commit(Path(chaos.__file__).parent.parent),
            runs=tuple(runs),
            summary=results.summarise(runs),
            promise=dict(scenario.promise),
            typical=dict(scenario.typical),
        )
    )


def nodes_of(scenario: Scenario, options: Options) -> int:
    """Nodes of the lab: as many as asked for, and never fewer than the scenario needs."""
    return max(options.nodes or 0, scenario.nodes)


def pool_of(scenario: Scenario) -> str:
    """Where the addresses come from."""
    return install.WIDE_POOL if scenario.one_owner else install.POOL


async def prepare(stage: Stage, scenario: Scenario, services: int, say: Say) -> list[str]:
    """Install vipring, a pool, echo backends and Services; the VIPs, once the ring is whole and each has one owner."""
    wanted: dict[str, str | None] = {f"echo-{number}": None for number in range(1, services + 1)}
    if scenario.one_owner:
        wanted = dict(await gather.services_of_one(stage.nodes, services, pool_of(scenario)))
    say("installing vipring, a pool of addresses, echo backends and services")
    await stage.lab.apply(install.manifest("namespace.yaml"))
    await stage.lab.apply(install.documents(install.vipring(scenario.speaker_flags)))
    await stage.lab.apply([install.secret(install.random_key())])
    await stage.lab.apply(install.documents(install.pool_config(pool_of(scenario))))
    await stage.lab.apply(install.echo_objects(stage.nodes, wanted))
    await stage.ring_is(stage.nodes, 90)
    vips = await stage.external_ips(list(wanted), 60)
    told = [f"{name} has {vip}" for name, vip in list(vips.items())[:MAX_VIPS]]
    more = f" and {len(vips) - len(told)} more" if len(vips) > len(told) else ""
    say(f"ring of {len(stage.nodes)}; {', '.join(told)}{more}")
    return sorted(vips.values())


class _Run:
    """One run of a scenario: instruments around a fault."""

    def __init__(
        self,
        stage: Stage,
        election: gather.Election,
        scenario: Scenario,
        options: Options,
        vips: Sequence[str],
        rng: random.Random,
        number: int,
    ) -> None:
        self._stage = stage
        self._election = election
        self._scenario = scenario
        self._options = options
        self._vips = vips
        self._rng = rng
        self._number = number
        # Where the lab keeps its own files, so that no end of this process, however sudden, leaves them behind.
        self._directory = stage.lab.run_dir
        self._started: list[instruments.Instrument] = []

    async def play(self) -> Run:
        """The whole run, and everything put right after it."""
        lab, stage = self._stage.lab, self._stage
        try:
            recorder = await instruments.start_recorder(
                lab.switch_exec,
                self._directory / "frames.jsonl",
                pool_of(self._scenario),
                interface=SEGMENT,
            )
            self._started.append(recorder)
            scene = stage.scene = await self._cast(recorder)
            run = await self._measure(scene)
        finally:
            for one in self._started:
                one.kill()
        await self._scenario.after(stage, scene.victims[0])
        await stage.ring_is(stage.nodes, SETTLE_S)
        await stage.return_backends()
        return run

    async def _cast(self, recorder: instruments.Recorder) -> Scene:
        """Who owns what, what the client asks through, and who is hit."""
        await _agreed(self._stage, self._vips)
        owners = await self._election.owners(self._stage.nodes, self._vips)
        vip = self._rng.choice(list(self._vips))
        others = [node for node in self._stage.nodes if node != owners[vip]]
        more = self._scenario.victims(len(self._stage.nodes)) - 1
        lasts_s = self._options.lasts_s
        return Scene(
            number=self._number,
            rng=self._rng,
            vip=vip,
            owners=owners,
            victims=(owners[vip], *self._rng.sample(others, more)),
            lasts_s=self._scenario.lasts_s if lasts_s is None else lasts_s,
            recorder=recorder,
        )

    async def _measure(self, scene: Scene) -> Run:
        lab, stage, scenario = self._stage.lab, self._stage, self._scenario
        watched = scene.watched = watched_of(scene)
        observer = await instruments.start_observer(
            lab.observer_exec,
            self._directory / "observer.jsonl",
            watched,
            speakers=frozenset(stage.macs()) if scenario.impostors else None,
        )
        self._started.append(observer)
        await _at_rest(stage, observer, _of(scene.owners, watched), stage.nodes)
        earlier = await writes.count(lab.api)
        if not scenario.keeps_backends:
            await stage.withdraw_backends(scene.victims)
        await scenario.before(stage, scene.victims[0])
        up = [node for node in stage.nodes if not (scenario.comes_back and node in scene.victims)]
        await _at_rest(stage, observer, _of(await self._election.owners(up, self._vips), watched), up)
        off = scene.off | set(scene.victims if scenario.down_after else ())
        # Now, since it would take the processor from those who are watched later.
        left = [node for node in stage.nodes if node not in off]
        scene.right = await self._election.owners(left, self._vips)
        calm = await _until_quiet(stage, earlier)
        probe, neighbour = await self._start_client(scene)
        await until(f"{scene.vip} is not answered steadily", _steady(probe), 30)
        # The fault must not keep step with the ring's own probing.
        await anyio.sleep(self._rng.random())
        before = await writes.count(lab.api)
        fault = await scenario.fault(stage, scene.victims[0])
        if scenario.forget_neighbour:
            await _forget(stage, scene.vip)
        run = await self._assess(scene, fault, (probe, observer, neighbour))
        after = await writes.count(lab.api)
        run = msgspec.structs.replace(
            run,
            variant=scene.variant,
            facts={**scene.facts, **run.facts},
            calm_writes=sum(writes.between(calm, before).values()),
            writes=writes.between(before, after),
        )
        promise = dict(scenario.promise)
        if not self._counts_rest:
            promise.pop("rest_writes", None)
        return results.judge(run, promise, scene.broken)

    async def _assess(
        self,
        scene: Scene,
        fault: float,
        witnesses: tuple[instruments.Probe, instruments.Observer, instruments.Neighbour],
    ) -> Run:
        """Wait for rest after the fault, end the records and read them."""
        stage, scenario = self._stage, self._scenario
        probe, observer, neighbour = witnesses
        if scenario.down_after:
            scene.off.update(scene.victims)
        up = [node for node in stage.nodes if node not in scene.off]
        failure: str | None = None
        try:
            await _at_rest(stage, observer, _of(scene.right, scene.watched), up, probe=probe, fault=fault)
        except ChaosError as error:
            failure = str(error)
        end = time.monotonic()
        await anyio.sleep(scenario.back_off_s)
        calm = await writes.Calm.begin(stage.lab.api) if self._counts_rest else None
        for instrument in self._started:
            await instrument.stop()
        evidence = measure.Evidence(
            vip=scene.vip,
            victim=scene.victims[0],
            fault=fault,
            end=end,
            probe=probe.record(),
            observer=observer.record(),
            log=await stage.logs(up),
            nodes_by_mac=stage.macs(),
            detected_by=scenario.detected_by,
            comes_back=scenario.comes_back,
            victims=scene.victims,
            frames=scene.recorder.record(),
            neighbour=neighbour.record(),
            owned=scene.owners,
            right=scene.right,
            stalls=tuple(scene.stalls),
        )
        run = measure.assess(evidence, failure=failure)
        run = msgspec.structs.replace(run, facts=dict(scenario.look(evidence)))
        if calm is not None:
            run = msgspec.structs.replace(run, rest_writes=await calm.end(REST_S))
        return run

    @property
    def _counts_rest(self) -> bool:
        return self._number <= RESTS

    async def _start_client(self, scene: Scene) -> tuple[instruments.Probe, instruments.Neighbour]:
        lab, scenario = self._stage.lab, self._scenario
        neighbour = await instruments.start_neighbour(
            lab.client_exec,
            self._directory / "neighbour.jsonl",
            scene.vip,
            forget_s=FORGET_S if scenario.cold else None,
        )
        self._started.append(neighbour)
        probe = await instruments.start_probe(
            lab.client_exec,
            self._directory / "probe.jsonl",
            "udp",
            scene.vip,
            install.ECHO_PORT,
            rate=self._options.rate or scenario.rate,
            flows=scenario.flows,
        )
        # Stopped first, while the others still look on.
        self._started.insert(0, probe)
        return probe, neighbour


def watched_of(scene: Scene) -> tuple[str, ...]:
    """The addresses that the observer asks for: all, or where they are too many, the client's and others of the victims."""
    if len(scene.owners) <= MAX_VIPS:
        return tuple(sorted(scene.owners))
    hit = [vip for vip, node in sorted(scene.owners.items()) if node in scene.victims and vip != scene.vip]
    return tuple(sorted([scene.vip, *scene.rng.sample(hit, min(MAX_VIPS - 1, len(hit)))]))


def _of(owners: Mapping[str, str], watched: Sequence[str]) -> dict[str, str]:
    """The owners of the addresses that the observer asks for."""
    return {vip: owners[vip] for vip in watched}


async def _agreed(stage: Stage, vips: Sequence[str]) -> None:
    """Wait until all speakers name the same owner for each address."""

    async def agreed() -> bool:
        views = await stage.statuses(stage.nodes)
        named = [view.owners() for view in views.values()]
        if len(views) < len(stage.nodes) or any(one != named[0] for one in named):
            return False
        return all(named[0].get(vip) is not None for vip in vips)

    await until("the speakers do not agree on the owners", agreed, SETTLE_S)


async def _until_quiet(stage: Stage, earlier: writes.Writes) -> writes.Writes:
    """Wait until the Events of what was before have been written; all writes so far.

    Who goes on writing does it in the calm before the fault as well, and there it counts.
    """
    for _ in range(round(SETTLE_S / QUIET_S)):
        now = await writes.count(stage.lab.api)
        if not writes.between(earlier, now):
            break
        earlier = now
        await anyio.sleep(QUIET_S)
    return earlier


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
    right: Mapping[str, str],
    up: Sequence[str],
    *,
    probe: instruments.Probe | None = None,
    fault: float = float("-inf"),
) -> None:
    """Wait until the `right` owner of each VIP alone answers, all speakers on `up` agree on ring and owners, and no answer
    is missing.

    What was before `fault` (monotonic seconds) does not count as rest.
    """
    reason = "the observer has no record yet"

    async def rest() -> bool:
        nonlocal reason
        if time.monotonic() < fault + CALM_S:
            return False
        macs = stage.macs()
        settled = {vip: macs[mac] for vip, mac in observer.settled(CALM_S).items() if mac in macs}
        views = await stage.statuses(up)
        reason = unrest(settled, views, right, up)
        if not reason and probe is not None and not probe.steady(CALM_S):
            reason = "answers are missing"
        return not reason

    try:
        await until("not at rest", rest, SETTLE_S)
    except ChaosError:
        raise ChaosError(f"not at rest within {SETTLE_S:g} s: {reason}") from None


def unrest(
    settled: Mapping[str, str],
    views: Mapping[str, SpeakerStatus],
    right: Mapping[str, str],
    up: Sequence[str],
) -> str:
    """Why a cluster is not at rest, empty when it is; `right` is who has to own each of the VIPs."""
    wanted = tuple(sorted(up))
    for node in wanted:
        if node not in views or not views[node].ready:
            return f"the speaker on {node} is not ready"
        if views[node].alive != wanted:
            return f"{node} sees {', '.join(views[node].alive)} alive"
    for vip, owner in right.items():
        if vip not in settled:
            return f"{vip} has not had one owner for {CALM_S:g} s"
        if settled[vip] != owner:
            return f"{settled[vip]} answers for {vip}, which {owner} has to own"
        for node in wanted:
            if views[node].owner(vip) != owner:
                return f"{owner} answers for {vip}, but {node} says that {views[node].owner(vip)} owns it"
    return ""
