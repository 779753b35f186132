"""The small parts: queue, suspicion formula, timers, awareness, configuration, meta, keys."""

import random
from dataclasses import replace

import pytest

from gossip import lzw
from gossip.awareness import Awareness
from gossip.config import SwimConfig
from gossip.errors import ConfigError, DecodeError, RejectReason, UsageError
from gossip.keyring import Keyring, derive_key
from gossip.meta import Meta
from gossip.node import SwimNode, push_pull_scale
from gossip.queue import BroadcastQueue, retransmit_limit
from gossip.suspicion import Suspicion, confirmed_timeout, minimum_timeout
from gossip.timers import TimerKind, Timers
from tests.unit.gossip.helpers import entropy


@pytest.mark.parametrize(
    ("members", "lan", "wan", "local", "transmits", "period"),
    [
        (9, 4, 30, 3, 4, 30),
        (10, 4, 30, 3, 8, 30),
        (20, 5.204, 39.03, 3.903, 8, 30),
        (50, 6.792, 50.94, 5.094, 8, 60),
        (100, 8, 60, 6, 12, 90),
        (500, 10.792, 80.94, 8.094, 12, 150),
        (1000, 12, 90, 9, 16, 180),
    ],
)
def test_what_grows_with_the_ring(
    members: int, lan: float, wan: float, local: float, transmits: int, period: float
) -> None:
    presets = (SwimConfig.lan(), lan), (SwimConfig.wan(), wan), (SwimConfig.local(), local)
    for config, expected in presets:
        assert minimum_timeout(config, members) == pytest.approx(expected)
    assert retransmit_limit(4, members) == transmits
    assert push_pull_scale(members) * SwimConfig.lan().push_pull_interval_s == period


def test_suspicion_shrinks_with_the_logarithm_of_confirmations() -> None:
    assert [confirmed_timeout(count, 2, 4.0, 24.0) for count in (0, 1, 2)] == [24.0, 11.381, 4.0]
    assert confirmed_timeout(0, 0, 4.0, 24.0) == 4.0


def test_each_accuser_counts_once_and_the_first_never() -> None:
    suspicion = Suspicion("a", SwimConfig.lan(), 5, 100.0)
    assert suspicion.deadline == 124.0
    assert not suspicion.confirm("a")
    assert suspicion.confirm("b")
    assert not suspicion.confirm("b")
    assert suspicion.deadline == pytest.approx(111.381)
    assert suspicion.confirm("c")
    assert not suspicion.confirm("d")
    assert suspicion.deadline == 104.0


@pytest.mark.parametrize(("members", "deadline"), [(2, 4.0), (3, 4.0), (4, 24.0)])
def test_small_rings_have_nobody_to_confirm(members: int, deadline: float) -> None:
    assert Suspicion("a", SwimConfig.lan(), members, 0.0).deadline == deadline


def test_queue_prefers_what_was_sent_least_then_the_longest_then_the_latest() -> None:
    queue = BroadcastQueue(4)
    queue.put("short", b"s" * 30)
    queue.put("long", b"l" * 50)
    queue.put("later", b"t" * 30)
    assert queue.take(1400, 5) == [b"l" * 50, b"t" * 30, b"s" * 30]
    queue.put("fresh", b"f" * 29)
    assert queue.take(31, 5) == [b"f" * 29]
    # A tier is left when nothing of it fits any more.
    assert queue.take(40, 5) == [b"t" * 30]
    assert queue.take(32 + 52, 5) == [b"l" * 50, b"s" * 30]


def test_queue_sends_each_message_as_often_as_it_shall_and_one_for_each_subject() -> None:
    done: list[str] = []
    queue = BroadcastQueue(4)
    queue.put("a", b"1" * 30, lambda: done.append("displaced"))
    queue.put("a", b"2" * 30, lambda: done.append("spread"))
    assert done == ["displaced"]
    sent = [queue.take(1400, 5) for _ in range(6)]
    assert sent == [[b"2" * 30]] * 4 + [[]] * 2
    assert done == ["displaced", "spread"]
    assert len(queue) == 0


def test_queue_keeps_compounds_short_enough_for_old_members() -> None:
    queue = BroadcastQueue(4)
    for number in range(300):
        queue.put(str(number), bytes([number % 256]) * 30)
    assert len(queue.take(65_000, 300)) <= 125


def test_timers_fire_in_order_and_forget_what_was_moved() -> None:
    timers = Timers()
    first, second = (TimerKind.RELAY, 1), (TimerKind.RELAY, 2)
    timers.set(first, 5.0)
    timers.set(second, 3.0)
    timers.set(first, 2.0)
    assert timers.next() == 2.0
    assert timers.pop(1.9) is None
    assert timers.pop(10.0) == (first, 2.0)
    timers.cancel(second)
    assert timers.pop(10.0) is None
    assert timers.next() is None
    for number in range(10_000):
        timers.set(first, float(number))
    assert len(timers) == 1
    assert len(timers._heap) < 100


