"""Status and metrics say what the decisions and the responder said."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import cast

import msgspec
import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from announcer.layer2.arp import DropReason
from announcer.layer2.claims import ANSWERING, Reason, State
from announcer.layer2.handle import Responder
from announcer.layer2.messages import AddressCounters, ClaimChanged, ForeignAnswer
from election.order import Order
from gossip.counters import Counters
from gossip.errors import RejectReason
from gossip.member import MemberState
from speaker.announced import Announced, Notice, ServiceAnnounced, ServiceWithdrawn
from speaker.claims import STATES, Claims
from speaker.decide import Decider
from speaker.metrics import registry
from speaker.roster import PeerComplaints, Peers
from speaker.state import LOOP_DEAD_AFTER_S, MAX_LAST_EVENTS, ResponderFacts, SpeakerState
from speaker.status import ClaimStatus, VipStatus, vip_status
from tests.unit.speaker.builders import CONFIG, VIP, node, our_meta, piece, service, view
from tests.unit.speaker.test_claims import Told

MEMBERS = {
    "n2": view("n2", "198.18.0.12", MemberState.DEAD, incarnation=3),
    "n1": view("n1", "198.18.0.11", meta=our_meta(), incarnation=7),
}


def state() -> SpeakerState:
    decider = Decider(node="n1", order=Order.CURRENT)
    for name in ("n1", "n2"):
        decider.set_node(node(name))
    decider.set_config(CONFIG)
    decider.set_members(["n1"], "joined")
    decider.set_service(service("web", str(VIP)))
    decider.set_slice(piece("web", "n1"))
    claims = Claims("n1", cast("Responder", Told()))
    announced = Announced(claims.silent)
    announced.decided(decider.take(1.0))
    return SpeakerState(
        node="n1",
        version="0.1.0",
        started=0.0,
        wall=lambda moment: f"wall-{moment:g}",
        decider=decider,
        announced=announced,
        claims=claims,
        peers=Peers(own_address="198.18.0.11"),
        complaints=PeerComplaints(),
        responder=ResponderFacts(pid=12),
        ring_enabled=True,
        ring_encrypted=True,
        members=lambda: MEMBERS,
        ring_counters=Counters(
            packets_in_by=Counter({"Ping": 5}),
            bytes_in_by=Counter({"Ping": 500}),
            packets_out_by=Counter({"IndirectPing": 2}),
        ),
        awaited=frozenset({"services", "nodes"}),
    )


def samples(of: SpeakerState) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = generate_latest(registry(of)).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_announced_is_what_the_responder_reported() -> None:
    made = state()
    wished = vip_status(VIP, made.decider, made.announced, made.claims, made.wall)
    assert (wished.owner, wished.announcing) == ("n1", False)
    name = (
        "metallb_speaker_announced",
        (("ip", str(VIP)), ("node", "n1"), ("protocol", "layer2"), ("service", "default/web")),
    )
    assert name not in samples(made)
    made.announced.reported(VIP, "eth0")
    real = vip_status(VIP, made.decider, made.announced, made.claims, made.wall)
    assert (real.announcing, real.interfaces, real.since) == (True, ("eth0",), "wall-1")
    assert (wished.claim, real.claim) == (None, None)
    assert (real.ranking, real.excluded) == (("n1",), {"n2": "speakerNotAlive"})
    assert samples(made)[name] == 1.0


def test_the_status_of_a_claim() -> None:
    made = state()

    def told(claim: State, reason: Reason, at: float, holder: bytes = b"", mac: bytes = b"") -> VipStatus:
        made.claims.changed(ClaimChanged(VIP, claim, reason, holder, mac), at)
        made.announced.claim_changed(VIP)
        return vip_status(VIP, made.decider, made.announced, made.claims, made.wall)

    told(State.ASKING, Reason.WANTED, 2.0)
    assert told(State.ASKING, Reason.LINK_NOT_PROVEN, 3.0).claim == ClaimStatus(
        "asking", "linkNotProven", since="wall-2"
    )
    assert told(State.HELD, Reason.HOLDER_ANSWERS, 4.0, b"n2").claim == ClaimStatus(
        "held", "holderAnswers", "n2", "wall-4"
    )
    mac = bytes.fromhex("0200000000aa")
    conflicted = told(State.CONFLICTED, Reason.STRANGER_ANSWERS, 5.0, mac=mac)
    assert conflicted.claim == ClaimStatus(
        "conflicted", "strangerAnswers", since="wall-5", mac="02:00:00:00:00:aa"
    )


@pytest.mark.parametrize("claim", list(State))
def test_no_node_announces_what_its_claim_does_not_allow(claim: State) -> None:
    """Whatever the order in which the responder's reports come in, and although this node is the elected owner."""
    made = state()
    name = (
        "metallb_speaker_announced",
        (("ip", str(VIP)), ("node", "n1"), ("protocol", "layer2"), ("service", "default/web")),
    )
    allowed = claim in (State.IDLE, *ANSWERING)

    def move(to: State) -> list[Notice]:
        made.claims.changed(ClaimChanged(VIP, to, Reason.WANTED, b""), 2.0)
        return made.announced.claim_changed(VIP)

    move(State.ANNOUNCING)
    assert [type(notice) for notice in made.announced.reported(VIP, "eth0")] == [ServiceAnnounced]
    assert [type(notice) for notice in move(claim)] == ([] if allowed else [ServiceWithdrawn])
    assert made.announced.reported(VIP, "eth1") == []
    shown = vip_status(VIP, made.decider, made.announced, made.claims, made.wall)
    assert (shown.owner, shown.announcing) == ("n1", allowed)
    assert shown.interfaces == (("eth0", "eth1") if allowed else ())
    assert (name in samples(made)) is allowed


