"""Recorded packets of a dead member: they neither wake it nor bring it back once it is forgotten."""

from dataclasses import replace

import pytest

from gossip.address import Endpoint
from gossip.config import SwimConfig
from gossip.errors import RejectReason
from gossip.fastconfig import FastLaneConfig
from gossip.keyring import Keyring
from gossip.member import MemberState
from gossip.messages import Ack, Dead, Ping, Struct, Suspect, encode
from gossip.meta import Meta
from gossip.outputs import MemberDead, MemberJoined, Output
from gossip.stream import encode_push_pull, frame
from tests.unit.gossip.helpers import PORT, SOURCE, Bench, address, alive, entropy, of, state

QUICK = SwimConfig(gossip_to_the_dead_time_s=2.0)
META = Meta(software="vipring", version="1", instance=b"first").encode()
B = Endpoint("198.18.0.10", PORT)
C = Endpoint("198.18.0.11", PORT)


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


@pytest.fixture(params=[None, FastLaneConfig()], ids=["plain", "lane"])
def lane(request: pytest.FixtureRequest) -> FastLaneConfig | None:
    found: FastLaneConfig | None = request.param
    return found


@pytest.fixture(params=[None, 16, 32], ids=["open", "short-key", "key"])
def keyring(request: pytest.FixtureRequest) -> Keyring | None:
    return None if request.param is None else Keyring([bytes(request.param)])


class Tape:
    """A ring of me, b and c in which every byte that b sends is kept, until b falls silent."""

    def __init__(self, config: SwimConfig, keyring: Keyring | None) -> None:
        self.bench = Bench(config, keyring, meta=META)
        self.keyring = keyring
        self.datagrams: list[bytes] = []
        pushed = encode_push_pull([state("b", 10, 0, 3)], join=True)
        self.stream = frame(pushed, keyring, entropy, config.protocol_version)
        self.bench.hear(alive("c", 11, meta=META))

    def from_b(self, *parts: Struct) -> list[Output]:
        data = self.bench.codec.pack([encode(part) for part in parts], crc=False)
        self.datagrams.append(data)
        return self.bench.hear_bytes(data, B)

    def live(self, seconds: float, *, answers: bool) -> list[Output]:
        """Let time pass; c always answers, b does and asks if it is alive."""
        outputs: list[Output] = []
        end = self.bench.now + seconds
        while (deadline := self.bench.node.next_deadline()) is not None and deadline <= end:
            self.bench.now = max(self.bench.now, deadline)
            self.bench.node.handle_timer(self.bench.now)
            taken = self.bench.node.take_outputs()
            outputs += taken
            for to, message in self.bench.messages(taken):
                if isinstance(message, Ping) and message.node == "c":
                    outputs += self.bench.hear(Ack(message.seq), source=to)
                elif isinstance(message, Ping) and answers:
                    outputs += self.from_b(Ack(message.seq))
                    outputs += self.from_b(Ping(message.seq, "me", address(10), PORT, "b"))
        self.bench.now = end
        return outputs

    def replay(self) -> list[Output]:
        outputs = [output for data in self.datagrams for output in self.bench.hear_bytes(data, B)]
        stream = self.bench.node.accept_stream(source=B, now=self.bench.now)
        assert stream is not None
        self.bench.node.receive_stream(stream, self.stream, now=self.bench.now)
        return outputs + self.bench.node.take_outputs()


def test_whatever_the_dead_sent_while_it_lived_does_not_wake_it(
    lane: FastLaneConfig | None, keyring: Keyring | None
) -> None:
    tape = Tape(SwimConfig(fast_lane=lane), keyring)
    bench = tape.bench
    assert of(MemberJoined, tape.from_b(alive("b", 10, 1, META)))
    tape.live(2.0, answers=True)
    tape.from_b(alive("b", 10, 3, META))
    tape.live(2.0, answers=True)
    before = len(tape.datagrams)
    assert before >= (50 if lane else 5), "acks and pings of b are on the tape"
    assert bench.node.counters.rejected[RejectReason.UNDECRYPTABLE] == 0
    tape.live(1.0, answers=False)
    assert of(MemberDead, bench.hear(Suspect(3, "b", "c"), Dead(3, "b", "c"), source=C))
    for _ in range(20):
        assert not of(MemberJoined, tape.replay())
        assert not of(MemberJoined, tape.live(1.0, answers=False))
    assert bench.node.members()["b"].state is MemberState.DEAD
    assert len(tape.datagrams) == before
    # The same path, were it no recording: what it says is read.
    assert of(MemberJoined, tape.from_b(alive("b", 10, 4, META)))


def test_the_forgotten_is_not_woken_by_what_it_sent(
    lane: FastLaneConfig | None, keyring: Keyring | None
) -> None:
    tape = Tape(replace(QUICK, fast_lane=lane), keyring)
    bench = tape.bench
    tape.from_b(alive("b", 10, 3, META))
    tape.live(2.0, answers=True)
    assert of(MemberDead, bench.hear(Dead(3, "b", "c"), source=C))
    tape.live(10.0, answers=False)
    assert "b" not in bench.node.members()
    for _ in range(20):
        assert not of(MemberJoined, tape.replay())
        assert not of(MemberJoined, tape.live(1.0, answers=False))
    assert "b" not in bench.node.members()


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
