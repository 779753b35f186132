"""The fast lane's rules one by one, at a node fed by hand."""

from dataclasses import replace

import pytest

from gossip.address import Endpoint
from gossip.circle import Circle
from gossip.config import SwimConfig
from gossip.errors import ConfigError
from gossip.fastconfig import FastLaneConfig
from gossip.member import MemberState
from gossip.messages import Ack, Alive, Dead, IndirectPing, Ping, Suspect
from gossip.meta import Meta
from gossip.outputs import (
    MemberDead,
    MemberDoubtful,
    MemberSuspect,
    OpenStream,
    Output,
    Refuted,
    SendDatagram,
    StreamPurpose,
)
from gossip.patience import Lateness, Silences
from gossip.watch import WireAnswer
from tests.unit.gossip.helpers import PORT, START, Bench, alive, of

FAST = SwimConfig(fast_lane=FastLaneConfig())
PACE_S = 0.1
META = Meta(software="vipring", version="1", instance=b"first").encode()


def bench(*others: str, plain: tuple[str, ...] = (), config: SwimConfig = FAST) -> Bench:
    """A node that watches these members of ours; the plain ones have no meta."""
    made = Bench(config, meta=META)
    for number, name in enumerate(others, 10):
        made.hear(alive(name, number, meta=META))
    for number, name in enumerate(plain, 100):
        made.hear(alive(name, number))
    return made


def at(number: int) -> Endpoint:
    return Endpoint(f"198.18.0.{number}", PORT)


def live(made: Bench, seconds: float, silent: set[str], *, wire: WireAnswer | None = None) -> list[Output]:
    """Let time pass; all but the silent answer at once, and the wire says what it is told to."""
    outputs: list[Output] = []
    end = made.now + seconds
    while (deadline := made.node.next_deadline()) is not None and deadline <= end:
        made.now = max(made.now, deadline)
        made.node.handle_timer(made.now)
        taken = made.node.take_outputs()
        while taken:
            outputs += taken
            answers: list[Output] = []
            for output in of(MemberDoubtful, taken):
                if wire is not None:
                    made.node.wire_evidence(output.view.name, wire, own_link_proven=True, now=made.now)
            for to, message in made.messages(taken):
                if isinstance(message, Ping) and message.node not in silent:
                    answers += made.hear(Ack(message.seq), source=to)
            taken = answers
    made.now = end
    return outputs


def pings(made: Bench, outputs: list[Output]) -> list[str]:
    return [message.node for _, message in made.messages(outputs) if isinstance(message, Ping)]


def test_the_circle_goes_round() -> None:
    circle = Circle()
    names = [f"n{number}" for number in range(20)]
    for name in names:
        circle.add(name)
    circle.add("n3")
    order = list(circle)
    assert sorted(order) == sorted(names)
    for place, name in enumerate(order):
        assert list(circle.after(name)) == order[place + 1 :] + order[:place]
        assert list(circle.before(name)) == list(reversed(order[place + 1 :] + order[:place]))
    circle.remove("n3")
    circle.remove("n3")
    assert "n3" not in circle
    assert len(circle) == 19
    assert (
        list(circle.after("n3")) == [name for name in order[order.index("n3") :] + order if name != "n3"][:19]
    )


def test_each_is_watched_by_three_and_watches_three() -> None:
    circle = Circle()
    names = [f"n{number}" for number in range(50)]
    for name in names:
        circle.add(name)
    watchers = {name: list(circle.after(name))[:3] for name in names}
    watched = {name: list(circle.before(name))[:3] for name in names}
    assert all(name in watched[other] for name in names for other in watchers[name])


def test_the_longest_silence_of_ten_minutes_counts() -> None:
    silences = Silences()
    assert silences.longest(0.0) == 0
    silences.ended(3, 100.0)
    silences.ended(5, 200.0)
    silences.ended(2, 300.0)
    assert silences.longest(400.0) == 5
    assert silences.longest(801.0) == 2
    silences.ended(500, 802.0)
    assert silences.longest(802.0) == 10, "one long stall does not disarm the lane"
    silences.refuted(900.0)
    assert silences.longest(1500.0) == 10
    assert silences.longest(1501.0) == 0


