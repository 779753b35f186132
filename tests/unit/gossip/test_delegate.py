"""What applications say over the ring; serf's forms are those of serf 0.9.4 (serf/messages.go, delegate.go)."""

from dataclasses import replace

import anyio
import pytest

from gossip.address import Endpoint
from gossip.config import SwimConfig
from gossip.errors import UsageError
from gossip.messages import Ack, Ping, User, encode
from gossip.outputs import (
    ExchangeEnded,
    OpenStream,
    PingPayload,
    RemoteState,
    SendDatagram,
    StreamPurpose,
    UserMessage,
    WriteStream,
)
from gossip.packet import compress
from gossip.shell import Ring
from gossip.stream import PushPull, StreamReader, encode_push_pull, encode_user
from tests.unit.gossip.helpers import PORT, SOURCE, Bench, of, state
from tests.unit.gossip.test_shell import FAST, PATIENCE_S, knows

NEUTRAL = bytes.fromhex(
    "0184aa41646a7573746d656e74cb0000000000000000a54572726f72cb3ff8000000000000"
    "a6486569676874cb3ee4f8b588e368f1a356656398" + "cb0000000000000000" * 8
)
"""The coordinate that a serf agent begins with, as it adds it to its acks."""
JOIN_INTENT = bytes.fromhex("080182a54c54696d6501a44e6f6465a161")
LEAVE_INTENT = bytes.fromhex("080083a54c54696d6507a44e6f6465a161a55072756e65c2")
SERF = replace(
    SwimConfig.lan(), delegate_protocol_min=2, delegate_protocol_max=5, delegate_protocol_version=5
)


def test_an_ack_carries_the_payload_by_udp_and_none_by_tcp() -> None:
    bench = Bench(SERF, meta=b"\xff\x80")
    bench.node.set_ack_payload(NEUTRAL)
    ((_, ack),) = [item for item in bench.messages(bench.hear(Ping(7, "me"))) if isinstance(item[1], Ack)]
    assert ack == Ack(7, NEUTRAL)
    stream = bench.node.accept_stream(source=SOURCE, now=bench.now)
    assert stream is not None
    bench.node.receive_stream(stream, encode(Ping(8, "me")), now=bench.now)
    (written,) = of(WriteStream, bench.node.take_outputs())
    assert written.data == encode(Ack(8))


def test_a_probe_tells_what_the_ack_carried_and_how_long_it_took() -> None:
    bench = Bench(members=["b"])
    to, ping = bench.until_sent(Ping)
    bench.now += 0.125
    (told,) = of(PingPayload, bench.hear(Ack(ping.seq, NEUTRAL), source=to))
    assert (told.member, told.payload) == ("b", NEUTRAL)
    assert told.rtt_s == pytest.approx(0.125)
    assert bench.node.members()["b"].rtt_s == pytest.approx(0.125)
    assert sum(bench.node.counters.rtt.counts) == 1
    assert bench.node.counters.rtt.sum_s == pytest.approx(0.125)


def test_a_relayed_ack_measures_nothing() -> None:
    bench = Bench(members=["b", "c"])
    _, ping = bench.until_sent(Ping)
    bench.wait(0.6)
    assert not of(PingPayload, bench.hear(Ack(ping.seq, b"x")))
    assert bench.node.members()["b"].rtt_s is None
    assert bench.node.members()["c"].rtt_s is None


@pytest.mark.parametrize("intent", [JOIN_INTENT, LEAVE_INTENT])
def test_a_broadcast_travels_as_serf_sends_it_until_it_was_sent_often_enough(intent: bytes) -> None:
    bench = Bench(SERF, members=["b", "c"])
    bench.wait_answered(3.0)
    bench.node.broadcast_user(intent[1:], now=bench.now)
    sent = bench.wait_answered(3.0)
    assert [message for _, message in bench.messages(sent) if isinstance(message, User)] == [
        User(intent[1:])
    ] * 4
    assert encode(User(intent[1:])) == intent
    assert bench.node.queue_depth() == 0


def test_broadcasts_do_not_displace_each_other_and_are_bounded() -> None:
    bench = Bench(members=["b"])
    bench.wait_answered(3.0)
    for number in range(1024):
        bench.node.broadcast_user(b"%d" % number, now=bench.now)
    with pytest.raises(UsageError, match="1024 messages wait"):
        bench.node.broadcast_user(b"more", now=bench.now)
    with pytest.raises(UsageError, match="broadcast: has 2000 bytes"):
        bench.node.broadcast_user(bytes(2000), now=bench.now)
    bench.wait_answered(20.0)
    bench.node.broadcast_user(b"more", now=bench.now)