def test_ring_status_names_states_versions_and_itself() -> None:
    ring = state().ring_status()
    assert [(m.name, m.state, m.incarnation, m.version, m.is_self) for m in ring.members] == [
        ("n1", "alive", 7, "0.1.0", True),
        ("n2", "dead", 3, "", False),
    ]
    encoded = json.loads(msgspec.json.encode(ring))
    assert encoded["members"][0]["self"] is True
    assert encoded["members"][1]["since"] == "wall-10"


def test_what_is_missing_before_it_is_ready() -> None:
    made = state()
    assert made.why_not_ready() == "waiting for the first list of nodes, services"
    made.synced = {"nodes", "services"}
    assert made.why_not_ready() == "waiting for the ring"
    made.joined = True
    assert made.why_not_ready() == "no interface to announce on"
    made.responder.interfaces = ("eth0",)
    assert made.why_not_ready() is None
    made.responder.exited = "gone"
    assert made.why_not_ready() == "the responder has ended: gone"


def test_health_follows_the_decision_loop() -> None:
    made = state()
    made.last_turn = 100.0
    assert made.why_not_healthy(100.0 + LOOP_DEAD_AFTER_S) is None
    assert "has not turned" in (made.why_not_healthy(101.0 + LOOP_DEAD_AFTER_S) or "")


def test_api_and_config_status() -> None:
    made = state()
    assert made.api_status().connected is False
    made.synced = {"nodes", "services"}
    assert made.api_status().connected is True
    made.api_errors["nodes"] = "refused"
    assert (made.api_status().connected, made.api_status().error) == (False, "nodes: refused")
    made.config_stale, made.config_error = True, "no"
    config = made.config_status()
    assert (config.loaded, config.stale, config.error, config.pools) == (
        True,
        True,
        "no",
        ("lan", "six", "wan"),
    )


def test_metrics_of_layer2_kubernetes_and_ring() -> None:
    made = state()
    made.responder.counters[VIP] = AddressCounters(3, 2, 10)
    made.responder.drops[DropReason.NOT_ANNOUNCED] = 4
    made.complaints.count("198.18.0.12", 6)
    made.updates, made.config_stale = 8, True
    assert made.ring_counters is not None
    made.ring_counters.rejected[RejectReason.UNDECRYPTABLE] = 6
    found = samples(made)
    ip = (("ip", str(VIP)),)
    assert found["metallb_layer2_requests_received", ip] == 3
    assert found["metallb_layer2_responses_sent", ip] == 2
    assert found["metallb_layer2_gratuitous_sent", ip] == 10
    assert found["vipring_layer2_dropped_total", (("reason", "notAnnounced"),)] == 4
    assert found["metallb_k8s_client_updates_total", ()] == 8
    assert found["metallb_k8s_client_update_errors_total", ()] == 0
    assert found["metallb_k8s_client_config_loaded_bool", ()] == 1
    assert found["metallb_k8s_client_config_stale_bool", ()] == 1
    assert found["vipring_members", (("state", "alive"),)] == 1
    assert found["vipring_members", (("state", "dead"),)] == 1
    assert found["vipring_ring_undecryptable_total", (("peer", "198.18.0.12"),)] == 6
    assert found["vipring_ring_rejected_total", (("reason", "undecryptable"),)] == 6
    pings = (("direction", "in"), ("type", "ping"))
    assert found["vipring_ring_packets_total", pings] == 5
    assert found["vipring_ring_bytes_total", pings] == 500
    assert found["vipring_ring_packets_total", (("direction", "out"), ("type", "indirectPing"))] == 2


