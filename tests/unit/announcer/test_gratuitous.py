"""The gratuitous schedule on a clock walked by hand."""

from collections import Counter

import pytest

from announcer.layer2.arp import REPLY, REQUEST
from announcer.layer2.gratuitous import Due, GratuitousSchedule
from announcer.layer2.requesters import Requester

START = 1_000.0
VIP = bytes([198, 18, 1, 0])
OTHER = bytes([198, 18, 1, 1])
HOST = Requester(bytes.fromhex("0200000000aa"), bytes([198, 18, 0, 99]))


def schedule(*, frames_per_s: float = 1e6, burst: int = 1_000) -> GratuitousSchedule:
    return GratuitousSchedule(frames_per_s=frames_per_s, burst=burst, now=START)


def play(core: GratuitousSchedule, *, until: float, since: float = START) -> list[tuple[float, list[Due]]]:
    """Call `take` whenever the core asks for it; returns (seconds since the start, frames) of each call."""
    taken = []
    now = since
    while (deadline := core.next_deadline()) is not None and deadline <= until:
        now = max(now, deadline)
        if frames := core.take(now):
            taken.append((round(now - START, 6), frames))
    return taken


def test_rounds_of_both_forms() -> None:
    core = schedule()
    core.start(VIP, 2, now=START)
    both = [Due(VIP, 2, REQUEST), Due(VIP, 2, REPLY)]
    assert play(core, until=START + 60) == [(at, both) for at in (0.0, 0.1, 0.3, 1.1, 2.2, 3.3, 4.4)]
    assert core.next_deadline() is None


def test_every_interface_has_its_own_burst() -> None:
    core = schedule()
    core.start(VIP, 2, now=START)
    core.start(VIP, 3, now=START)
    assert {due.interface for due in core.take(START)} == {2, 3}
    core.stop_interface(2)
    assert {due.interface for due in core.take(START + 0.1)} == {3}


def test_stopped_address_is_never_mentioned_again() -> None:
    core = schedule()
    core.start(VIP, 2, now=START)
    core.start(OTHER, 2, now=START)
    core.take(START)
    core.stop_address(VIP)
    assert {due.address for _, frames in play(core, until=START + 60) for due in frames} == {OTHER}


def test_starting_again_replaces_the_burst() -> None:
    core = schedule()
    core.start(VIP, 2, now=START)
    core.take(START)
    core.start(VIP, 2, now=START + 0.05)
    times = [at for at, _ in play(core, until=START + 60, since=START + 0.05)]
    assert times == [0.05, 0.15, 0.35, 1.15, 2.25, 3.35, 4.45]


def test_early_and_spurious_calls_give_nothing() -> None:
    core = schedule()
    assert core.take(START) == []
    core.start(VIP, 2, now=START)
    core.take(START)
    assert core.take(START + 0.099) == []


def test_a_late_round_is_left_out() -> None:
    core = schedule()
    core.start(VIP, 2, now=START)
    core.take(START)
    assert len(core.take(START + 1.0)) == 2, "one round for the two that passed"
    assert core.next_deadline() == START + 1.1


def test_stall_drops_what_was_due_meanwhile() -> None:
    core = schedule()
    core.start(VIP, 2, now=START)
    core.take(START)
    core.skip_overdue(START + 2.0)
    assert core.take(START + 2.0) == []
    assert [at for at, _ in play(core, until=START + 60, since=START + 2.0)] == [2.2, 3.3, 4.4]


def test_stall_beyond_the_burst_ends_it() -> None:
    core = schedule()
    core.start(VIP, 2, now=START)
    core.skip_overdue(START + 60)
    assert core.next_deadline() is None
    assert core.take(START + 60) == []


def test_stall_keeps_what_is_due_later() -> None:
    core = schedule()
    core.start(VIP, 2, now=START)
    core.skip_overdue(START)
    assert core.take(START) == [Due(VIP, 2, REQUEST), Due(VIP, 2, REPLY)]


def test_pace_and_the_first_of_all_before_the_second_of_any() -> None:
    core = schedule(frames_per_s=1_000.0, burst=10)
    addresses = [bytes([198, 18, 1, host]) for host in range(200)]
    for address in addresses:
        core.start(address, 2, now=START)
    taken = play(core, until=START + 60)
    frames = [(at, due) for at, batch in taken for due in batch]
    assert {due.address for _, due in frames[:200]} == set(addresses)
    assert all(due.operation == REQUEST for _, due in frames[:200])
    assert max(len(batch) for _, batch in taken) <= 10
    for begin in range(len(frames) - 110):
        # In any 0.1 s: 100 frames by the rate, and 10 saved up.
        assert frames[begin + 110][0] - frames[begin][0] >= 0.099
    assert frames[-1][0] < 5.0, "what comes too late for its round is left out, not queued"