def test_a_message_to_one_member_by_datagram_and_by_stream() -> None:
    bench = Bench(members=["b"])
    assert bench.node.send_user("b", b"hello", reliable=False, now=bench.now) is None
    (sent,) = of(SendDatagram, bench.node.take_outputs())
    assert sent.to == Endpoint("198.18.0.10", PORT)
    assert sent.data[:1] == b"\x0c", "a known member that understands it gets a CRC"
    assert bench.codec.unpack(sent.data).messages == [User(b"hello")]
    number = bench.node.send_user("b", b"abc", reliable=True, now=bench.now)
    assert number is not None
    (opened,) = of(OpenStream, bench.node.take_outputs())
    assert (opened.purpose, opened.data) == (
        StreamPurpose.USER,
        bytes.fromhex("0881aa557365724d73674c656e03616263"),
    )
    bench.node.stream_ended(number, error=None, now=bench.now)
    (ended,) = of(ExchangeEnded, bench.node.take_outputs())
    assert ended.error is None


@pytest.mark.parametrize(
    ("name", "size", "reliable", "said"),
    [
        ("nobody", 1, False, "no member 'nobody' is present"),
        ("b", 1400, False, "has 1400 bytes"),
        ("b", 3_000_000, True, "2097152 are allowed"),
    ],
)
def test_what_cannot_be_sent_is_refused(name: str, size: int, reliable: bool, said: str) -> None:
    bench = Bench(members=["b"])
    with pytest.raises(UsageError, match=said):
        bench.node.send_user(name, bytes(size), reliable=reliable, now=bench.now)
    with pytest.raises(UsageError, match="state: has"):
        bench.node.set_local_state(bytes(3_000_000))
    with pytest.raises(UsageError, match="ack payload: has"):
        bench.node.set_ack_payload(bytes(1000))


def test_messages_and_state_of_others_are_told_and_answered_at_once() -> None:
    bench = Bench()
    outputs = bench.hear(User(b"one"), Ping(3, "me"), User(b""))
    assert of(UserMessage, outputs) == [UserMessage(SOURCE, b"one", reliable=False)]
    assert (SOURCE, Ack(3)) in bench.messages(outputs)
    bench.node.set_local_state(b"\x02mine")
    stream = bench.node.accept_stream(source=SOURCE, now=bench.now)
    assert stream is not None
    table = encode_push_pull([state("b", 10)], join=True, user_state=b"\x02theirs")
    bench.node.receive_stream(stream, compress(table), now=bench.now)
    outputs = [*bench.node.take_outputs(), *bench.wait(0.5)]
    assert of(RemoteState, outputs) == [RemoteState(SOURCE, b"\x02theirs", join=True)]
    (reply,) = of(WriteStream, outputs)
    answer = StreamReader(SwimConfig.lan(), None).feed(reply.data)
    assert isinstance(answer, PushPull)
    assert answer.user_state == b"\x02mine"
    stream = bench.node.accept_stream(source=SOURCE, now=bench.now)
    assert stream is not None
    bench.node.receive_stream(stream, encode_user(b"two"), now=bench.now)
    assert of(UserMessage, bench.node.take_outputs()) == [UserMessage(SOURCE, b"two", reliable=True)]


def test_state_of_a_peer_that_is_refused_is_not_told() -> None:
    bench = Bench()
    stream = bench.node.accept_stream(source=SOURCE, now=bench.now)
    assert stream is not None
    table = encode_push_pull([state("b", 10, vsn=bytes((1, 5, 2, 2, 5, 5)))], join=True, user_state=b"x")
    bench.node.receive_stream(stream, table, now=bench.now)
    assert not of(RemoteState, bench.node.take_outputs())


def made(name: str, messages: int) -> Ring:
    return Ring(
        name=name,
        bind=("127.0.0.1", 0),
        advertise=None,
        keyring=None,
        config=FAST,
        meta=b"",
        messages=messages,
    )


@pytest.mark.anyio
async def test_applications_talk_over_real_sockets_and_a_slow_one_loses_only_messages() -> None:
    async with made("a", 100) as a, made("b", 2) as b, made("c", 0) as c:
        await b.set_local_state(b"state of b")
        await b.set_ack_payload(b"word of b")
        assert (await b.join([a.endpoint])).contacted
        assert (await c.join([a.endpoint])).contacted
        for member in (a, b, c):
            await knows(member, "a", "b", "c")
        assert await b.send_user("a", b"by stream") is None
        assert await b.send_user("a", b"by packet", reliable=False) is None
        await b.broadcast_user(b"to all")
        with pytest.raises(UsageError, match="no member 'd'"):
            await b.send_user("d", b"")
        missing: set[object] = {b"state of b", b"by stream", b"by packet", b"to all", b"word of b"}
        with anyio.fail_after(PATIENCE_S):
            while missing:
                heard = await a.messages.receive()
                missing.discard(heard.state if isinstance(heard, RemoteState) else heard.payload)
        for number in range(20):
            assert await a.send_user("b", b"%d" % number) is None
        assert b.counters.messages_lost >= 18
        assert c.counters.messages_lost == 0
        assert a.members()["b"].rtt_s is not None
