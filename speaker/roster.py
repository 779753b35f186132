"""Which members of the ring may own addresses, and which speakers to join: pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from announcer.layer2.told import Told
from cluster.objects import Pod
from gossip.member import MemberView
from gossip.meta import Meta

RING_CAUSE: Final = {
    "MemberJoined": "memberJoined",
    "MemberSuspect": "memberSuspect",
    "MemberAlive": "memberAlive",
    "MemberDead": "memberDead",
    "MemberLeft": "memberLeft",
    "MemberUpdated": "memberUpdated",
}
"""Name of the log event, and reason of an ownership change, by class of the ring's output."""


def may_own(view: MemberView) -> bool:
    """Whether a member is a candidate: present, and not one of ours that says it is draining or not eligible.

    A suspect counts as living, as with MetalLB; members without our Meta (MetalLB itself) always qualify.
    """
    if not view.state.present:
        return False
    meta = Meta.decode(view.meta)
    return meta is None or (meta.eligible and not meta.draining)


def candidates(members: Mapping[str, MemberView]) -> frozenset[str]:
    """Names of the members that may own addresses."""
    return frozenset(name for name, view in members.items() if may_own(view))


class Peers:
    """The speaker pods that Kubernetes knows: whom to join, and what to call an address."""

    def __init__(self, *, own_address: str) -> None:
        self._own = own_address
        self._pods: dict[str, Pod] = {}

    def set_pod(self, pod: Pod) -> None:
        """A speaker pod appeared or changed."""
        self._pods[pod.metadata.name] = pod

    def remove_pod(self, name: str) -> None:
        """A speaker pod is gone."""
        self._pods.pop(name, None)

    def to_join(self, members: Iterable[MemberView]) -> list[str]:
        """Addresses of speaker pods that are not members present in the ring, sorted.

        Pods without an address yet, finished pods and this speaker itself are left out.
        """
        present = {view.address for view in members if view.state.present}
        return sorted(
            {
                pod.status.pod_ip
                for pod in self._pods.values()
                if pod.status.pod_ip
                and pod.status.phase not in {"Succeeded", "Failed"}
                and pod.status.pod_ip not in present
                and pod.status.pod_ip != self._own
            }
        )

    def node_at(self, address: str) -> str | None:
        """Name of the node whose speaker has this address."""
        return next(
            (
                pod.spec.node_name
                for pod in self._pods.values()
                if pod.status.pod_ip == address and pod.spec.node_name
            ),
            None,
        )


class PeerComplaints:
    """Rate limit of lines about a peer, and counts for a metric; both bounded, since peers choose the addresses.

    One line a peer and reason in `interval_s`, about MAX_TOLD of them at most; the next one says how many were left out.
    """

    MAX_TOLD: Final = 256
    MAX_LABELS: Final = 64
    OTHER: Final = "other"

    def __init__(self, *, interval_s: float = 60.0) -> None:
        self._told: Told[tuple[str, str]] = Told(again_s=interval_s, most=self.MAX_TOLD)
        self.totals: Counter[str] = Counter()

    def count(self, peer: str, times: int) -> None:
        """Add to a peer's total; beyond 64 peers they share the label `other`."""
        known = peer in self.totals or len(self.totals) < self.MAX_LABELS
        self.totals[peer if known else self.OTHER] += times

    def tell(self, peer: str, reason: str, times: int, now: float) -> int | None:
        """Number of complaints left out since the last line if one is due now, else None."""
        return self._told.tell((peer, reason), now, times=times)