def test_awareness_stays_in_its_bounds() -> None:
    awareness = Awareness(8)
    awareness.apply(-1)
    assert awareness.scale(1.0) == 1.0
    awareness.apply(100)
    assert (awareness.score, awareness.scale(1.0)) == (7, 8.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probe_interval_s": 0.0}, "probe_interval_s: is 0.0; 0.001 to 3600.0 is allowed"),
        ({"probe_timeout_s": 1.0}, r"probe_timeout_s: is 1.0; less than probe_interval_s \(1.0\) is allowed"),
        ({"udp_buffer_size": 70_000}, "udp_buffer_size: is 70000; 512 to 65000 is allowed"),
        ({"protocol_version": 6}, "protocol_version: is 6; 1 to 5 is allowed"),
        ({"delegate_protocol_version": 5}, "delegate_protocol_version: is 5; 0 to 0 is allowed"),
        ({"max_members": 0}, "max_members: is 0; 1 to 1000000 is allowed"),
    ],
)
def test_settings_out_of_range_are_named(change: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(SwimConfig.lan(), **change)  # type: ignore[arg-type]  # a wrong value is the point


def test_serf_versions() -> None:
    config = SwimConfig(delegate_protocol_min=2, delegate_protocol_max=5, delegate_protocol_version=5)
    assert config.versions.encode().hex() == "010502020505"
    assert SwimConfig.lan().versions.encode().hex() == "010502000000"


def test_keys_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"keys\[1\]: has 5 bytes; 16, 24 or 32 are allowed"):
        Keyring([bytes(16), b"short"])
    with pytest.raises(ConfigError, match="at least one"):
        Keyring([])
    with pytest.raises(ConfigError, match="secret: must not be empty"):
        derive_key(b"")


def test_meta_comes_back_and_others_are_not_ours() -> None:
    meta = Meta(
        software="vipring", version="0.1.0", draining=True, eligible=False, segments=(b"abcd", b"efgh")
    )
    assert Meta.decode(meta.encode()) == meta
    for foreign in (
        b"",
        b"\xff\x80",
        b"vip1",
        b"vip1\x80",
        b"vip1\xc1",
        b"vip2" + meta.encode()[4:],
        bytes(600),
    ):
        assert Meta.decode(foreign) is None
    with pytest.raises(UsageError, match="512"):
        Meta(software="v" * 600, version="1").encode()
    with pytest.raises(UsageError, match="4 bytes"):
        Meta(software="v", version="1", segments=(b"abc",)).encode()


def test_meta_of_a_later_member_with_more_keys_is_read() -> None:
    meta = Meta(software="vipring", version="9")
    body = bytearray(meta.encode())
    body[4] += 1
    assert Meta.decode(bytes(body) + b"\xa1z\x01") == meta


@pytest.mark.parametrize(
    ("name", "advertise", "meta", "message"),
    [
        ("", ("198.18.0.1", 7946), b"", "name: has 0 bytes"),
        ("n" * 513, ("198.18.0.1", 7946), b"", "name: has 513 bytes"),
        ("n", ("host.example", 7946), b"", "advertise: 'host.example' is no IP address"),
        ("n", ("198.18.0.1", 0), b"", "advertise: port is 0"),
        ("n", ("198.18.0.1", 7946), bytes(513), "meta: 513 bytes"),
    ],
)
def test_a_node_that_cannot_be_announced_is_refused(
    name: str, advertise: tuple[str, int], meta: bytes, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        SwimNode(
            name=name,
            advertise=advertise,
            config=SwimConfig.lan(),
            keyring=None,
            meta=meta,
            rng=random.Random(1),
            entropy=entropy,
            now=0.0,
        )


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 3838, 5000, 70_000])
def test_lzw_through_every_width_and_reset(size: int) -> None:
    rng = random.Random(size)
    for plain in (bytes(size), rng.randbytes(size), bytes(rng.choice(b"ab") for _ in range(size))):
        for leading_clear in (True, False):
            packed = lzw.compress(plain, leading_clear=leading_clear)
            assert lzw.decompress(packed, limit=size) == plain


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", RejectReason.TRUNCATED),
        (lzw.compress(b"abc")[:-2], RejectReason.TRUNCATED),
        (b"\xff\xff\xff", RejectReason.MALFORMED),
        (lzw.compress(b"a" * 101), RejectReason.TOO_LARGE),
    ],
)
def test_lzw_refuses(data: bytes, reason: RejectReason) -> None:
    with pytest.raises(DecodeError) as refused:
        lzw.decompress(data, limit=100)
    assert refused.value.reason is reason
