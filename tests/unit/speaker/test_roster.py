"""Who may own addresses, whom to join, and how often to complain."""

from __future__ import annotations

import pytest

from gossip.member import MemberState
from speaker.roster import PeerComplaints, Peers, candidates, may_own
from tests.unit.speaker.builders import our_meta, pod, view


@pytest.mark.parametrize(
    ("state", "meta", "expected"),
    [
        (MemberState.ALIVE, our_meta(), True),
        (MemberState.SUSPECT, our_meta(), True),
        (MemberState.DEAD, our_meta(), False),
        (MemberState.LEFT, our_meta(), False),
        (MemberState.ALIVE, our_meta(eligible=False), False),
        (MemberState.ALIVE, our_meta(draining=True), False),
        (MemberState.ALIVE, b"", True),
        (MemberState.ALIVE, b"\xff\x01serf", True),
    ],
)
def test_may_own(state: MemberState, meta: bytes, expected: bool) -> None:
    member = view("n2", "198.18.0.12", state, meta=meta)
    assert may_own(member) is expected
    assert candidates({"n2": member}) == ({"n2"} if expected else set())


def test_peers_to_join_are_the_speakers_that_the_ring_misses() -> None:
    peers = Peers(own_address="198.18.0.11")
    for made in (
        pod("speaker-1", "n1", "198.18.0.11"),
        pod("speaker-2", "n2", "198.18.0.12"),
        pod("speaker-3", "n3", "198.18.0.13"),
        pod("speaker-4", "n4", ""),
        pod("speaker-5", "n5", "198.18.0.15", phase="Failed"),
    ):
        peers.set_pod(made)
    assert peers.to_join([]) == ["198.18.0.12", "198.18.0.13"]
    assert peers.to_join([view("n2", "198.18.0.12"), view("n3", "198.18.0.13", MemberState.DEAD)]) == [
        "198.18.0.13"
    ]
    assert peers.node_at("198.18.0.13") == "n3"
    assert peers.node_at("198.18.0.99") is None
    peers.remove_pod("speaker-3")
    assert peers.to_join([]) == ["198.18.0.12"]


def test_one_line_a_peer_and_reason_in_its_interval() -> None:
    complaints = PeerComplaints(interval_s=60.0)
    assert complaints.tell("198.18.0.12", "undecryptable", 1, 0.0) == 0
    assert complaints.tell("198.18.0.12", "undecryptable", 1, 1.0) is None
    assert complaints.tell("198.18.0.12", "undecryptable", 4, 59.0) is None
    assert complaints.tell("198.18.0.12", "checksum", 1, 59.0) == 0
    assert complaints.tell("198.18.0.13", "undecryptable", 1, 59.0) == 0
    assert complaints.tell("198.18.0.12", "undecryptable", 1, 61.0) == 5


def test_peers_cannot_grow_the_tables() -> None:
    complaints = PeerComplaints()
    told: list[int | None] = []
    for number in range(10_000):
        complaints.count(f"peer-{number}", 1)
        told.append(complaints.tell(f"peer-{number}", "undecryptable", 1, 0.0))
    assert len(complaints.totals) == PeerComplaints.MAX_LABELS + 1
    assert complaints.totals[PeerComplaints.OTHER] == 10_000 - PeerComplaints.MAX_LABELS
    assert sum(tell is not None for tell in told) == PeerComplaints.MAX_TOLD, "as many lines at most"
