"""Who was given up is asked on the wire, and only the end of a silence tells of the end of a cut."""

import random
from collections import Counter
from ipaddress import IPv4Interface

import pytest

from announcer.layer2 import arp, signed
from announcer.layer2.arp import ArpFrame
from announcer.layer2.interfaces import InterfaceView
from announcer.layer2.neighbours import Neighbours
from announcer.layer2.reunion import A_ROUND, ASK_S, KEPT_S, SLOW_AFTER_S, SLOW_S, Reunion
from announcer.layer2.signed import Signer, name_hash

ETH0 = InterfaceView(2, "eth0", bytes.fromhex("020000000001"), (IPv4Interface("198.18.0.11/16"),))
NAMES = [name_hash(f"n{number}") for number in range(2, 12)]
N2 = NAMES[0]


def mac(number: int) -> bytes:
    return bytes([2, 0, 0, 0, 0, number])


class Bench:
    def __init__(self) -> None:
        self.now = 100.0
        self.neighbours = Neighbours()
        self.neighbours.introduce(Signer("n1", [b"key"]), self.now)
        self.neighbours.set_interfaces({2: ETH0}, self.now)
        for number, name in enumerate(NAMES, 2):
            frame = ArpFrame(
                arp.BROADCAST,
                mac(number),
                arp.REQUEST,
                mac(number),
                bytes([198, 18, 0, number]),
                bytes(6),
                bytes(4),
            )
            self.neighbours.hello(2, name, frame, welcome=False, now=self.now)
        self.neighbours.frames.clear()
        self.reunion = Reunion(self.neighbours, random.Random(1).randbytes)

    def rounds(self, count: int) -> list[bytes]:
        """Where the questions of so many rounds go."""
        for _ in range(count):
            due = self.reunion.next_deadline()
            if due is None:
                break
            self.now = max(self.now, due)
            self.reunion.handle_timer(self.now)
        frames, self.neighbours.frames = self.neighbours.frames, []
        assert all(signed.read(frame) is not None for _, frame in frames)
        return [frame[:6] for _, frame in frames]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_the_first_answer_and_the_first_after_a_silence_tell(bench: Bench) -> None:
    bench.reunion.gone([N2], bench.now)
    assert bench.rounds(1) == [mac(2)]
    assert bench.reunion.answered(N2)
    bench.rounds(1)
    assert not bench.reunion.answered(N2), "its ring is cut, not its wire"
    bench.rounds(2)
    assert not bench.reunion.answered(N2), "one frame was lost"
    bench.rounds(3)
    assert bench.reunion.answered(N2)


def test_only_who_was_asked_has_a_nonce(bench: Bench) -> None:
    bench.reunion.gone([N2], bench.now)
    assert bench.reunion.nonce(N2) is None
    bench.rounds(1)
    first = bench.reunion.nonce(N2)
    bench.rounds(1)
    assert first is not None
    assert bench.reunion.nonce(N2) not in (None, first)
    assert bench.reunion.nonce(NAMES[1]) is None
    assert not bench.reunion.answered(NAMES[1])


def test_many_are_asked_in_turn(bench: Bench) -> None:
    bench.reunion.gone(NAMES, bench.now)
    assert len(bench.rounds(1)) == A_ROUND
    asked = Counter(bench.rounds(5 * len(NAMES)))
    assert set(asked.values()) == {5 * A_ROUND}


def test_who_is_back_and_who_stayed_away_too_long_is_asked_no_more(bench: Bench) -> None:
    bench.reunion.gone(NAMES[:2], bench.now)
    bench.reunion.back([N2])
    assert bench.rounds(1) == [mac(3)]
    bench.now += KEPT_S + 1.0
    assert bench.rounds(2) == []
    assert bench.reunion.next_deadline() is None


def test_who_was_given_up_long_ago_is_asked_seldom(bench: Bench) -> None:
    bench.reunion.gone([N2], bench.now)
    bench.rounds(1)
    bench.now += SLOW_AFTER_S + 1.0
    begun = bench.now
    asked = len(bench.rounds(100))
    assert asked == pytest.approx((bench.now - begun) / SLOW_S, abs=2)


def test_a_stranger_is_not_asked(bench: Bench) -> None:
    bench.reunion.gone([name_hash("n99")], bench.now)
    assert bench.reunion.next_deadline() is None


def test_questions_keep_their_distance(bench: Bench) -> None:
    bench.reunion.gone([N2], bench.now)
    bench.reunion.handle_timer(bench.now)
    bench.reunion.handle_timer(bench.now + ASK_S / 2)
    assert len(bench.neighbours.frames) == 1
