"""What a member owes to a ring of real memberlist members, one point after the other. Rings with the real programs are in
tests/interop; that a flood does not stop the timers is in test_shell.py."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgpack
import pytest

from gossip.address import Endpoint
from gossip.config import SwimConfig
from gossip.keyring import Keyring
from gossip.member import MemberState
from gossip.messages import (
    Ack,
    Alive,
    Dead,
    IndirectPing,
    Nack,
    NodeState,
    Ping,
    Struct,
    Suspect,
    encode,
)
from gossip.outputs import CloseStream, OpenStream, Output, Refuted, SendDatagram, StreamPurpose, WriteStream
from gossip.packet import PacketCodec, compress, with_crc
from gossip.stream import PushPull, StreamReader, encode_push_pull
from tests.unit.gossip.helpers import PORT, SOURCE, VSN, Bench, address, alive, compound, entropy, of, state

SERF = replace(
    SwimConfig.lan(), delegate_protocol_min=2, delegate_protocol_max=5, delegate_protocol_version=5
)
MAPPED = bytes(10) + b"\xff\xff" + address(10)
B = Endpoint("198.18.0.10", PORT)


def accepted(bench: Bench, data: bytes) -> list[Output]:
    """What a stream that a peer opens brings about."""
    stream = bench.node.accept_stream(source=SOURCE, now=bench.now)
    assert stream is not None
    bench.node.receive_stream(stream, data, now=bench.now)
    return bench.node.take_outputs()


def table(outputs: list[Output]) -> dict[str, NodeState]:
    """The table in the one answer or question on a stream among the outputs."""
    (data,) = [output.data for output in outputs if isinstance(output, (OpenStream, WriteStream))]
    message = StreamReader(SwimConfig.lan(), None).feed(data)
    assert isinstance(message, PushPull)
    return {state.name: state for state in message.states}


# 1. Six version bytes, incarnation from 1


@pytest.mark.parametrize(
    ("config", "vsn"), [(SwimConfig.lan(), "010502000000"), (SERF, "010502020505")], ids=["plain", "serf"]
)
def test_a_member_begins_at_incarnation_1_with_the_six_versions_of_its_ring(
    config: SwimConfig, vsn: str
) -> None:
    bench = Bench(config)
    mine = table(accepted(bench, encode_push_pull([], join=True)))["me"]
    assert (mine.incarnation, mine.vsn.hex()) == (1, vsn)
    bench.hear(alive("b", 10, vsn=bytes.fromhex(vsn)))
    assert [(m.incarnation, m.vsn.hex()) for m in bench.said("me") if isinstance(m, Alive)][:1] == [(1, vsn)]


# 2. Addresses in the form in which they came


def test_our_address_has_one_form_and_those_of_others_stay_as_they_came() -> None:
    bench = Bench()
    message = Alive(1, "b", MAPPED, PORT, b"", VSN)
    bench.hear(message, alive("c", 11))
    assert message in bench.said("b")
    pushed = table(accepted(bench, encode_push_pull([], join=True)))
    assert {name: pushed[name].addr for name in ("me", "b", "c")} == {
        "me": address(1),
        "b": MAPPED,
        "c": address(11),
    }
    bench.hear(Suspect(1, "me", "b"))
    assert {m.addr for m in bench.said("me") if isinstance(m, Alive)} == {address(1)}


# 3. Who is asked, and who is answered, at which address


def test_every_question_of_ours_tells_where_we_are_reached() -> None:
    bench = Bench(members="bcdef")
    outputs = [*bench.wait(2.5), *bench.hear(IndirectPing(7, address(60), 999, "far"))]
    asked = [m for _, m in bench.messages(outputs) if isinstance(m, (Ping, IndirectPing))]
    for opened in of(OpenStream, outputs):
        message = StreamReader(bench.config, None).feed(opened.data)
        assert isinstance(message, Ping)
        asked.append(message)
    assert {type(m) for m in asked} == {Ping, IndirectPing}
    assert {(m.source_addr, m.source_port, m.source_node) for m in asked} == {(address(1), PORT, "me")}


@pytest.mark.parametrize(
    ("addr", "port", "to"),
    [
        (address(50), 1234, Endpoint("198.18.0.50", 1234)),
        (MAPPED, PORT, B),
        (address(50), 0, SOURCE),
        (b"", 1234, SOURCE),
        (address(50)[:3], 1234, SOURCE),
    ],
)
def test_an_ack_goes_where_the_ping_says_if_it_says_both(addr: bytes, port: int, to: Endpoint) -> None:
    bench = Bench()
    (answer,) = [item for item in bench.messages(bench.hear(Ping(9, "me", addr, port))) if item[1] == Ack(9)]
    assert answer[0] == to


# 4. Answers at once


def test_pings_are_answered_at_once_by_udp_and_tcp_and_passed_on_for_strangers() -> None:
    bench = Bench()
    assert Ack(1) in [m for _, m in bench.messages(bench.hear(Ping(1, "me")))]
    (written,) = of(WriteStream, accepted(bench, encode(Ping(2, "me"))))
    assert written.data == encode(Ack(2))
    outputs = bench.hear(IndirectPing(3, address(60), 999, "far", True))
    assert [to for to, m in bench.messages(outputs) if isinstance(m, Ping)] == [Endpoint("198.18.0.60", 999)]
    assert (SOURCE, Nack(3)) in bench.messages(bench.wait(bench.config.probe_timeout_s))


# 5. Refutation from every source


def heard(*messages: Struct) -> Callable[[Bench], list[Output]]:
    return lambda bench: bench.hear(*messages)


def pushed(kind: int, meta: bytes = b"") -> Callable[[Bench], list[Output]]:
    mine = NodeState("me", address(1), PORT, meta, 7, kind, VSN)
    return lambda bench: accepted(bench, encode_push_pull([mine], join=False))


@pytest.mark.parametrize(
    "accuse",
    [
        heard(Suspect(7, "me", "b")),
        heard(Dead(7, "me", "b")),
        heard(Dead(7, "me", "me")),
        heard(Ping(1, "me"), Suspect(7, "me", "b")),
        heard(Alive(7, "me", address(1), PORT, b"other", VSN)),
        *(pushed(kind) for kind in range(4)),
    ],
    ids=["suspect", "dead", "left", "buddy", "alive", "pushed-0", "pushed-1", "pushed-2", "pushed-3"],
)
def test_whatever_is_said_of_us_is_refuted_above_it_at_once(accuse: Callable[[Bench], list[Output]]) -> None:
    bench = Bench(members=["b"])
    (refuted,) = of(Refuted, accuse(bench))
    assert refuted.incarnation == 8
    assert bench.node.members()["me"].state is MemberState.ALIVE
    assert alive("me", 1, incarnation=8) in bench.said("me")


# 6. What is accepted

PING: dict[str, Any] = {"Node": "me", "SeqNo": 300}


def ping(fields: dict[str, Any] | list[Any], *, bin_type: bool = False) -> bytes:
    packed: bytes = msgpack.packb(fields, use_bin_type=bin_type)
    return b"\x00" + packed


FORMS = {
    "as it is": ping(PING),
    "with str8 and bin": ping({"Node": b"me", "SeqNo": 300}, bin_type=True),
    "str8": b"\x00\x82\xa4Node\xd9\x02me\xa5SeqNo\xcd\x01\x2c",
    "signed": b"\x00\x82\xa4Node\xa2me\xa5SeqNo\xd1\x01\x2c",
    "wide": b"\x00\x82\xa4Node\xa2me\xa5SeqNo\xcf" + (300).to_bytes(8, "big"),
    "another order": b"\x00\x82\xa5SeqNo\xcd\x01\x2c\xa4Node\xa2me",
    "an array": ping([300, "me"]),
    "more keys": ping({**PING, "Later": {"a": [1, 2]}}),
    "fewer keys": ping({"SeqNo": 300}),
    "nil": ping({**PING, "SourceAddr": None, "SourcePort": None, "SourceNode": None}),
    "more bytes": ping(PING) + b"\x00more",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("wrapped", ["bare", "crc", "compressed", "compound", "crc, compressed, compound"])
def test_a_ping_is_understood_in_every_form(form: str, wrapped: str) -> None:
    data = FORMS[form]
    if "compound" in wrapped:
        data = compound([data, encode(Ack(1))])
    if "compressed" in wrapped:
        data = compress(data)
    if "crc" in wrapped:
        data = with_crc(data)
    bench = Bench()
    assert (SOURCE, Ack(300)) in bench.messages(bench.hear_bytes(data))


KEYS = [bytes([number]) * size for number, size in enumerate((16, 24, 32), 1)]


@pytest.mark.parametrize("protocol_version", [1, 2])
@pytest.mark.parametrize("key", KEYS, ids=[f"{len(key)} bytes" for key in KEYS])
def test_both_encryptions_are_understood_under_every_key(protocol_version: int, key: bytes) -> None:
    bench = Bench(keyring=Keyring(KEYS))
    peer = PacketCodec(SwimConfig(protocol_version=protocol_version), Keyring([key]), entropy)
    data = peer.pack([encode(Ping(9, "me"))], crc=True)
    assert data[0] == (0 if protocol_version == 1 else 1)
    assert (SOURCE, Ack(9)) in bench.messages(bench.hear_bytes(data))


# 7. What is sent


def test_maps_are_sorted_in_the_old_raw_family_with_nil_for_nothing() -> None:
    long = "n" * 200
    data = encode(Alive(300, long, address(1), PORT, b"", VSN))
    assert data == (
        b"\x04\x86\xa4Addr\xa4" + address(1) + b"\xabIncarnation\xcd\x01\x2c\xa4Meta\xc0\xa4Node\xda\x00\xc8"
        + long.encode()
        + b"\xa4Port\xcd\x1f\x0a\xa3Vsn\xa6"
        + VSN
    )  # fmt: skip


def test_datagrams_are_compressed_only_where_that_makes_them_shorter() -> None:
    bench = Bench(SwimConfig(enable_compression=True), members=[f"n{number}" for number in range(20)])
    sent = [datagram.data for datagram in of(SendDatagram, bench.wait(0.5))]
    assert {data[5] for data in sent if data[0] == 0x0C} == {9}
    bench.wait_answered(10.0)
    (answer,) = of(SendDatagram, bench.hear(Ping(1, "me")))
    assert answer.data == encode(Ack(1))


# 8. Exchanges of state


def test_who_dials_speaks_first_and_who_is_dialled_reads_all_before_it_answers() -> None:
    bench = Bench(members=["b"])
    bench.node.join([("198.18.0.10", PORT)], now=bench.now)
    assert set(table(bench.node.take_outputs())) == {"me", "b"}
    stream = bench.node.accept_stream(source=SOURCE, now=bench.now)
    assert stream is not None
    data = encode_push_pull([state("c", 11)], join=True, user_state=b"\x02theirs")
    for place in range(len(data) - 1):
        bench.node.receive_stream(stream, data[place : place + 1], now=bench.now)
        assert not bench.node.take_outputs()
    bench.node.receive_stream(stream, data[-1:] + b"more", now=bench.now)
    assert set(table(bench.node.take_outputs())) == {"me", "b"}, "ours as it was before"
    assert "c" in bench.node.members()


def test_the_dead_and_those_who_left_are_told_of_with_all_their_versions() -> None:
    bench = Bench(members=["b", "c", "d"])
    bench.hear(Suspect(1, "b", "x"), Dead(1, "c", "x"), Dead(1, "d", "d"))
    pushed = table(accepted(bench, encode_push_pull([], join=True)))
    assert {name: (state.state, state.vsn) for name, state in pushed.items()} == {
        "me": (0, VSN),
        "b": (1, VSN),
        "c": (2, VSN),
        "d": (3, VSN),
    }


@pytest.mark.parametrize(
    ("kind", "incarnation", "becomes"),
    [
        (0, 2, MemberState.ALIVE),
        (1, 1, MemberState.SUSPECT),
        (2, 1, MemberState.SUSPECT),
        (3, 1, MemberState.LEFT),
    ],
)
def test_a_pushed_death_is_hearsay_but_a_pushed_goodbye_is_not(
    kind: int, incarnation: int, becomes: MemberState
) -> None:
    bench = Bench(members=["b"])
    accepted(bench, encode_push_pull([state("b", 10, kind, incarnation)], join=False))
    view = bench.node.members()["b"]
    assert (view.state, view.incarnation) == (becomes, incarnation)


# 9. Sizes


@pytest.mark.parametrize("keyring", [None, Keyring([bytes(32)])])
def test_packets_keep_within_1400_bytes_and_127_parts_and_none_is_empty(keyring: Keyring | None) -> None:
    bench = Bench(keyring=keyring, members=[f"n{number}" for number in range(200)])
    for number in range(200):
        bench.node.broadcast_user(b"%d" % number, now=bench.now)
    sent = of(SendDatagram, bench.wait_answered(10.0))
    assert max(len(datagram.data) for datagram in sent) <= 1405
    parts = [len(bench.messages([datagram])) for datagram in sent]
    assert 50 < max(parts) <= 127
    assert min(parts) >= 1


# 10. Those who are missing are joined again


def test_who_was_forgotten_is_named_and_can_be_joined_again() -> None:
    bench = Bench(members=["b"])
    bench.hear(Dead(1, "b", "x"))
    bench.wait(40.0)
    assert set(bench.node.members()) == {"me"}
    missing = [(view.address, view.port) for view in bench.node.former().values()]
    (number,) = bench.node.join(missing, now=bench.now)
    (opened,) = of(OpenStream, bench.node.take_outputs())
    assert (opened.to, opened.purpose) == (B, StreamPurpose.JOIN)
    answer = encode_push_pull([state("b", 10, incarnation=2)], join=True)
    bench.node.receive_stream(number, answer, now=bench.now)
    assert CloseStream(number) in bench.node.take_outputs()
    assert bench.node.members()["b"].state is MemberState.ALIVE
    assert not bench.node.former()


# 11. The goodbye


def test_after_the_goodbye_it_answers_on() -> None:
    bench = Bench(members=["b"])
    bench.node.leave(now=bench.now)
    assert Dead(1, "me", "me") in bench.said("me")
    assert bench.node.members()["me"].state is MemberState.LEFT
    assert (SOURCE, Ack(1)) in bench.messages(bench.hear(Ping(1, "me")))
    (written,) = of(WriteStream, accepted(bench, encode(Ping(2, "me"))))
    assert written.data == encode(Ack(2))
    outputs = bench.hear(IndirectPing(3, address(60), 999, "far"))
    (seq,) = [m.seq for _, m in bench.messages(outputs) if isinstance(m, Ping)]
    assert (SOURCE, Ack(3)) in bench.messages(bench.hear(Ack(seq)))
    assert table(accepted(bench, encode_push_pull([], join=False)))["me"].state == MemberState.LEFT
