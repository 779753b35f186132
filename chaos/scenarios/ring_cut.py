"""The ring is cut, at one node or between all, while the data path lives: no address may move."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Mapping

import anyio

from chaos import frames, install
from chaos.errors import ChaosError
from chaos.lab.tools import run_tool
from chaos.scenarios.model import ALWAYS, Fault, Scenario
from chaos.scenarios.pods import renew_speakers
from chaos.scenarios.power_off import power_on
from chaos.scenarios.ringport import RING_PORT, block, unblock
from chaos.stage import Stage, until

_ADDED = "echo-during-the-cut"
_HELD_WITHIN_S = 40.0
_ANNOUNCED_WITHIN_S = 10.0


async def _short(stage: Stage, node: str) -> float:
    started = time.monotonic()
    await block(stage, node)
    await anyio.sleep(stage.scene.lasts_s)
    await unblock(stage, node)
    return started


async def _choose(stage: Stage, node: str) -> None:
    """Which node is to lose power inside the cut: one that owns something, and no backend of it may matter."""
    owning = sorted(set(stage.scene.owners.values()) - {node})
    if not owning:
        raise ChaosError(f"{node} owns every address; nothing could be seen of a power-off inside the cut")
    stage.scene.off.add(stage.scene.rng.choice(owning))
    await stage.withdraw_backends(stage.scene.off)


def _long(*, everywhere: bool) -> Fault:
    async def fault(stage: Stage, node: str) -> float:
        scene = stage.scene
        cut = stage.nodes if everywhere else (node,)
        (off,) = scene.off
        began = time.monotonic()
        for name in cut:
            await block(stage, name)
        await _wait_until(began + 0.05 * scene.lasts_s)
        await _until_held(stage, node, began)
        address = await _new_service(stage)
        await _wait_until(began + 0.5 * scene.lasts_s)
        other = scene.rng.choice([name for name in stage.nodes if name not in (node, off)])
        left = await stage.lab.kill(other, "speaker", signal.SIGTERM)
        await _wait_until(began + 0.75 * scene.lasts_s)
        at = await stage.lab.power_off(off)
        await _wait_until(began + scene.lasts_s)
        hit = {other: left, off: at}
        look(stage, began, hit, time.monotonic())
        macs = {stage.lab.node_mac(name): when for name, when in hit.items()}
        seen = scene.recorder.record()
        scene.facts["announcers_of_the_new"] = announcers_until_hit(
            seen, address, macs, since=began, until=time.monotonic()
        )
        _look_at_covered(stage, seen, off, at)
        for name in cut:
            if name != off:
                await unblock(stage, name)
        return began

    return fault


async def _wait_until(at: float) -> None:
    await anyio.sleep(max(0.0, at - time.monotonic()))


async def _until_held(stage: Stage, node: str, began: float) -> None:
    """Wait until the heir of the client's address calls it held by its owner; `vipring explain` has to say so too."""
    scene, heirs = stage.scene, list[str]()

    async def held() -> bool:
        views = await stage.statuses([name for name in stage.nodes if name != node])
        heirs[:] = [
            name for name, view in views.items() if (claim := view.claim(scene.vip)) and claim.state == "held"
        ]
        return bool(heirs)

    try:
        await until(f"no heir holds back for {scene.vip}", held, _HELD_WITHIN_S)
    except ChaosError as error:
        scene.require(False, str(error))
        return
    scene.facts["held_s"] = time.monotonic() - began
    service = next(name for name, vip in (await stage.services()).items() if vip == scene.vip)
    where = ["--kubeconfig", str(stage.lab.kubeconfig), "--node", heirs[0]]
    # Its exit status is 1 for an owner that does not announce.
    said = await run_tool([sys.executable, "-m", "vipring", "explain", service, *where], allowed=(0, 1))
    scene.require(f"held: {node} answers for it" in said, f"explain on {heirs[0]} does not say held: {said}")


async def _new_service(stage: Stage) -> str:
    """A Service that comes while the ring is cut; its address, once it was announced."""
    await stage.lab.apply([install.echo_service(_ADDED)])
    address = (await stage.external_ips([_ADDED], 40))[_ADDED]

    async def announced() -> bool:
        return bool(frames.announcers(stage.scene.recorder.record(), address, since=0.0))

    try:
        await until(
            f"nobody announces {address}, the address of a new Service", announced, _ANNOUNCED_WITHIN_S
        )
    except ChaosError as error:
        stage.scene.require(False, str(error))
    return address


def look(stage: Stage, began: float, until: Mapping[str, float], ended: float) -> None:
    """Note how many addresses moved in the cut: of whatever node, but of those in `until` (what was done to them) only up to
    that time."""
    scene, seen = stage.scene, stage.scene.recorder.record()
    macs = {name: mac for mac, name in stage.macs().items()}
    scene.facts["moved_in_the_cut"] = sum(
        len(frames.moved(seen, {vip: macs[owner]}, since=began, until=until.get(owner, ended)))
        for vip, owner in scene.owners.items()
    )


def announcers_until_hit(
    seen: frames.FrameRecord, vip: str, hit: Mapping[str, float], *, since: float, until: float
) -> int:
    """How many MAC addresses announced a VIP, up to `until`, or to when the first of them was hit: then another has to."""
    told = (frame for frame in seen.frames if frame.kind == "announcement" and frame.sender == vip)
    first = next((frame.mac for frame in told if frame.at >= since), None)
    end = min(until, hit.get(first, until)) if first is not None else until
    return len(frames.announcers(seen, vip, since=since, until=end))


def _look_at_covered(stage: Stage, seen: frames.FrameRecord, off: str, at: float) -> None:
    """What the packet record says of the addresses that lost their owner."""
    scene, mac = stage.scene, stage.lab.node_mac(off)
    of_off = {vip: mac for vip, owner in scene.owners.items() if owner == off}
    covered = frames.back_s(seen, of_off, since=at)
    scene.require(covered is not None, f"not every address of {off} was announced again inside the cut")
    if covered is not None:
        scene.facts["covered_s"] = covered


async def _after(stage: Stage, node: str) -> None:
    await stage.lab.api.delete(f"/api/v1/namespaces/default/services/{_ADDED}")
    await power_on(stage, node)
    await stage.ring_is(stage.nodes, 60)
    await renew_speakers(stage, node)


_DETECTED_BY = frozenset({"memberDead"})
_INSIDE = "a new Service, a restart of a speaker and a power-off inside"


def _scenario(name: str, where: str, *, everywhere: bool) -> Scenario:
    return Scenario(
        name=name,
        summary=f"port {RING_PORT} is blocked {where} for 90 s, with {_INSIDE}",
        before=_choose,
        fault=_long(everywhere=everywhere),
        after=_after,
        detected_by=_DETECTED_BY,
        services=10,
        lasts_s=90.0,
        promise={
            **ALWAYS,
            "lost": 0,
            "silent_s": 2.0,
            "covered_s": 2.0,
            "moved_in_the_cut": 0,
            "announcers_of_the_new": 1,
        },
    )


SCENARIOS = (
    Scenario(
        name="ring-cut",
        summary=f"port {RING_PORT} of the owner is blocked for 10 s; its data path lives, so its addresses must stay",
        fault=_short,
        detected_by=_DETECTED_BY,
        lasts_s=10.0,
        promise={**ALWAYS, "lost": 0, "moves": 0, "no_owner_s": 0.1},
        in_tests=True,
    ),
    _scenario("ring-cut-90", "at the owner", everywhere=False),
    _scenario("ring-cut-all", "between all nodes", everywhere=True),
)
