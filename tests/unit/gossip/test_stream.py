"""Streams: read in any pieces, answered, bounded."""

import pytest

from gossip import lzw
from gossip.address import Endpoint
from gossip.config import SwimConfig
from gossip.errors import DecodeError, RejectReason
from gossip.keyring import Keyring
from gossip.member import MemberState
from gossip.messages import Ack, Compressed, ErrorReply, Ping, PushPullHeader, User, UserHeader, encode
from gossip.outputs import (
    CloseStream,
    ExchangeEnded,
    MemberJoined,
    MemberSuspect,
    OpenStream,
    Output,
    PeerRejected,
    Refuted,
    StreamPurpose,
    WriteStream,
)
from gossip.packet import compress
from gossip.stream import PushPull, StreamMessage, StreamReader, encode_push_pull, encode_user, frame
from tests.unit.gossip.helpers import PORT, SOURCE, Bench, entropy, of, state

KEY = bytes(32)
KEYRING = Keyring([KEY])
STATES = [state("b", 10), state("c", 11, kind=2), state("d", 12, kind=3)]
TABLE = encode_push_pull(STATES, join=True, user_state=b"user")
MESSAGES: dict[str, tuple[bytes, StreamMessage]] = {
    "push/pull": (TABLE, PushPull(True, STATES, b"user")),
    "empty push/pull": (encode_push_pull([], join=False), PushPull(False, [], b"")),
    "ping": (encode(Ping(4, "me")), Ping(4, "me")),
    "ack": (encode(Ack(4)), Ack(4)),
    "error": (encode(ErrorReply("no")), ErrorReply("no")),
    "user": (encode_user(b"abc"), User(b"abc")),
    "empty user": (encode_user(b""), User(b"")),
}


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("form", ["plain", "compressed", "sealed", "padded", "sealed and compressed"])
def test_every_message_in_every_form_and_any_pieces(name: str, form: str) -> None:
    data, expected = MESSAGES[name]
    if "compressed" in form:
        data = compress(data)
    keyring = None if form in ("plain", "compressed") else KEYRING
    data = frame(data, keyring, entropy, 1 if form == "padded" else 2)
    for size in (1, 7, len(data), len(data) + 10):
        stream = data + b"trailing..."[: size - len(data)] if size > len(data) else data
        reader = StreamReader(SwimConfig.lan(), keyring)
        pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
        results = [reader.feed(piece) for piece in pieces]
        assert results[:-1] == [None] * (len(pieces) - 1)
        assert results[-1] == expected


@pytest.mark.parametrize(
    ("data", "keyring", "reason"),
    [
        (b"\xf4\x01x", None, RejectReason.LABELLED),
        (frame(TABLE, KEYRING, entropy, 2), None, RejectReason.ENCRYPTED),
        (TABLE, KEYRING, RejectReason.UNENCRYPTED),
        (frame(TABLE, Keyring([bytes([1]) * 32]), entropy, 2), KEYRING, RejectReason.UNDECRYPTABLE),
        (frame(TABLE[:-1], KEYRING, entropy, 2), KEYRING, RejectReason.TRUNCATED),
        (b"\x0a\xff\xff\xff\xff", KEYRING, RejectReason.TOO_LARGE),
        (b"GET / HTTP/1.1\r\n", None, RejectReason.UNSUPPORTED),
        (b"\x03\x80", None, RejectReason.UNSUPPORTED),
        (compress(compress(TABLE)), None, RejectReason.UNSUPPORTED),
        (compress(TABLE[:-1]), None, RejectReason.TRUNCATED),
        (encode(PushPullHeader(1_000_000_000)), None, RejectReason.TOO_LARGE),
        (encode(PushPullHeader(0, 1_000_000_000)), None, RejectReason.TOO_LARGE),
        (encode(UserHeader(1_000_000_000)), None, RejectReason.TOO_LARGE),
        (encode(PushPullHeader(1)) + b"\xc1", None, RejectReason.MALFORMED),
        (b"\x06\xdd\xff\xff\xff\xff", None, RejectReason.MALFORMED),
    ],
)
def test_what_is_refused_and_why(data: bytes, keyring: Keyring | None, reason: RejectReason) -> None:
    with pytest.raises(DecodeError) as refused:
        StreamReader(SwimConfig.lan(), keyring).feed(data)
    assert refused.value.reason is reason


