"""The log lines of the ring's events."""

from __future__ import annotations

import pytest

from gossip.address import Endpoint
from gossip.errors import RejectReason
from gossip.member import MemberState
from gossip.outputs import (
    MemberAlive,
    MemberDead,
    MemberJoined,
    MemberLeft,
    MemberSuspect,
    MemberUpdated,
    PeerRejected,
)
from speaker.announced import ServiceAnnounced, ServiceWithdrawn
from speaker.decide import Offer, OwnerChange
from speaker.lines import (
    MemberEvent,
    member_line,
    notice_line,
    owner_line,
    rejected_line,
    ring_insecure_line,
    ring_off_line,
)
from tests.unit.speaker.builders import VIP, view

SEEN = view("n2", "198.18.0.12", incarnation=3)


@pytest.mark.parametrize(
    ("event", "name", "by"),
    [
        (MemberJoined(SEEN), "memberJoined", None),
        (
            MemberSuspect(view("n2", "198.18.0.12", MemberState.SUSPECT, incarnation=3), "n3"),
            "memberSuspect",
            "n3",
        ),
        (MemberAlive(SEEN), "memberAlive", None),
        (MemberDead(view("n2", "198.18.0.12", MemberState.DEAD, incarnation=3), "n1"), "memberDead", "n1"),
        (MemberLeft(view("n2", "198.18.0.12", MemberState.LEFT, incarnation=3)), "memberLeft", None),
        (MemberUpdated(SEEN), "memberUpdated", None),
    ],
)
def test_member_lines(event: MemberEvent, name: str, by: str | None) -> None:
    line = member_line(event)
    assert line.event == name
    assert line.fields["member"] == "n2"
    assert line.fields["address"] == "198.18.0.12"
    assert line.fields["incarnation"] == 3
    assert line.fields.get("by") == by


def test_a_ring_that_is_off_says_what_is_missing() -> None:
    line = ring_off_line(["METALLB_ML_LABELS (--ml-labels)", "METALLB_ML_NAMESPACE (--ml-namespace)"])
    assert (line.level, line.event) == ("warning", "ringOff")
    assert line.fields["reason"] == (
        "not given: METALLB_ML_LABELS (--ml-labels), METALLB_ML_NAMESPACE (--ml-namespace)"
    )


def test_a_ring_without_encryption_says_so() -> None:
    line = ring_insecure_line(7946)
    assert (line.level, line.event, line.fields["reason"]) == ("warning", "ringInsecure", "--insecure-ring")
    assert "port 7946" in str(line.fields["msg"])


def rejected(reason: RejectReason) -> PeerRejected:
    return PeerRejected(Endpoint("198.18.0.12", 7946), reason, "no key opens it")


def test_a_different_secret_names_the_peer_and_says_so() -> None:
    line = rejected_line(rejected(RejectReason.UNDECRYPTABLE), "n2", key_size=32, left_out=7)
    assert line.event == "peerRejected"
    assert line.fields["peer"] == "198.18.0.12"
    assert line.fields["peerNode"] == "n2"
    assert line.fields["suppressed"] == 7
    text = str(line.fields["msg"])
    assert "n2 (198.18.0.12)" in text
    assert "secret" in text
    assert "differs" in text


def test_a_peer_that_no_pod_explains_is_named_by_its_address() -> None:
    line = rejected_line(rejected(RejectReason.MALFORMED), None, key_size=32, left_out=0)
    assert "peerNode" not in line.fields
    assert "suppressed" not in line.fields
    assert "198.18.0.12" in str(line.fields["msg"])


def test_an_address_that_changed_hands() -> None:
    line = owner_line(OwnerChange(VIP, ("default/api", "default/web"), "n2", None, "memberDead", False))
    assert line == (
        "info",
        "ownerChanged",
        {
            "ip": "198.18.1.1",
            "service": "default/api,default/web",
            "owner": "n2",
            "previous": None,
            "reason": "memberDead",
        },
    )


def test_metallbs_own_lines() -> None:
    offer = Offer("default/web", VIP, "lan", "layer2")
    fields = {"service": "default/web", "ip": "198.18.1.1", "pool": "lan", "protocol": "layer2"}
    assert notice_line(ServiceAnnounced(offer)) == ("info", "serviceAnnounced", fields)
    assert notice_line(ServiceWithdrawn(offer, "notOwner")) == (
        "info",
        "serviceWithdrawn",
        {**fields, "reason": "notOwner"},
    )
