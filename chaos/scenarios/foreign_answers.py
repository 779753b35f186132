"""The owner loses power while something else answers ARP requests for its addresses: a switch, kernels, a stranger."""

from __future__ import annotations

from chaos.lab.awkward import run
from chaos.lab.plan import ROUTER, STRANGER
from chaos.scenarios.model import ALWAYS, DETECTED_BY, Scenario
from chaos.scenarios.segment import (
    be_silent,
    flood,
    meddle,
    power_off_and_alarm,
    power_on_and_renew,
    suppress,
)
from chaos.stage import Stage


async def _suppress(stage: Stage, _node: str) -> None:
    await suppress(stage)


async def _behind_a_cache(stage: Stage, node: str) -> float:
    """The switch goes on answering with the MAC address of the dead owner."""
    return await power_off_and_alarm(stage, node, {stage.lab.node_mac(node)})


async def _flood(stage: Stage, node: str) -> None:
    await flood(stage)
    await power_on_and_renew(stage, node)


def _others(stage: Stage, node: str) -> list[str]:
    return [name for name in stage.nodes if name != node]


async def _addresses(stage: Stage, node: str, action: str) -> None:
    """Add every VIP to the loopback of all nodes but one, or delete them: arp_ignore is 0 as it is by default."""
    for name in _others(stage, node):
        await run(stage.lab, name, ["sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=0"])
        for vip in stage.scene.owners:
            await run(stage.lab, name, ["ip", "addr", action, f"{vip}/32", "dev", "lo"])


async def _beside_kernels(stage: Stage, node: str) -> float:
    """As late as this, since the client has to know the owner at first, and not another node's kernel."""
    await _addresses(stage, node, "add")
    return await power_off_and_alarm(stage, node, {stage.lab.node_mac(name) for name in _others(stage, node)})


async def _clear_loopback(stage: Stage, node: str) -> None:
    await _addresses(stage, node, "del")
    await power_on_and_renew(stage, node)


async def _beside_a_stranger(stage: Stage, node: str) -> float:
    """As late as this, since a client that has to ask hears the stranger as well and takes the first answer."""
    await meddle(stage)
    fault = await power_off_and_alarm(stage, node, {STRANGER.mac})
    diverted = [name for name in _others(stage, node) if STRANGER.mac in await _gateway(stage, name)]
    stage.scene.facts["nodes_diverted"] = len(diverted)
    return fault


async def _gateway(stage: Stage, node: str) -> str:
    """What a node's kernel knows of its gateway. Speakers ask for it too, and every answer counts for the kernel."""
    _, output = await stage.lab.run(node, ["ip", "neigh", "show", str(ROUTER), "dev", "eth0"])
    return output


async def _be_silent(stage: Stage, node: str) -> None:
    await be_silent(stage)
    await power_on_and_renew(stage, node)


_PROMISE = {**ALWAYS, "outage_s": 1.0, "back_s": 1.0, "without_alarm": 0}
_TYPICAL = {"outage_s": 0.65}

SCENARIOS = (
    Scenario(
        name="suppressing-switch",
        summary="power-off where the switch suppresses ARP requests and answers them from its cache, with the dead owner's MAC",
        before=_suppress,
        fault=_behind_a_cache,
        after=_flood,
        detected_by=DETECTED_BY,
        down_after=True,
        promise=_PROMISE,
        typical=_TYPICAL,
    ),
    Scenario(
        name="vip-on-lo",
        summary="power-off where the kernels of the other nodes have the addresses on lo and answer ARP (IPVS without strictARP)",
        fault=_beside_kernels,
        after=_clear_loopback,
        detected_by=DETECTED_BY,
        down_after=True,
        impostors=True,
        promise=_PROMISE,
        typical=_TYPICAL,
    ),
    Scenario(
        name="answers-everything",
        summary="power-off where a host that is no node answers every ARP request with its own MAC",
        fault=_beside_a_stranger,
        after=_be_silent,
        detected_by=DETECTED_BY,
        down_after=True,
        impostors=True,
        promise={**_PROMISE, "nodes_diverted": 0},
        typical=_TYPICAL,
    ),
)
