"""Recorded packets of a dead member: they neither wake it nor bring it back once it is forgotten."""

from collections.abc import Callable

import pytest

from gossip.address import Endpoint
from gossip.config import SwimConfig
from gossip.fastconfig import FastLaneConfig
from gossip.keyring import Keyring
from gossip.member import MemberState
from gossip.messages import Ack, Alive, Dead, NodeState, Ping, encode
from gossip.meta import Meta
from gossip.outputs import MemberDead, MemberJoined, OpenStream, Output
from gossip.stream import encode_push_pull, frame
from tests.unit.gossip.helpers import PORT, SOURCE, VSN, Bench, address, alive, entropy, of, state

AT_B = Endpoint("198.18.0.10", PORT)
META = Meta(software="vipring", version="1", instance=b"first").encode()
QUICK = SwimConfig(gossip_to_the_dead_time_s=2.0)


def recorded(bench: Bench) -> list[object]:
    """Everything that b said while it lived, once more; the events that came of it."""
    outputs = bench.hear(alive("b", 10, 3), alive("b", 10), Ping(9, "me", address(10), PORT, "b"), Ack(4))
    stream = bench.node.accept_stream(source=SOURCE, now=bench.now)
    assert stream is not None
    bench.node.receive_stream(stream, encode_push_pull([state("b", 10, 0, 3)], join=True), now=bench.now)
    outputs += bench.node.take_outputs()
    return [output for output in outputs if isinstance(output, MemberJoined)]


def dead_at_3(config: SwimConfig) -> Bench:
    bench = Bench(config, members=["b", "c"])
    bench.hear(alive("b", 10, 3))
    assert of(MemberDead, bench.hear(Dead(3, "b", "c")))
    return bench


def test_the_dead_stays_dead() -> None:
    bench = dead_at_3(SwimConfig())
    for _ in range(5):
        assert not recorded(bench)
        bench.wait_answered(1.0)
    assert bench.node.members()["b"].state is MemberState.DEAD


def let_pass(bench: Bench, seconds: float, answer_of_b: Callable[[int], object]) -> int:
    """Let time pass with every ping of others than b answered at once; how often b was asked."""
    asked, end = 0, bench.now + seconds
    while (deadline := bench.node.next_deadline()) is not None and deadline <= end:
        bench.now = max(bench.now, deadline)
        bench.node.handle_timer(bench.now)
        for to, message in bench.messages(bench.node.take_outputs()):
            if isinstance(message, Ping) and message.node == "b":
                asked += 1
                answer_of_b(message.seq)
            elif isinstance(message, Ping):
                bench.hear(Ack(message.seq), source=to)
    bench.now = end
    return asked


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("keyring", [None, Keyring([bytes(16)]), Keyring([bytes(32)])])
def test_every_packet_and_stream_of_the_dead_replayed_wakes_nobody(
    fast: bool, keyring: Keyring | None
) -> None:
    """The bytes as they came, sealed ones under a key that still counts, and every answer of b to a question of ours."""
    config = SwimConfig(fast_lane=FastLaneConfig() if fast else None)
    bench = Bench(config, keyring, meta=META)
    bench.hear(alive("c", 11, meta=META))
    packets: list[bytes] = []

    def said_by_b(*parts: Alive | Ack | Ping) -> list[Output]:
        packets.append(bench.codec.pack([encode(part) for part in parts], crc=False))
        return bench.hear_bytes(packets[-1], source=AT_B)

    table = [NodeState("b", address(10), PORT, META, 3, 0, VSN)]
    stream = frame(encode_push_pull(table, join=True), keyring, entropy, 2)
    said_by_b(alive("b", 10, 3, META))
    said_by_b(alive("b", 10, 3, META), Ping(9, "me", address(10), PORT, "b"))
    let_pass(bench, 3.0, lambda sequence: said_by_b(Ack(sequence)))
    assert len(packets) >= (20 if fast else 3), "no answers were recorded"
    assert of(MemberDead, bench.hear(Dead(3, "b", "c")))
    asked = 0
    outputs: list[Output] = []
    for _ in range(20):
        asked += let_pass(bench, 0.5, lambda _: None)
        outputs = [output for packet in packets for output in bench.hear_bytes(packet, source=AT_B)]
        number = bench.node.accept_stream(source=AT_B, now=bench.now)
        assert number is not None
        bench.node.receive_stream(number, stream, now=bench.now)
        outputs += bench.node.take_outputs()
        assert not of(MemberJoined, outputs)
        assert bench.node.members()["b"].state is MemberState.DEAD
    assert not bench.node.counters.rejected, "what is replayed has to be readable"
    # The lane goes on asking after the dead, and none of the recorded answers is one to a question of these.
    assert (asked > 20) is fast
    assert not of(OpenStream, outputs)


