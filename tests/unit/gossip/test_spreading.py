"""Who gets gossip and exchanges of state, and what displaces what in the queue (memberlist state.go, gossip, pushPull)."""

from dataclasses import replace

import pytest

from gossip.address import Endpoint
from gossip.config import SwimConfig
from gossip.member import MemberState
from gossip.messages import Dead, NodeState, Suspect, User
from gossip.outputs import OpenStream, Refuted
from gossip.stream import encode_push_pull
from tests.unit.gossip.helpers import PORT, SOURCE, Bench, alive, of, state

ALL_AT_ONCE = SwimConfig(
    gossip_nodes=100, retransmit_mult=50, gossip_to_the_dead_time_s=5.0, disable_tcp_pings=True
)
SERF = replace(
    SwimConfig.lan(), delegate_protocol_min=2, delegate_protocol_max=5, delegate_protocol_version=5
)


def reached(bench: Bench, payload: bytes) -> set[str]:
    """The hosts that get a message by the next gossip; then it is gossiped no more."""
    bench.node.broadcast_user(payload, now=bench.now)
    outputs = bench.wait_answered(0.2)
    bench.wait_answered(0.8)
    assert bench.node.queue_depth() == 0
    return {to.host for to, message in bench.messages(outputs) if message == User(payload)}


def test_the_dead_get_gossip_for_a_time_and_who_left_gets_none() -> None:
    bench = Bench(ALL_AT_ONCE, members=[f"n{number}" for number in range(60)])
    bench.wait_answered(8.0)
    bench.hear(Suspect(1, "n1", "x"), Dead(1, "n2", "x"), Dead(1, "n3", "n3"))
    bench.wait_answered(1.0)
    everyone = {f"198.18.0.{number}" for number in range(10, 70)}
    assert reached(bench, b"soon") == everyone - {"198.18.0.13"}
    bench.wait_answered(2.8)
    assert reached(bench, b"within the time") == everyone - {"198.18.0.13"}
    assert reached(bench, b"after it") == everyone - {"198.18.0.12", "198.18.0.13"}
    assert {"n2", "n3"} <= set(bench.node.members()), "neither was forgotten yet"


def test_state_is_exchanged_with_living_members_only() -> None:
    config = SwimConfig(push_pull_interval_s=0.5, suspicion_mult=100)
    bench = Bench(config, members="bcdef")
    bench.hear(Suspect(1, "b", "x"), Dead(1, "c", "x"), Dead(1, "d", "d"))
    opened = of(OpenStream, bench.wait_answered(20.0))
    assert {stream.to for stream in opened} == {Endpoint(f"198.18.0.{number}", PORT) for number in (13, 14)}
    assert bench.node.members()["b"].state is MemberState.SUSPECT
    assert len(opened) > 30


def test_a_refutation_displaces_only_the_refutation_before_it() -> None:
    bench = Bench()
    assert bench.node.queue_depth() == 1, "the first word about ourselves"
    assert of(Refuted, bench.hear(Suspect(1, "me", "b")))
    assert bench.node.queue_depth() == 2
    assert of(Refuted, bench.hear(Suspect(2, "me", "b")))
    assert bench.node.queue_depth() == 2


def push(bench: Bench, states: list[NodeState]) -> None:
    """Let a peer exchange state with us."""
    stream = bench.node.accept_stream(source=SOURCE, now=bench.now)
    assert stream is not None
    bench.node.receive_stream(stream, encode_push_pull(states, join=True), now=bench.now)
    bench.node.take_outputs()


@pytest.mark.parametrize(
    ("kind", "vsn", "accepted"),
    [
        (0, "010502020504", True),
        (0, "010502020506", False),
        (0, "010502030505", True),
        (0, "010502050505", False),
        (0, "010502020404", False),
        (0, "010102020505", False),
        (0, "030502020505", False),
        (0, "010506020505", False),
        (0, "010502000000", False),
        (0, "01050202", False),
        (0, "", False),
        (2, "010502020404", True),
        (2, "010101020505", True),
        (2, "010502020001", False),
        (2, "010502020506", False),
        (3, "010502020001", False),
        (2, "0105020205", False),
    ],
)
def test_only_the_living_set_the_versions_but_all_must_fit(kind: int, vsn: str, accepted: bool) -> None:
    """All speak 2 of 1 to 5; in the layer above we speak 5 and another 4 of 2 to 5 (memberlist state.go, verifyProtocol)."""
    bench = Bench(SERF)
    pushed = [state("b", 10, vsn=bytes.fromhex("010502020504")), state("c", 11, kind, vsn=bytes.fromhex(vsn))]
    push(bench, pushed)
    assert ("b" in bench.node.members()) is accepted


@pytest.mark.parametrize("killed", [False, True])
def test_members_of_our_own_table_set_the_versions_too_while_they_live(killed: bool) -> None:
    bench = Bench(SERF)
    bench.hear(alive("narrow", 11, vsn=bytes.fromhex("010502020404")))
    if killed:
        bench.hear(Dead(1, "narrow", "x"))
    pushed = [state("b", 10, vsn=bytes.fromhex("010502020505"))]
    push(bench, pushed)
    assert ("b" in bench.node.members()) is killed
