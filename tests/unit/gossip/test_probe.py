"""Probing, relaying, answering."""

import pytest

from gossip.address import Endpoint
from gossip.config import SwimConfig
from gossip.errors import RejectReason
from gossip.member import MemberState
from gossip.messages import Ack, Dead, IndirectPing, Nack, Ping, Suspect, encode
from gossip.outputs import (
    CloseStream,
    ExchangeEnded,
    MemberSuspect,
    OpenStream,
    PeerRejected,
    SendDatagram,
    StreamPurpose,
)
from gossip.stream import encode_push_pull
from tests.unit.gossip.helpers import PORT, SOURCE, Bench, address, alive, of, state

NO_TCP = SwimConfig(disable_tcp_pings=True)


def test_a_ping_is_acked_to_the_address_it_names() -> None:
    bench = Bench()
    (answer,) = bench.messages(bench.hear(Ping(9, "me", address(50), 1234, "x")))[:1]
    assert answer == (Endpoint("198.18.0.50", 1234), Ack(9))


def test_a_ping_without_address_is_acked_to_its_source() -> None:
    bench = Bench()
    assert bench.messages(bench.hear(Ping(9)))[0] == (SOURCE, Ack(9))


def test_a_ping_for_another_name_is_not_answered() -> None:
    bench = Bench()
    (rejected,) = bench.hear(Ping(9, "other"))
    assert isinstance(rejected, PeerRejected)
    assert rejected.reason is RejectReason.WRONG_NODE


def test_acks_carry_what_waits_to_be_gossiped() -> None:
    bench = Bench(members=["b"])
    answer, *rest = bench.messages(bench.hear(Ping(9, "me")))
    assert answer[1] == Ack(9)
    assert rest


def test_an_answered_probe_accuses_nobody() -> None:
    bench = Bench(members=["b"])
    for _ in range(5):
        to, ping = bench.until_sent(Ping)
        assert to == Endpoint("198.18.0.10", PORT)
        assert (ping.node, ping.source_addr, ping.source_port, ping.source_node) == (
            "b",
            address(1),
            PORT,
            "me",
        )
        bench.hear(Ack(ping.seq))
    assert bench.node.members()["b"].state is MemberState.ALIVE


def test_an_ack_to_no_question_of_ours_proves_nothing() -> None:
    bench = Bench(NO_TCP, members=["b"])
    _, ping = bench.until_sent(Ping)
    bench.hear(Ack(ping.seq - 1), Ack(ping.seq + 1))
    assert of(MemberSuspect, bench.wait(1.0))


def test_without_an_answer_relays_and_tcp_are_asked_and_the_member_is_suspected() -> None:
    bench = Bench(members=["b", "c", "d", "e", "f"])
    to, ping = bench.until_sent(Ping)
    outputs = bench.wait(0.5)
    asked = [(relay, m) for relay, m in bench.messages(outputs) if isinstance(m, IndirectPing)]
    assert len({relay for relay, _ in asked}) == 3
    assert to not in {relay for relay, _ in asked}
    for _, request in asked:
        assert (request.seq, request.node, request.port, request.nack) == (ping.seq, ping.node, PORT, True)
        assert (request.source_addr, request.source_port) == (address(1), PORT)
    (opened,) = of(OpenStream, outputs)
    assert (opened.to, opened.purpose) == (to, StreamPurpose.PING)
    assert opened.data == encode(ping)
    outputs = bench.wait(0.5)
    (suspect,) = of(MemberSuspect, outputs)
    assert (suspect.view.name, suspect.by) == (ping.node, "me")
    assert CloseStream(opened.stream) in outputs
    # Three relays were asked for a nack and none sent one.
    assert bench.node.health_score() == 3


def test_nacks_of_living_relays_keep_our_own_health() -> None:
    bench = Bench(NO_TCP, members=["b", "c", "d", "e"])
    _, ping = bench.until_sent(Ping)
    bench.wait(0.6)
    bench.hear(Nack(ping.seq), Nack(ping.seq), Nack(ping.seq))
    assert of(MemberSuspect, bench.wait(0.5))
    assert bench.node.health_score() == 0


def versed(understood: int, config: SwimConfig | None = None) -> Bench:
    """Five others that understand the protocol up to this version."""
    bench = Bench(config)
    for number, name in enumerate("bcdef", 10):
        bench.hear(alive(name, number, vsn=bytes((1, understood, 2, 0, 0, 0))))
    return bench


@pytest.mark.parametrize("understood", [3, 4, 5])
def test_only_relays_that_know_nacks_are_asked_for_them(understood: int) -> None:
    bench = versed(understood)
    bench.until_sent(Ping)
    asked = [m.nack for _, m in bench.messages(bench.wait(0.6)) if isinstance(m, IndirectPing)]
    assert asked == [understood >= 4] * 3
    assert of(MemberSuspect, bench.wait(0.5))
    assert bench.node.health_score() == (3 if understood >= 4 else 1)