def test_what_expands_to_too_much_is_refused() -> None:
    table = encode_push_pull([state(f"n{number}", 1) for number in range(100)], join=True)
    config = SwimConfig(max_decompressed_bytes=1024)
    with pytest.raises(DecodeError) as refused:
        StreamReader(config, None).feed(compress(table))
    assert refused.value.reason is RejectReason.TOO_LARGE


MIB = 1024 * 1024
DEFAULT = SwimConfig.lan()


def test_the_limits_of_what_a_stream_may_announce() -> None:
    assert (2 * DEFAULT.max_members, DEFAULT.max_user_bytes) == (16_384, 2 * MIB)
    assert (DEFAULT.max_stream_bytes, DEFAULT.max_decompressed_bytes) == (20 * MIB, 8 * MIB)


@pytest.mark.parametrize(
    ("within", "beyond"),
    [
        (encode(PushPullHeader(16_384)), encode(PushPullHeader(16_385))),
        (encode(PushPullHeader(0, 2 * MIB)), encode(PushPullHeader(0, 2 * MIB + 1))),
        (encode(UserHeader(2 * MIB)), encode(UserHeader(2 * MIB + 1))),
    ],
    ids=["members", "state", "message"],
)
@pytest.mark.parametrize("form", ["plain", "expanding"])
def test_what_is_announced_is_taken_up_to_the_limit_and_refused_beyond_at_once(
    within: bytes, beyond: bytes, form: str
) -> None:
    if form == "plain":
        assert StreamReader(DEFAULT, None).feed(within) is None
    else:
        with pytest.raises(DecodeError) as lacking:
            StreamReader(DEFAULT, None).feed(compress(within))
        assert lacking.value.reason is RejectReason.TRUNCATED
    with pytest.raises(DecodeError) as refused:
        StreamReader(DEFAULT, None).feed(beyond if form == "plain" else compress(beyond))
    assert refused.value.reason is RejectReason.TOO_LARGE


def test_an_encrypted_frame_may_have_20_mib() -> None:
    def announced(size: int) -> bytes:
        return b"\x0a" + size.to_bytes(4, "big")

    assert StreamReader(DEFAULT, KEYRING).feed(announced(20 * MIB)) is None
    with pytest.raises(DecodeError) as refused:
        StreamReader(DEFAULT, KEYRING).feed(announced(20 * MIB + 1))
    assert refused.value.reason is RejectReason.TOO_LARGE


@pytest.mark.parametrize("size", [2 * MIB, 2 * MIB - 1])
def test_state_and_messages_of_the_greatest_size_come_whole(size: int) -> None:
    payload = bytes(size)
    assert StreamReader(DEFAULT, None).feed(encode_user(payload)) == User(payload)
    table = encode_push_pull([], join=True, user_state=payload)
    assert StreamReader(DEFAULT, None).feed(table) == PushPull(True, [], payload)


def test_a_stream_may_expand_to_its_limit_and_not_to_a_byte_more() -> None:
    message = encode_user(bytes(3000))
    config = SwimConfig(max_decompressed_bytes=len(message))

    def expanded(data: bytes) -> StreamMessage | None:
        reader = StreamReader(config, None)
        found = reader.feed(compress(data))
        while found is None:
            found = reader.step()
        return found

    assert expanded(message) == User(bytes(3000))
    with pytest.raises(DecodeError) as refused:
        expanded(encode_user(bytes(3001)))
    assert refused.value.reason is RejectReason.TOO_LARGE


LARGE = [state(f"node-{number}", number % 250) for number in range(3000)]


def test_a_large_compressed_table_is_expanded_in_slices_while_pings_are_answered() -> None:
    bench = Bench()
    stream = bench.node.accept_stream(source=SOURCE, now=bench.now)
    assert stream is not None
    bench.node.receive_stream(stream, compress(encode_push_pull(LARGE, join=True)), now=bench.now)
    assert not of(WriteStream, bench.node.take_outputs())
    bench.node.stream_ended(stream, error=None, now=bench.now)
    slices = 0
    while len(bench.node.members()) == 1:
        slices += 1
        assert slices < 1000
        deadline = bench.node.next_deadline()
        assert deadline is not None
        assert deadline < bench.now + 0.1
        bench.now = deadline
        bench.node.handle_timer(bench.now)
        answers = bench.messages(bench.hear(Ping(slices, "me")))
        assert Ack(slices) in [message for _, message in answers]
    assert slices > 10
    assert len(bench.node.members()) == 3001


