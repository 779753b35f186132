"""What several scenarios do to Pods."""

from __future__ import annotations

from collections.abc import Iterable

from chaos.install import NAMESPACE
from chaos.stage import Stage, until


async def renew_speaker(stage: Stage, node: str) -> None:
    """Delete the speaker Pod of a node and wait for its successor."""
    await _renew(stage, [node])


async def renew_speakers(stage: Stage, _node: str) -> None:
    """The same on every node at once: members grant one that was silent and lived more misses for ten minutes, which
    the next run must not inherit."""
    await _renew(stage, stage.nodes)
    await stage.ring_is(stage.nodes, 60)


async def _renew(stage: Stage, nodes: Iterable[str]) -> None:
    before = {node: pod for node, pod in (await stage.speaker_pods()).items() if node in set(nodes)}

    async def renewed() -> bool:
        found = await stage.speaker_pods()
        return all(
            node in found and found[node].metadata.uid != pod.metadata.uid for node, pod in before.items()
        )

    for pod in before.values():
        await stage.lab.api.delete(f"/api/v1/namespaces/{NAMESPACE}/pods/{pod.metadata.name}")
    await until(f"no new speaker on {', '.join(before)}", renewed, 30)