@pytest.mark.parametrize(
    ("understood", "disabled", "dialled"), [(2, False, 0), (3, False, 1), (5, False, 1), (5, True, 0)]
)
def test_only_members_that_answer_pings_by_tcp_are_asked_so_unless_it_is_off(
    understood: int, disabled: bool, dialled: int
) -> None:
    bench = versed(understood, SwimConfig(disable_tcp_pings=disabled))
    bench.until_sent(Ping)
    assert len(of(OpenStream, bench.wait(0.6))) == dialled


def test_a_ping_by_tcp_may_take_until_the_end_of_the_probe() -> None:
    bench = Bench(members="bcdef")
    bench.hear(Suspect(1, "me", "b"))
    _, ping = bench.until_sent(Ping)
    (opened,) = of(OpenStream, bench.wait(0.6))
    assert not of(CloseStream, bench.wait(1.35))
    assert CloseStream(opened.stream) in bench.wait(0.1)
    _, ping = bench.until_sent(Ping)
    scale = bench.node.health_score() + 1
    assert scale > 2
    (opened,) = of(OpenStream, bench.wait(0.6))
    bench.wait(scale - 0.7)
    bench.node.receive_stream(opened.stream, encode(Ack(ping.seq)), now=bench.now)
    bench.wait(0.2)
    assert bench.node.members()[ping.node].state is MemberState.ALIVE


def test_a_member_that_refuted_during_its_probe_is_not_suspected() -> None:
    bench = Bench(NO_TCP, members="bcdef")
    to, ping = bench.until_sent(Ping)
    bench.wait(0.6)
    bench.hear(alive(ping.node, int(to.host.rpartition(".")[2]), incarnation=2))
    bench.wait(0.35)
    probes_failed = bench.node.counters.probes_failed
    bench.wait(0.1)
    assert bench.node.counters.probes_failed == probes_failed + 1
    assert bench.node.members()[ping.node].state is MemberState.ALIVE


def test_of_the_ticks_that_a_slow_probe_missed_one_is_kept() -> None:
    bench = Bench(NO_TCP, members="bcdef")
    for incarnation in (1, 2):
        bench.hear(Suspect(incarnation, "me", "b"))
    assert bench.node.health_score() == 2
    _, slow = bench.until_sent(Ping)
    began = bench.now
    bench.wait(2.3)
    at_once = [m for _, m in bench.messages(bench.hear(Ack(slow.seq))) if isinstance(m, Ping)]
    assert len(at_once) == 1
    assert at_once[0].node != slow.node
    assert not [m for _, m in bench.messages(bench.hear(Ack(at_once[0].seq))) if isinstance(m, Ping)]
    _, after = bench.until_sent(Ping)
    assert bench.now == pytest.approx(began + 3.0)
    bench.hear(Ack(after.seq))
    bench.until_sent(Ping)
    assert bench.now == pytest.approx(began + 4.0), "a tick that was used is not kept"


def test_relays_are_members_that_nobody_suspects() -> None:
    bench = Bench(NO_TCP, members="bcdefg")
    bench.hear(Suspect(1, "c", "x"), Dead(1, "d", "x"), Dead(1, "e", "e"))
    while True:
        to, ping = bench.until_sent(Ping)
        if ping.node != "c":
            break
        bench.hear(Ack(ping.seq))
    relays = {to for to, m in bench.messages(bench.wait(0.6)) if isinstance(m, IndirectPing)}
    assert relays == {Endpoint(f"198.18.0.{number}", PORT) for number in (10, 14, 15)} - {to}


def test_a_relayed_ack_counts() -> None:
    bench = Bench(members=["b", "c"])
    _, ping = bench.until_sent(Ping)
    bench.wait(0.9)
    bench.hear(Ack(ping.seq))
    assert not of(MemberSuspect, bench.wait(0.2))


def test_an_answer_by_tcp_counts() -> None:
    bench = Bench(members=["b"])
    _, ping = bench.until_sent(Ping)
    (opened,) = of(OpenStream, bench.wait(0.6))
    bench.node.receive_stream(opened.stream, encode(Ack(ping.seq)), now=bench.now)
    outputs = bench.node.take_outputs()
    assert [(ended.purpose, ended.error) for ended in of(ExchangeEnded, outputs)] == [
        (StreamPurpose.PING, None)
    ]
    assert not of(MemberSuspect, bench.wait(0.6))


def test_an_answer_by_tcp_with_another_number_does_not_count() -> None:
    bench = Bench(members=["b"])
    _, ping = bench.until_sent(Ping)
    (opened,) = of(OpenStream, bench.wait(0.6))
    bench.node.receive_stream(opened.stream, encode(Ack(ping.seq + 1)), now=bench.now)
    assert of(MemberSuspect, bench.wait(0.6))


def test_a_suspect_is_told_so_with_the_ping() -> None:
    bench = Bench(members=["b"])
    bench.hear(Suspect(1, "b", "c"))
    packets = [
        [message for _, message in bench.messages([packet])]
        for packet in of(SendDatagram, bench.wait(1.1))
        if packet.data.startswith(b"\x0c")
    ]
    assert any(isinstance(p[0], Ping) and p[1:] == [Suspect(1, "b", "me")] for p in packets)