def test_many_bombs_at_once_share_the_slices_and_their_bytes_are_bounded() -> None:
    bench = Bench(SwimConfig(max_buffered_bytes=200_000))
    bomb = compress(encode_user(bytes(1_000_000)))
    for _ in range(20):
        stream = bench.node.accept_stream(source=SOURCE, now=bench.now)
        assert stream is not None
        bench.node.receive_stream(stream, bomb, now=bench.now)
    bench.wait(1.0)
    assert bench.node._exchanges._buffered == 0
    assert bench.node.counters.rejected[RejectReason.TOO_LARGE] == 20
    assert not bench.node._exchanges._expanding


@pytest.mark.parametrize("cut", [0.2, 0.5, 0.99])
def test_a_compressed_stream_that_lacks_its_end_is_refused(cut: float) -> None:
    packed = lzw.compress(encode_push_pull(LARGE[:500], join=True))
    reader = StreamReader(SwimConfig.lan(), None)

    def expand() -> None:
        assert reader.feed(encode(Compressed(0, packed[: int(len(packed) * cut)]))) is None
        for _ in packed:
            assert reader.step() is None

    with pytest.raises(DecodeError) as refused:
        expand()
    assert refused.value.reason is RejectReason.TRUNCATED


def serve(bench: Bench, data: bytes) -> list[Output]:
    stream = bench.node.accept_stream(source=SOURCE, now=bench.now)
    assert stream is not None
    bench.node.receive_stream(stream, data, now=bench.now)
    return bench.node.take_outputs()


def reply(outputs: list[Output], keyring: Keyring | None = None) -> StreamMessage:
    (written,) = of(WriteStream, outputs)
    message = StreamReader(SwimConfig.lan(), keyring).feed(written.data)
    assert message is not None
    return message


def test_a_push_pull_is_answered_with_the_table_before_the_merge() -> None:
    bench = Bench(keyring=KEYRING, members=["x"])
    outputs = serve(bench, frame(TABLE, KEYRING, entropy, 2))
    answer = reply(outputs, KEYRING)
    assert isinstance(answer, PushPull)
    assert answer.join
    assert sorted(entry.name for entry in answer.states) == ["me", "x"]
    assert [joined.view.name for joined in of(MemberJoined, outputs)] == ["b"]
    # Strangers that are dead or left are never learned from hearsay.
    assert set(bench.node.members()) == {"me", "x", "b"}


def test_a_pushed_death_is_only_a_suspicion_and_about_us_is_refuted() -> None:
    bench = Bench(members=["b"])
    outputs = serve(bench, encode_push_pull([state("b", 10, kind=2), state("me", 1, kind=2)], join=False))
    (suspect,) = of(MemberSuspect, outputs)
    assert (suspect.view.name, suspect.by) == ("b", "me")
    assert [refuted.incarnation for refuted in of(Refuted, outputs)] == [2]


def test_a_pushed_leave_about_us_is_refuted() -> None:
    bench = Bench()
    outputs = serve(bench, encode_push_pull([state("me", 1, kind=3, incarnation=6)], join=False))
    assert of(Refuted, outputs) == [Refuted(7, "me")]


def test_incompatible_versions_void_the_whole_merge() -> None:
    bench = Bench()
    serf = bytes((1, 5, 2, 2, 5, 5))
    outputs = serve(bench, encode_push_pull([state("b", 10), state("c", 11, vsn=serf)], join=True))
    assert [rejected.reason for rejected in of(PeerRejected, outputs)] == [RejectReason.INCOMPATIBLE]
    assert set(bench.node.members()) == {"me"}


def test_a_ping_by_tcp_is_answered_under_our_name_only() -> None:
    bench = Bench()
    assert reply(serve(bench, encode(Ping(4, "me")))) == Ack(4)
    outputs = serve(bench, encode(Ping(4, "other")))
    assert not of(WriteStream, outputs)
    assert len(of(CloseStream, outputs)) == 1
    assert [rejected.reason for rejected in of(PeerRejected, outputs)] == [RejectReason.WRONG_NODE]


def test_a_refused_stream_is_told_why() -> None:
    bench = Bench()
    answer = reply(serve(bench, b"\x03\x80"))
    assert isinstance(answer, ErrorReply)
    assert "type 3" in answer.error