def test_the_forgotten_stays_forgotten_but_is_asked() -> None:
    bench = dead_at_3(QUICK)
    bench.wait_answered(10.0)
    assert "b" not in bench.node.members()
    outputs = bench.hear(alive("b", 10, 3))
    assert not of(MemberJoined, outputs)
    ((to, question),) = [
        (to, message) for to, message in bench.messages(outputs) if isinstance(message, Ping)
    ]
    assert (to.host, to.port, question.node) == ("198.18.0.10", PORT, "b")
    # One question at a time, whatever comes.
    assert not bench.messages(bench.hear(alive("b", 10, 3), alive("b", 10, 2)))
    assert not recorded(bench)
    assert "b" not in bench.node.members()


def test_who_answers_is_a_member_again_at_once() -> None:
    bench = dead_at_3(QUICK)
    bench.wait_answered(10.0)
    ((to, question),) = bench.messages(bench.hear(alive("b", 10)))
    assert isinstance(question, Ping)
    joined = of(MemberJoined, bench.hear(Ack(question.seq), source=to))
    assert [event.view.incarnation for event in joined] == [1]
    assert bench.node.members()["b"].state is MemberState.ALIVE
    assert not of(MemberJoined, bench.hear(Ack(question.seq), source=to))


def test_one_lost_question_does_not_decide() -> None:
    bench = dead_at_3(QUICK)
    bench.wait_answered(10.0)
    ((to, first),) = bench.messages(bench.hear(alive("b", 10)))
    assert isinstance(first, Ping)
    questions = [message for _, message in bench.messages(bench.wait(1.2)) if message == first]
    assert len(questions) == 2
    assert of(MemberJoined, bench.hear(Ack(first.seq), source=to))


def test_who_does_not_answer_is_asked_again_when_it_is_said_again() -> None:
    bench = dead_at_3(QUICK)
    bench.wait_answered(10.0)
    ((_, first),) = bench.messages(bench.hear(alive("b", 10)))
    bench.wait(1.6)
    assert isinstance(first, Ping)
    assert not of(MemberJoined, bench.hear(Ack(first.seq)))
    ((_, second),) = bench.messages(bench.hear(alive("b", 10)))
    assert isinstance(second, Ping)
    assert second.seq != first.seq


def test_a_higher_incarnation_needs_no_question() -> None:
    bench = dead_at_3(QUICK)
    bench.wait_answered(10.0)
    assert [event.view.incarnation for event in of(MemberJoined, bench.hear(alive("b", 10, 4)))] == [4]


def test_what_is_remembered_of_the_forgotten_is_bounded() -> None:
    bench = Bench(SwimConfig(gossip_to_the_dead_time_s=2.0, gossip_nodes=0), members=["c"])
    for number in range(1500):
        name = f"n{number}"
        bench.hear(alive(name, number % 200 + 20), Dead(1, name, name))
    bench.wait_answered(3000.0)
    assert set(bench.node.members()) == {"me", "c"}
    assert len(bench.node._membership._forgotten) == 1024
