"""The Pods as a control loop must see them: what the watch has brought, plus what the loop did itself since.

Without the second part a loop would make a Pod again because its first one has not come back by the watch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from chaos.lab.objects import Pod

_FORGET_S = 5.0


class PodView:
    """`store` is the watch's view by `namespace/name`; own deeds cover it until the watch has shown them, at most 5 s."""

    def __init__(self, store: Mapping[str, Pod]) -> None:
        self._store = store
        self._own: dict[str, tuple[Pod, float]] = {}

    def made(self, pod: Pod, now: float) -> None:
        """A Pod that we have created."""
        if pod.metadata.key not in self._store:
            self._own[pod.metadata.key] = (pod, now)

    def bound(self, pod: Pod, node: str, now: float) -> None:
        """A Pod that we have given a node."""
        known = self._store.get(pod.metadata.key)
        if known is not None and not known.spec.node_name:
            spec = msgspec.structs.replace(known.spec, node_name=node)
            self._own[pod.metadata.key] = (msgspec.structs.replace(known, spec=spec), now)

    def deleted(self, pod: Pod, now: float) -> None:
        """A Pod that we have asked to be deleted."""
        meta = msgspec.structs.replace(pod.metadata, deletion_timestamp="now")
        self._own[pod.metadata.key] = (msgspec.structs.replace(pod, metadata=meta), now)

    def seen(self, key: str) -> None:
        """The watch has brought news of a Pod: that is the truth again."""
        self._own.pop(key, None)

    @property
    def expiry_s(self) -> float:
        """How long to wait for the watch before looking again; without end when nothing is owed."""
        return _FORGET_S if self._own else math.inf

    def all(self, now: float) -> list[Pod]:
        """Every Pod, ordered by name."""
        self._own = {key: (pod, at) for key, (pod, at) in self._own.items() if now - at < _FORGET_S}
        merged = {**self._store, **{key: pod for key, (pod, _) in self._own.items()}}
        return [merged[key] for key in sorted(merged)]