def test_streams_are_bounded_in_number_time_and_bytes() -> None:
    bench = Bench(SwimConfig(max_streams=2, max_buffered_bytes=1024))
    first = bench.node.accept_stream(source=SOURCE, now=bench.now)
    second = bench.node.accept_stream(source=SOURCE, now=bench.now)
    assert first is not None
    assert second is not None
    assert bench.node.accept_stream(source=SOURCE, now=bench.now) is None
    assert [rejected.reason for rejected in of(PeerRejected, bench.node.take_outputs())] == [
        RejectReason.BUSY
    ]
    header = encode(PushPullHeader(0, 5000))
    bench.node.receive_stream(first, header + bytes(700), now=bench.now)
    bench.node.receive_stream(second, header + bytes(700), now=bench.now)
    outputs = bench.node.take_outputs()
    assert [rejected.reason for rejected in of(PeerRejected, outputs)] == [RejectReason.TOO_LARGE]
    outputs = bench.wait(10.1)
    assert CloseStream(first) in outputs
    assert CloseStream(second) not in outputs
    assert bench.node.accept_stream(source=SOURCE, now=bench.now) is not None


def test_join_sends_the_table_and_merges_the_answer() -> None:
    bench = Bench()
    (number,) = bench.node.join([("198.18.0.10", PORT)], now=bench.now)
    (opened,) = of(OpenStream, bench.node.take_outputs())
    assert (opened.stream, opened.to, opened.purpose) == (
        number,
        Endpoint("198.18.0.10", PORT),
        StreamPurpose.JOIN,
    )
    sent = StreamReader(SwimConfig.lan(), None).feed(opened.data)
    assert isinstance(sent, PushPull)
    assert [(entry.name, sent.join) for entry in sent.states] == [("me", True)]
    bench.node.receive_stream(number, TABLE, now=bench.now)
    outputs = bench.node.take_outputs()
    assert of(ExchangeEnded, outputs) == [ExchangeEnded(number, opened.to, StreamPurpose.JOIN, None)]
    assert bench.node.members()["b"].state is MemberState.ALIVE


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (encode(ErrorReply("go away")), "remote error: go away"),
        (encode(Ack(1)), "answers with Ack"),
        (b"\x63", ""),
    ],
)
def test_a_join_that_the_peer_refuses_says_so(data: bytes, error: str) -> None:
    bench = Bench()
    (number,) = bench.node.join([("198.18.0.10", PORT)], now=bench.now)
    bench.node.receive_stream(number, data, now=bench.now)
    (ended,) = of(ExchangeEnded, bench.node.take_outputs())
    assert ended.error is not None
    assert error in ended.error


def test_a_join_without_answer_times_out_and_a_broken_one_ends() -> None:
    bench = Bench()
    silent, broken = bench.node.join([("198.18.0.10", PORT), ("198.18.0.11", PORT)], now=bench.now)
    bench.node.stream_ended(broken, error="Connection refused", now=bench.now)
    (ended,) = of(ExchangeEnded, bench.node.take_outputs())
    assert (ended.stream, ended.error) == (broken, "Connection refused")
    outputs = bench.wait(10.1)
    assert CloseStream(silent) in outputs
    assert [(e.stream, e.error) for e in of(ExchangeEnded, outputs)] == [(silent, "timed out")]


def test_more_joins_than_streams_wait_their_turn() -> None:
    bench = Bench(SwimConfig(max_streams=2))
    numbers = bench.node.join([("198.18.0.10", PORT + i) for i in range(5)], now=bench.now)
    opened = [output.stream for output in of(OpenStream, bench.node.take_outputs())]
    assert opened == numbers[:2]
    for number in numbers:
        bench.node.stream_ended(number, error="refused", now=bench.now)
        opened += [output.stream for output in of(OpenStream, bench.node.take_outputs())]
    assert opened == numbers


def test_state_is_synchronised_from_time_to_time_with_one_member() -> None:
    bench = Bench(members=["b"])
    opened = of(OpenStream, bench.wait_answered(95.0))
    # The first after 30 to 60 s, then each 30 s.
    assert [(o.to, o.purpose) for o in opened] == [(Endpoint("198.18.0.10", PORT), StreamPurpose.SYNC)] * len(
        opened
    )
    assert len(opened) in (2, 3)
