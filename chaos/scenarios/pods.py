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