def test_a_relay_pings_for_others_and_passes_the_ack_on() -> None:
    bench = Bench()
    request = IndirectPing(77, address(60), 999, "far", True, address(50), 1234, "asker")
    to, ping = next((to, m) for to, m in bench.messages(bench.hear(request)) if isinstance(m, Ping))
    assert to == Endpoint("198.18.0.60", 999)
    assert (ping.node, ping.source_addr, ping.source_port) == ("far", address(1), PORT)
    answers = bench.messages(bench.hear(Ack(ping.seq, b"payload")))
    assert answers[0] == (Endpoint("198.18.0.50", 1234), Ack(77))
    assert not [m for _, m in bench.messages(bench.wait(1.0)) if isinstance(m, Nack)]


def test_port_zero_of_the_target_means_our_own_port() -> None:
    bench = Bench()
    sent = bench.messages(bench.hear(IndirectPing(77, address(60), 0, "far")))
    assert [to for to, m in sent if isinstance(m, Ping)] == [Endpoint("198.18.0.60", PORT)]


@pytest.mark.parametrize("wanted", [True, False])
def test_a_relay_tells_of_silence_only_if_asked_to(wanted: bool) -> None:
    bench = Bench()
    bench.hear(IndirectPing(77, address(60), 999, "far", wanted))
    answers = [(to, m) for to, m in bench.messages(bench.wait(0.51)) if isinstance(m, Nack)]
    assert answers == ([(SOURCE, Nack(77))] if wanted else [])


def test_relayed_pings_are_bounded() -> None:
    bench = Bench(SwimConfig(max_relays=2))
    for seq in range(2):
        bench.hear(IndirectPing(seq, address(60), 999, "far"))
    outputs = bench.hear(IndirectPing(3, address(60), 999, "far"))
    assert [rejected.reason for rejected in of(PeerRejected, outputs)] == [RejectReason.BUSY]
    assert not bench.messages(outputs)


def test_an_unhealthy_node_waits_longer_before_it_accuses() -> None:
    bench = Bench(NO_TCP, members=["b", "c"])
    bench.hear(Suspect(1, "me", "b"))
    assert bench.node.health_score() == 1
    bench.until_sent(Ping)
    assert not of(MemberSuspect, bench.wait(1.9))
    assert of(MemberSuspect, bench.wait(0.2))


def test_after_a_stall_the_relays_still_get_their_time() -> None:
    bench = Bench(NO_TCP, members=["b", "c", "d"])
    _, ping = bench.until_sent(Ping)
    bench.now += 5.0
    bench.node.handle_timer(bench.now)
    outputs = bench.node.take_outputs()
    assert not of(MemberSuspect, outputs)
    assert [m for _, m in bench.messages(outputs) if isinstance(m, IndirectPing)]
    bench.hear(Ack(ping.seq))
    assert bench.node.members()[ping.node].state is MemberState.ALIVE


def test_every_member_is_probed_once_a_round() -> None:
    names = [f"n{number}" for number in range(20)]
    bench = Bench(members=names)
    seen = []
    for _ in range(20):
        _, ping = bench.until_sent(Ping)
        seen.append(ping.node)
        bench.hear(Ack(ping.seq))
    assert len(set(seen)) == 20


def test_the_ping_of_a_stranger_starts_an_exchange_of_state_but_not_with_anybody() -> None:
    bench = Bench(members=["b"])
    stranger = Ping(1, "me", address(60), PORT, "stranger")
    there = Endpoint("198.18.0.60", PORT)
    assert not of(OpenStream, bench.hear(stranger))
    assert not of(
        OpenStream, bench.hear(Ping(1, "me", address(10), PORT, "b"), source=Endpoint("198.18.0.10", PORT))
    )
    (opened,) = of(OpenStream, bench.hear(stranger, source=there))
    assert (opened.to, opened.purpose) == (there, StreamPurpose.SYNC)
    # Many pings are no reason for many exchanges.
    assert not of(OpenStream, bench.hear(stranger, stranger, source=there))


def test_the_ping_of_a_member_held_for_dead_starts_an_exchange_of_state() -> None:
    bench = Bench(members=["b"])
    bench.hear(Dead(1, "b", "c"))
    ping = Ping(1, "me", address(10), PORT, "b")
    assert len(of(OpenStream, bench.hear(ping, source=Endpoint("198.18.0.10", PORT)))) == 1


def purposes_after_join(bench: Bench, answer: bytes | None) -> list[StreamPurpose]:
    """The streams of the two seconds after a join that was answered, or refused."""
    (number,) = bench.node.join([("198.18.0.10", PORT)], now=bench.now)
    if answer is None:
        bench.node.stream_ended(number, error="refused", now=bench.now)
    else:
        bench.node.receive_stream(number, answer, now=bench.now)
    bench.node.take_outputs()
    return [opened.purpose for opened in of(OpenStream, bench.wait_answered(2.1))]


def test_a_join_is_followed_by_another_exchange_soon() -> None:
    answer = encode_push_pull([state("b", 10)], join=True)
    assert purposes_after_join(Bench(members=["b"]), answer) == [StreamPurpose.SYNC]


def test_a_refused_join_is_not() -> None:
    assert purposes_after_join(Bench(members=["b"]), None) == []
