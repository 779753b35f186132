"""What several scenarios do to Pods."""

from __future__ import annotations

from chaos.install import NAMESPACE
from chaos.stage import Stage, until


async def renew_speaker(stage: Stage, node: str) -> None:
    """Delete the speaker Pod of a node and wait for its successor."""
    pod = (await stage.speaker_pods())[node]

    async def renewed() -> bool:
        found = (await stage.speaker_pods()).get(node)
        return found is not None and found.metadata.uid != pod.metadata.uid

    await stage.lab.api.delete(f"/api/v1/namespaces/{NAMESPACE}/pods/{pod.metadata.name}")
    await until(f"no new speaker on {node}", renewed, 30)


async def renew_speakers(stage: Stage, _node: str) -> None:
    """The same on every node, one after the other: members grant one that was silent and lived more misses for ten
    minutes, which the next run must not inherit."""
    for node in stage.nodes:
        await renew_speaker(stage, node)
        await stage.ring_is(stage.nodes, 60)