@pytest.mark.parametrize(("frames_per_s", "at_once"), [(100, 1), (1_000, 10), (50_000, 64)])
def test_another_pace_counts_from_the_next_frame_on(frames_per_s: int, at_once: int) -> None:
    core = schedule(frames_per_s=10_000.0, burst=64)
    core.set_pace(frames_per_s)
    for host in range(200):
        core.start(bytes([198, 18, 1, host]), 2, now=START)
    taken = play(core, until=START + 60)
    frames = [at for at, batch in taken for _ in batch]
    assert max(len(batch) for _, batch in taken) == at_once
    assert frames[199] == pytest.approx((200 - at_once) / frames_per_s, abs=0.01)


def test_overload_leaves_no_backlog() -> None:
    core = schedule(frames_per_s=100.0, burst=1)
    for host in range(200):
        core.start(bytes([198, 18, 1, host]), 2, now=START)
    frames = sum(len(batch) for _, batch in play(core, until=START + 600))
    assert frames <= 200 * 2 + 5 * 100 + 1, "every address once, and no more rounds than fit in 5 s"
    assert core.next_deadline() is None


def test_clear_forgets_everything() -> None:
    core = schedule()
    core.start(VIP, 2, now=START)
    core.clear()
    assert core.next_deadline() is None
    assert core.take(START + 1) == []


@pytest.mark.parametrize("count", [200, 10_000])
def test_order_of_a_takeover_of_many(count: int) -> None:
    core = schedule(frames_per_s=10_000.0, burst=64)
    addresses = [bytes([198, 18, number >> 8, number & 0xFF]) for number in range(count)]
    for address in addresses:
        core.start(address, 2, now=START, directed=[HOST])
    frames = [(at, due) for at, batch in play(core, until=START + 60) for due in batch]
    assert {due.address for _, due in frames[:count]} == set(addresses), (
        "the first of all before the second of any"
    )
    assert frames[count - 1][0] <= count / 10_000.0 + 0.01
    for begin in range(0, len(frames) - 1_064, 97):
        assert frames[begin + 1_064][0] - frames[begin][0] >= 0.099
    told = [due.address for _, due in frames if due.to == HOST]
    assert sorted(told) == sorted(addresses * 2)


def test_hosts_are_told_one_by_one_at_once_and_after_a_second() -> None:
    core = schedule()
    core.start(VIP, 2, now=START, directed=[HOST])
    told = [(at, due) for at, batch in play(core, until=START + 60) for due in batch if due.to is not None]
    assert told == [(0.0, Due(VIP, 2, REQUEST, HOST)), (1.0, Due(VIP, 2, REQUEST, HOST))]


def test_hosts_are_not_told_what_is_not_so_any_more() -> None:
    core = schedule()
    core.start(VIP, 2, now=START, directed=[HOST])
    core.take(START)
    core.skip_overdue(START + 1.05)
    assert all(
        due.to is None for _, batch in play(core, until=START + 60, since=START + 1.05) for due in batch
    )
    core.start(VIP, 2, now=START + 100, directed=[HOST])
    core.stop_address(VIP)
    assert core.take(START + 101) == []


@pytest.mark.parametrize(("at", "expected"), [(0.5, [0.0, 0.5, 1.5]), (10.0, [0.0, 1.0, 10.0])])
def test_a_repeat_tells_the_hosts_too(at: float, expected: list[float]) -> None:
    core = schedule()
    core.start(VIP, 2, now=START, directed=[HOST])
    before = play(core, until=START + at)
    core.repeat(VIP, 2, now=START + at, directed=[HOST])
    after = play(core, until=START + at + 60, since=START + at)
    told = [when for when, batch in [*before, *after] for due in batch if due.to is not None]
    assert told == pytest.approx(expected, abs=0.001)


def test_a_repeat_of_what_still_waits_for_its_turn_is_no_burst() -> None:
    core = schedule(frames_per_s=100.0, burst=1)
    addresses = [bytes([198, 18, 1, host]) for host in range(30)]
    for at in (START, START + 0.05):
        for address in addresses:
            core.repeat(address, 2, now=at)
    frames = Counter(
        due.address for _, batch in play(core, until=START + 60, since=START + 0.05) for due in batch
    )
    assert frames == dict.fromkeys(addresses, 2)


def test_of_the_first_frames_those_of_a_lower_turn_leave_first_and_so_with_the_second() -> None:
    core = schedule(frames_per_s=100.0, burst=1)
    turns = {bytes([198, 18, 1, host]): (30, -10, 20)[host % 3] for host in range(30)}
    late = {bytes([198, 18, 2, host]): -20 for host in range(10)}
    for address, turn in turns.items():
        core.start(address, 2, now=START, turn=turn, directed=[HOST])
    frames = [due for _, batch in play(core, until=START + 0.045) for due in batch]
    for address, turn in late.items():
        core.start(address, 2, now=START + 0.045, turn=turn)
    frames += [due for _, batch in play(core, until=START + 60, since=START + 0.045) for due in batch]
    in_turn = sorted(turns, key=turns.__getitem__)
    first = list(dict.fromkeys(due.address for due in frames))
    assert first == [*in_turn[:5], *late, *in_turn[5:]], "those of one turn in the order of their start"
    told = [due.address for due in frames if due.to == HOST]
    assert told[: len(turns)] == in_turn
