"""What a node says it holds grows and shrinks with what it holds."""

from collections.abc import Callable

import pytest

from gossip.config import SwimConfig
from gossip.fastconfig import FastLaneConfig
from gossip.messages import Dead, IndirectPing, Suspect
from gossip.meta import Meta
from gossip.packet import compress
from gossip.stream import encode_push_pull
from tests.unit.gossip.helpers import PORT, SOURCE, Bench, address, alive, state

META = Meta(software="vipring", version="1", instance=b"first").encode()
FAST = SwimConfig(fast_lane=FastLaneConfig(), max_streams=1, disable_tcp_pings=True)


def opened(bench: Bench) -> None:
    stream = bench.node.accept_stream(source=SOURCE, now=bench.now)
    assert stream is not None
    bench.node.receive_stream(stream, b"\x06", now=bench.now)


def joined(bench: Bench) -> None:
    bench.node.join([("198.18.0.50", PORT), ("198.18.0.51", PORT)], now=bench.now)


def forgotten(bench: Bench) -> None:
    bench.hear(Dead(1, "c", "x"))
    bench.wait_answered(60.0)


def claimed(bench: Bench) -> None:
    forgotten(bench)
    bench.hear(alive("c", 11))


def silent(bench: Bench) -> None:
    bench.hear(alive("d", 12, meta=META))
    bench.wait(0.5)


def expanding(bench: Bench) -> None:
    stream = bench.node.accept_stream(source=SOURCE, now=bench.now)
    assert stream is not None
    table = encode_push_pull([state(f"n{number}", 20) for number in range(1000)], join=True)
    bench.node.receive_stream(stream, compress(table), now=bench.now)


def silent_for_a_while(bench: Bench) -> None:
    bench.wait(0.3)
    bench.wait_answered(0.5)


ACTS: list[tuple[Callable[[Bench], object], dict[str, int]]] = [
    (lambda bench: bench.node.broadcast_user(b"x", now=bench.now), {"broadcasts": 1, "user broadcasts": 1}),
    (lambda bench: bench.hear(alive("d", 12)), {"members": 1, "broadcasts": 1}),
    (lambda bench: bench.hear(Suspect(1, "c", "x")), {"suspicions": 1, "deadlines": 2, "broadcasts": 1}),
    (
        lambda bench: bench.hear(IndirectPing(7, address(60), 999, "far")),
        {"relayed pings": 1, "deadlines": 1},
    ),
    (lambda bench: bench.hear_bytes(b"\xff"), {"sources refused": 1}),
    (opened, {"streams in": 1, "stream bytes": 1, "deadlines": 1}),
    (joined, {"streams out": 1, "joins waiting": 1, "deadlines": 1}),
    (forgotten, {"members": -1, "former members": 1, "forgotten members": 1}),
    (claimed, {"members": -1, "claims": 1, "members asked after": 1, "streams out": 1, "deadlines": 3}),
    (silent, {"watches": 1}),
    (expanding, {"expansions": 1, "streams in": 1}),
    (silent_for_a_while, {"silences": 1}),
    (
        lambda bench: bench.hear(Dead(1, "b", "x")),
        {"members asked after": 1, "watches": -1, "members heard": -1},
    ),
    (lambda bench: bench.hear(Suspect(1, "me", "b")), {"direct messages": 1}),
]


@pytest.mark.parametrize(("act", "change"), ACTS, ids=[next(iter(change)) for _, change in ACTS])
def test_everything_is_counted(act: Callable[[Bench], object], change: dict[str, int]) -> None:
    bench = Bench(FAST, meta=META)
    bench.hear(alive("b", 10, meta=META), alive("c", 11))
    bench.wait_answered(10.0)
    before = bench.node.sizes()
    act(bench)
    after = bench.node.sizes()
    assert {what: after[what] - before[what] for what in change} == change


def test_questions_are_open_until_they_are_answered_or_too_old() -> None:
    bench = Bench(FAST, meta=META)
    bench.hear(alive("b", 10, meta=META))
    bench.wait_answered(5.0)
    assert bench.node.sizes()["open questions"] == 0
    bench.wait(0.35)
    assert bench.node.sizes()["open questions"] >= 3
    bench.wait_answered(5.0)
    assert bench.node.sizes()["open questions"] == 0


def test_without_the_lane_its_counts_are_not_there() -> None:
    assert set(Bench(FAST).node.sizes()) - set(Bench().node.sizes()) == {
        "watches",
        "open questions",
        "silences",
        "members heard",
        "members asked after",
        "direct messages",
    }


def test_outputs_count_until_they_are_taken() -> None:
    bench = Bench(FAST)
    bench.node.leave(now=bench.now)
    assert bench.node.sizes()["outputs"] == 1
    bench.node.take_outputs()
    assert bench.node.sizes()["outputs"] == 0
