"""Recorded packets of a dead member: they neither wake it nor bring it back once it is forgotten."""

from gossip.config import SwimConfig
from gossip.member import MemberState
from gossip.messages import Ack, Dead, Ping
from gossip.outputs import MemberDead, MemberJoined
from gossip.stream import encode_push_pull
from tests.unit.gossip.helpers import PORT, SOURCE, Bench, address, alive, of, state

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