def test_metrics_of_claims() -> None:
    made = state()

    def counted() -> dict[str, float]:
        found = samples(made)
        return {word: found["vipring_claims", (("state", word),)] for word in STATES}

    nothing = dict.fromkeys(("idle", "asking", "announcing", "held", "handingOver", "conflicted"), 0.0)
    assert counted() == {**nothing, "idle": 1.0}
    made.claims.changed(ClaimChanged(VIP, State.ASKING, Reason.WANTED, b""), 5.0)
    assert counted() == {**nothing, "asking": 1.0}
    made.claims.changed(ClaimChanged(VIP, State.HANDING_OVER, Reason.NOT_OURS, b"n2"), 5.0)
    assert counted() == {**nothing, "handingOver": 1.0}
    made.claims.changed(ClaimChanged(VIP + 1, State.HELD, Reason.HOLDER_ANSWERS, b"n2"), 5.0)
    assert counted() == {**nothing, "handingOver": 1.0, "held": 1.0}, "one more than is elected by now"
    for ip in (VIP, VIP + 1):
        made.claims.changed(ClaimChanged(ip, State.IDLE, Reason.TAKEN_OVER, b""), 5.0)
    assert counted() == {**nothing, "idle": 1.0}


def test_metrics_of_strangers_and_links() -> None:
    made = state()
    names = ("vipring_foreign_answers_total", "vipring_links_not_proven")
    assert [samples(made)[name, ()] for name in names] == [0, 0]
    made.claims.foreign(ForeignAnswer(VIP, bytes.fromhex("0200000000aa"), b""))
    made.claims.foreign(ForeignAnswer(VIP, bytes.fromhex("0200000000ab"), b"n2"))
    made.responder.lost_links = {"eth0"}
    assert [samples(made)[name, ()] for name in names] == [2, 1]


def test_metrics_of_the_rings_health() -> None:
    made = state()
    assert made.ring_counters is not None
    made.ring_counters.suspicions = 3
    made.ring_queue = lambda: 7
    for rtt_s in (0.0001, 0.0003, 0.3, 9.0):
        made.ring_counters.rtt.add(rtt_s)
    made.ring_counters.lag.add(0.004)
    made.member_event("n2", "memberSuspect", 5.0)
    made.member_event("n2", "memberAlive", 6.0)
    found = samples(made)
    assert found["vipring_ring_suspicions_total", ()] == 3
    assert found["vipring_ring_false_alarms_total", ()] == 1
    assert found["vipring_ring_queue_depth", ()] == 7
    name = "vipring_ring_probe_rtt_seconds"
    assert [found[f"{name}_bucket", (("le", le),)] for le in ("0.0002", "0.0005", "0.2", "0.5", "+Inf")] == [
        1,
        2,
        2,
        3,
        4,
    ]
    assert found[f"{name}_count", ()] == 4
    assert found[f"{name}_sum", ()] == pytest.approx(9.3004)
    assert found["vipring_ring_loop_lag_seconds_bucket", (("le", "0.005"),)] == 1


def test_a_member_shows_its_round_trip_its_watchers_and_its_last_event() -> None:
    made = state()
    views = dict(MEMBERS)
    views["n2"] = replace(views["n2"], rtt_s=0.0012345)
    made.members = lambda: views
    made.watchers = {"n1": ("n2",), "n2": ("n1",)}.__getitem__
    made.member_event("n2", "memberJoined", 3.0)
    made.member_event("n2", "memberDead", 5.0)
    one, two = made.ring_status().members
    assert (one.rtt_ms, one.last_event, one.last_event_at) == (None, "", "")
    assert (two.rtt_ms, two.last_event, two.last_event_at) == (1.234, "memberDead", "wall-5")
    assert (one.watchers, two.watchers) == (("n2",), ("n1",))


def test_last_events_of_strangers_are_forgotten() -> None:
    made = state()
    for number in range(MAX_LAST_EVENTS):
        made.member_event(f"stranger-{number}", "memberJoined", 1.0)
    made.member_event("n2", "memberDead", 2.0)
    assert made.last_events == {"n2": ("memberDead", 2.0)}
