"""When ticks come, whatever pings come meanwhile."""

import heapq
import math
import random

import pytest

from gossip.rhythm import Rhythm

PACE_S = 0.1
SEEDS = range(10)


def ticks(rhythms: list[Rhythm], starts: list[float], seconds: float, travel_s: float) -> list[list[float]]:
    """When each of some members ticks that follow all before them."""
    told: list[list[float]] = [[] for _ in rhythms]
    dues = [rhythm.begin(start) for rhythm, start in zip(rhythms, starts, strict=True)]
    pings: list[tuple[float, int]] = []
    while min(dues) < seconds:
        now, who = min(dues), dues.index(min(dues))
        if pings and pings[0][0] <= now:
            now, who = heapq.heappop(pings)
            if rhythms[who].met(now) is None:
                continue
        dues[who] = rhythms[who].ticked(now)
        told[who].append(now)
        for other in range(who + 1, len(rhythms)):
            heapq.heappush(pings, (now + travel_s, other))
    return told


@pytest.mark.parametrize("members", [2, 3, 5])
def test_members_that_follow_others_tick_with_them_after_some_seconds(members: int) -> None:
    for seed in SEEDS:
        rhythms = [Rhythm(PACE_S, random.Random(1000 * seed + number)) for number in range(members)]
        told = ticks(rhythms, [number * PACE_S / members for number in range(members)], 30.0, 0.0005)
        for number, times in enumerate(told):
            assert len(times) * PACE_S == pytest.approx(30.0, rel=0.02), f"the pace itself stays, {seed}"
            for other in told[:number]:
                assert all(
                    min(abs(one - two) for two in other) < 0.05 * PACE_S for one in times if one > 15.0
                ), seed


def test_no_ping_makes_a_member_hurry_or_fall_asleep() -> None:
    for seed in SEEDS:
        rng = random.Random(seed)
        rhythm = Rhythm(PACE_S, random.Random(seed))
        due = rhythm.begin(0.0)
        last = -math.inf
        for _ in range(200):
            nearest = rng.choice((0.01, 0.3, 0.5, 0.8))
            early = None
            for _ in range(rng.randrange(20)):
                early = rhythm.met(due - PACE_S * nearest * rng.random())
            now = due if early is None else due - 0.05 * PACE_S
            after = rhythm.ticked(now)
            if last > 0.0:
                assert 0.849 * PACE_S < now - last < 1.151 * PACE_S, seed
            assert 0.899 * PACE_S < after - due < 1.101 * PACE_S, seed
            due, last = after, now


def test_a_tick_is_done_early_only_when_it_is_near() -> None:
    rhythm = Rhythm(PACE_S, random.Random(1))
    due = rhythm.ticked(rhythm.begin(0.0))
    assert rhythm.met(due - 0.06 * PACE_S) is None
    assert rhythm.met(due - 0.04 * PACE_S) == due
    assert rhythm.met(due) is None, "that is for the timer, which sees by how much it is late"


def test_after_a_late_tick_the_next_is_no_later_than_it_would_have_been() -> None:
    rhythm = Rhythm(PACE_S, random.Random(1))
    due = rhythm.ticked(rhythm.begin(0.0))
    assert rhythm.ticked(due + 0.3 * PACE_S) <= due + 1.01 * PACE_S
    due = rhythm.ticked(due + PACE_S)
    assert rhythm.ticked(due + 5 * PACE_S) == due + 5.5 * PACE_S
