"""The Pods as a control loop must see them: what the watch has brought, plus what the loop did itself since.

Without the second part a loop would make a Pod again because its first one has not come back by the watch.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from chaos.lab.objects import Pod

_FORGET_S = 5.0


class PodView:
    """`store` is the watch's view by `namespace/name`; own deeds cover it until the watch has shown them, at most 5 s."""

    def __init__(self, store: Mapping[str, Pod]) -> None:
        self._store = store
        self._own: dict[str, tuple[Pod, float]] = {}

    def did(self, pod: Pod, now: float) -> None:
        """A Pod as it is after a write of ours."""
        known = self._store.get(pod.metadata.key)
        if known is None or known.metadata.resource_version != pod.metadata.resource_version:
            self._own[pod.metadata.key] = (pod, now)

    def deleted(self, pod: Pod, now: float) -> None:
        """A Pod that we have asked to be deleted."""
        meta = msgspec.structs.replace(pod.metadata, deletion_timestamp="now")
        self._own[pod.metadata.key] = (msgspec.structs.replace(pod, metadata=meta), now)

    def seen(self, key: str) -> None:
        """The watch has brought news of a Pod: that is the truth again."""
        self._own.pop(key, None)

    def all(self, now: float) -> list[Pod]:
        """Every Pod, ordered by name."""
        self._own = {key: (pod, at) for key, (pod, at) in self._own.items() if now - at < _FORGET_S}
        merged = {**self._store, **{key: pod for key, (pod, _) in self._own.items()}}
        return [merged[key] for key in sorted(merged)]