def test_who_is_late_needs_more_patience_for_a_while() -> None:
    lateness = Lateness(PACE_S)
    assert not lateness.tick(0.03)
    assert lateness.stretch == 1
    assert all(lateness.tick(0.04) for _ in range(10))
    assert lateness.stretch == 4
    for _ in range(10):
        assert not lateness.tick(0.0)
    assert lateness.stretch == 3
    for _ in range(20):
        lateness.tick(0.0)
    assert lateness.stretch == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pace_s": 0.01}, r"pace_s: is 0\.01; 0\.02 to 1\.0 is allowed"),
        ({"misses": 1}, "misses: is 1; 2 to 20 is allowed"),
        ({"misses_without_wire": 21}, "misses_without_wire: is 21; 2 to 20 is allowed"),
        ({"misses": 12}, r"misses_without_wire: is 10; misses \(12\) to 20 is allowed"),
        ({"agreement": 0}, "agreement: is 0; 1 to 3 is allowed"),
        ({"reclaim_s": -1.0}, r"reclaim_s: is -1\.0; 0\.0 to 3600\.0 is allowed"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(values: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FastLaneConfig(**values)  # type: ignore[arg-type]


def test_meta_tells_one_start_from_the_next() -> None:
    meta = Meta.decode(META)
    assert meta is not None
    assert meta.instance == b"first"
    without = Meta.decode(b"vip1\x82\xa1s\xa1x\xa1v\xa11")
    assert without is not None
    assert without.instance == b""
    assert Meta.decode(b"vip1\x83\xa1i\x01\xa1s\xa1x\xa1v\xa11") is None


def test_one_tick_asks_all_three() -> None:
    made = bench("a", "b", "c", "d", "e")
    ticks: list[list[str]] = []
    for _ in range(60):
        deadline = made.node.next_deadline()
        assert deadline is not None
        made.now = deadline
        made.node.handle_timer(made.now)
        taken = made.node.take_outputs()
        asked = pings(made, taken)
        for to, message in made.messages(taken):
            if isinstance(message, Ping):
                made.hear(Ack(message.seq), source=to)
        if len(asked) >= 3:
            ticks.append(sorted(asked)[:3])
    assert len(ticks) > 10
    assert all(len(set(tick)) == 3 and tick == ticks[0] for tick in ticks)


def test_who_left_asks_nobody_until_it_comes_back() -> None:
    made = bench("a", "b", "c")
    live(made, 1.0, set())
    made.node.leave(now=made.now)
    live(made, 1.0, set())
    # The ordinary probes go on, one a second.
    assert len(pings(made, live(made, 5.0, set()))) <= 6
    made.node.join([("198.18.0.10", PORT)], now=made.now)
    assert len(pings(made, live(made, 5.0, set()))) <= 6
    doubts = made.node.counters.doubts
    made.node.come_back(now=made.now)
    assert len(pings(made, live(made, 5.0, set()))) > 100
    assert made.node.counters.doubts == doubts, "questions of before the goodbye are no misses"


def test_who_comes_back_goes_on_asking_after_the_dead() -> None:
    made = bench("a", "b")
    live(made, 1.0, set())
    made.hear(Dead(1, "a", "b"))
    assert pings(made, live(made, 5.0, {"a"})).count("a") >= 15
    made.node.leave(now=made.now)
    assert "a" not in pings(made, live(made, 5.0, {"a"}))
    made.node.come_back(now=made.now)
    assert pings(made, live(made, 5.0, {"a"})).count("a") >= 15


def test_only_an_answer_to_an_own_question_is_a_sign_of_life() -> None:
    made = bench("a", "b")
    made.now += 1.0
    live(made, 1.0, set())
    outputs: list[Output] = []
    for _ in range(8):
        outputs += live(made, PACE_S / 2, {"a"}, wire=WireAnswer.SILENT)
        made.hear(Ping(7, "me", b"\xc6\x12\x00\x0a", PORT, "a"), Ack(4711), source=at(10))
        outputs += live(made, PACE_S / 2, {"a"}, wire=WireAnswer.SILENT)
    assert {event.view.name for event in of(MemberSuspect, outputs)} == {"a"}


def test_two_that_tried_it_themselves_declare_it_dead() -> None:
    made = bench("a", "b", "c")
    live(made, 1.0, set())
    outputs = live(made, 0.55, {"a"}, wire=WireAnswer.SILENT)
    assert {to for to, message in made.messages(outputs) if isinstance(message, Suspect)} >= {at(11), at(12)}
    assert not of(MemberDead, outputs)
    outputs = made.hear(Suspect(1, "a", "b"), source=at(50))
    assert not of(MemberDead, outputs), "gossip is no second opinion"
    outputs = made.hear(Suspect(1, "a", "b"), source=at(11))
    assert [event.by for event in of(MemberDead, outputs)] == ["me"]
    told = {to for to, message in made.messages(outputs) if isinstance(message, Dead)}
    assert told == {at(10), at(11), at(12)}
    assert made.node.counters.verdicts == 1


@pytest.mark.parametrize("wire", [WireAnswer.ANSWERED, WireAnswer.SILENT])
def test_a_signed_answer_on_the_wire_speaks_for_the_member(wire: WireAnswer) -> None:
    made = bench("a", "b")
    live(made, 1.0, set())
    outputs = live(made, 0.9, {"a"}, wire=wire)
    assert bool(of(MemberSuspect, outputs)) is (wire is WireAnswer.SILENT)
    assert (made.node.counters.vetoes > 0) is (wire is WireAnswer.ANSWERED)


def test_a_relay_that_got_an_answer_speaks_for_the_member() -> None:
    made = bench("a", "b", "c")
    live(made, 1.0, set())
    for _ in range(12):
        for to, message in made.messages(live(made, PACE_S, {"a"}, wire=WireAnswer.SILENT)):
            if isinstance(message, IndirectPing):
                assert to in (at(11), at(12))
                made.hear(Ack(message.seq), source=to)
    assert made.node.members()["a"].state is MemberState.ALIVE
    assert made.node.counters.vetoes > 0


def test_without_a_wire_the_member_is_asked_by_tcp_too() -> None:
    made = bench("a", "b")
    live(made, 1.0, set())
    outputs = live(made, 0.75, {"a"})
    dialled = [stream for stream in of(OpenStream, outputs) if stream.purpose is StreamPurpose.PING]
    assert [stream.to for stream in dialled] == [at(10)]
    assert not of(MemberSuspect, outputs)


def test_nobody_accuses_whose_own_link_is_not_proven() -> None:
    made = bench("a", "b", "c")
    live(made, 1.0, set())
    outputs = live(made, 0.8, {"a", "b", "c"})
    assert len(of(MemberDoubtful, outputs)) > 6
    before = made.node.counters.vetoes
    live(made, 1.0, {"a", "b", "c"})
    assert made.node.counters.vetoes == before + 3, "each is held back once"
    assert made.node.counters.verdicts == 0


def test_an_answer_to_an_ordinary_probe_ends_a_doubt() -> None:
    made = bench("a", "b")
    live(made, 1.0, set())
    misses: list[int] = []
    probed = -1
    end = made.now + 5.0
    while len(misses) <= probed or probed < 0:
        deadline = made.node.next_deadline()
        assert deadline is not None
        assert deadline < end
        made.now, probes = deadline, made.node.counters.probes
        made.node.handle_timer(made.now)
        taken = made.node.take_outputs()
        misses += [output.misses for output in of(MemberDoubtful, taken) if output.view.name == "a"]
        for to, message in made.messages(taken):
            if isinstance(message, Ping) and (message.node == "b" or made.node.counters.probes > probes):
                made.hear(Ack(message.seq), source=to)
                if message.node == "a" and misses and misses[-1] > 1:
                    probed = len(misses)
    assert misses[probed] == 1


def test_who_answers_by_relays_only_is_not_asked_for_its_opinion() -> None:
    made = bench("a", "b", "c", config=replace(FAST, gossip_interval_s=60.0))
    live(made, 1.0, set())
    asked: set[Endpoint] = set()
    while made.now < START + 5.0:
        taken = live(made, PACE_S / 4, {"a", "b"}, wire=WireAnswer.SILENT)
        for datagram in of(SendDatagram, taken):
            ((to, message), *behind) = made.messages([datagram])
            if isinstance(message, Suspect) and message.node == "a" and not behind:
                asked.add(to)
            elif isinstance(message, IndirectPing) and message.node == "b":
                made.hear(Ack(message.seq), source=to)
    assert made.node.members()["b"].state is MemberState.ALIVE
    assert asked == {at(12)}


def test_nobody_agrees_with_others_whose_own_link_is_gone_since_it_accused() -> None:
    made = bench("a", "b", "c")
    live(made, 1.0, set())
    assert of(MemberSuspect, live(made, 0.55, {"a"}, wire=WireAnswer.SILENT))
    live(made, 0.4, {"a", "b", "c"})
    assert not of(MemberDead, made.hear(Suspect(1, "a", "b"), source=at(11)))
    outputs = live(made, 0.25, {"a"})
    assert [event.by for event in of(MemberDead, outputs)] == ["me"], "the word of the other still counts"


def test_late_ticks_count_no_misses() -> None:
    made = bench("a", "b")
    live(made, 1.0, set())
    for _ in range(12):
        made.now += PACE_S * 1.5
        made.node.handle_timer(made.now)
        outputs = made.node.take_outputs()
        assert not of(MemberDoubtful, outputs)


def test_who_asks_about_a_dead_member_is_told() -> None:
    made = bench("a", "b")
    made.hear(Dead(1, "a", "b"), source=at(11))
    outputs = made.hear(Suspect(1, "a", "b"), source=at(11))
    assert made.messages(outputs) == [(at(11), Dead(1, "a", "me"))]
    assert not made.messages(made.hear(Suspect(1, "a", "b"), source=at(99))), "only members themselves"


def test_a_direct_verdict_is_not_gossiped_where_plain_members_would_hear_it() -> None:
    for plain, expected in (((), True), (("p",), False)):
        made = bench("a", "b", plain=plain)
        live(made, 3.0, set())
        made.hear(Dead(1, "a", "b"), source=at(11))
        assert made.node.members()["a"].state is MemberState.DEAD
        assert (made.node.queue_depth() > 0) is expected


def test_who_is_accused_tells_all_of_ours_at_once() -> None:
    made = bench("a", "b", "c", plain=("p",))
    outputs = made.hear(Suspect(1, "me", "a"), source=at(10))
    assert of(Refuted, outputs)
    assert {to for to, _ in made.messages(outputs)} == {at(10), at(11), at(12)}
    outputs = made.hear(Suspect(2, "me", "a"), source=at(10))
    assert of(Refuted, outputs)
    assert not made.messages(outputs), "an accuser cannot make it shout"


def test_the_dead_are_asked_until_they_answer() -> None:
    made = bench("a", "b")
    live(made, 1.0, set())
    made.hear(Dead(1, "a", "b"), source=at(11))
    asked = pings(made, live(made, 2.0, {"a"})).count("a")
    assert asked == 8
    outputs = live(made, 0.3, set())
    assert [stream.to for stream in of(OpenStream, outputs) if stream.purpose is StreamPurpose.SYNC] == [
        at(10)
    ]
    made.hear(alive("a", 10, incarnation=2, meta=META), source=at(10))
    assert made.node.counters.false_deaths == 1


def test_who_started_anew_was_dead_indeed() -> None:
    made = bench("a", "b")
    live(made, 1.0, set())
    made.hear(Dead(1, "a", "b"), source=at(11))
    again = Meta(software="vipring", version="1", instance=b"second").encode()
    made.hear(alive("a", 10, incarnation=2, meta=again), source=at(10))
    assert made.node.counters.false_deaths == 0


def test_who_was_not_ours_and_is_now_was_dead_indeed() -> None:
    made = bench("a", plain=("p",))
    made.hear(Dead(1, "p", "a"), source=at(10))
    assert made.node.sizes()["members asked after"] == 1
    made.hear(alive("p", 100, incarnation=2, meta=META), source=at(100))
    assert made.node.sizes()["members asked after"] == 0
    assert made.node.counters.false_deaths == 0


@pytest.mark.parametrize("ours", [(), ("a",)], ids=["alone", "with another"])
def test_the_dead_that_are_not_ours_are_asked_as_well(ours: tuple[str, ...]) -> None:
    made = bench(*ours, plain=("p", "q"))
    live(made, 1.0, set())
    made.hear(Dead(1, "p", "q"), source=at(101))
    assert pings(made, live(made, 2.0, {"p"})).count("p") == 8
    outputs = live(made, 0.3, set())
    assert [stream.to for stream in of(OpenStream, outputs) if stream.purpose is StreamPurpose.SYNC] == [
        at(100)
    ]
    made.hear(alive("p", 100, incarnation=2), source=at(100))
    assert made.node.sizes()["members asked after"] == 0
    assert made.node.counters.false_deaths == 0


def test_the_dead_of_a_large_ring_are_asked_by_the_next_three_alone() -> None:
    made = bench("a", "b", "c", "d", plain=("p", "q", "r", "s"))
    circle = Circle()
    for name in ("me", "a", "b", "c", "d"):
        circle.add(name)
    for name in ("p", "q", "r", "s"):
        before = made.node.sizes()["members asked after"]
        made.hear(Dead(1, name, "a"), source=at(10))
        asked = made.node.sizes()["members asked after"] - before
        assert asked == ("me" in circle.next_after(name, 3)), name


def test_nobody_is_asked_where_another_member_is_now() -> None:
    made = bench("a", "b", plain=("p",))
    made.hear(Dead(1, "p", "a"), source=at(10))
    assert made.node.sizes()["members asked after"] == 1
    made.hear(alive("other", 100))
    assert made.node.sizes()["members asked after"] == 0
    assert "p" not in pings(made, live(made, 1.0, {"p"}))


def test_who_will_not_come_back_is_asked_no_more() -> None:
    made = bench("a", "b")
    live(made, 1.0, set())
    made.hear(Dead(1, "a", "b"), source=at(11))
    assert "a" in pings(made, live(made, 1.0, {"a"}))
    made.node.give_up("a")
    assert "a" not in pings(made, live(made, 3.0, {"a"}))


def test_who_left_is_not_asked_again() -> None:
    made = bench("a", "b")
    live(made, 1.0, set())
    made.hear(Dead(1, "a", "a"), source=at(10))
    assert "a" not in pings(made, live(made, 3.0, {"a"}))


def test_wire_evidence_about_nobody_is_nothing() -> None:
    for made in (bench("a"), Bench()):
        made.node.wire_evidence("nobody", WireAnswer.ANSWERED, own_link_proven=True, now=made.now)
        assert made.node.counters.vetoes == 0


def test_many_are_told_in_batches_and_twice() -> None:
    made = bench(*(f"n{number}" for number in range(100)))

    def told(outputs: list[Output]) -> int:
        return sum(isinstance(message, Alive) for _, message in made.messages(outputs))

    first = made.hear(Suspect(1, "me", "n1"), source=at(11))
    assert told(first) == 64
    made.now += 0.006
    made.node.handle_timer(made.now)
    assert (
        len(
            {
                to
                for to, message in made.messages(first + made.node.take_outputs())
                if isinstance(message, Alive)
            }
        )
        == 100
    )
    later = made.wait(0.15)
    assert told(later) >= 100
