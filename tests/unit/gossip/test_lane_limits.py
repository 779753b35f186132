"""What the fast lane counts as fresh, whom it tells in which order, and how long it asks after the dead."""

import random
from itertools import pairwise

import pytest
from typing_extensions import override

from gossip.address import Endpoint
from gossip.circle import Circle
from gossip.config import SwimConfig
from gossip.context import Context
from gossip.direct import Direct
from gossip.fastconfig import FastLaneConfig
from gossip.fastlane import FastLane
from gossip.member import Member, Versions
from gossip.messages import Dead, Ping, Suspect
from gossip.outputs import MemberDead, MemberSuspect, Output, SendDatagram
from gossip.transmit import Transmitter
from gossip.watch import WireAnswer
from tests.unit.gossip.helpers import PORT, VSN, Bench, address, alive, of
from tests.unit.gossip.test_fast_lane import META, PACE_S, at, live, pings

SILENT = WireAnswer.SILENT
SEEDS = range(1, 9)


def bench(*others: str, agreement: int = 2, seed: int = 1) -> Bench:
    """A node with these members of ours, numbered from 10, that gossips nothing for now."""
    config = SwimConfig(
        fast_lane=FastLaneConfig(agreement=agreement), disable_tcp_pings=True, gossip_interval_s=60.0
    )
    made = Bench(config, meta=META, seed=seed)
    for number, name in enumerate(others, 10):
        made.hear(alive(name, number, meta=META))
    return made


def lane(made: Bench) -> FastLane:
    found = made.node._lane
    assert found is not None
    return found


def step(made: Bench, silent: set[str], wire: WireAnswer | None) -> list[Output]:
    """Until the next deadline."""
    deadline = made.node.next_deadline()
    assert deadline is not None
    return live(made, max(0.0, deadline - made.now), silent, wire=wire)


def test_who_was_heard_within_three_paces_has_a_say_and_nobody_else() -> None:
    waited = []
    for seed in SEEDS:
        made = bench("a", "b", seed=seed)
        live(made, 1.0, set())
        assert not of(MemberDead, live(made, 0.8, {"a"}, wire=SILENT)), "the other lives and does not agree"
        heard_at = lane(made)._heard["b"]
        while not of(MemberDead, step(made, {"a", "b"}, SILENT)):
            assert made.now < heard_at + 2.0
        waited.append((made.now - heard_at) / PACE_S)
    assert min(waited) > 3.0
    assert max(waited) < 4.2, "at the next question after that"


@pytest.mark.parametrize(("misses", "fresh"), [(8, True), (4, False)])
def test_an_answer_proves_our_own_link_for_three_paces(misses: int, fresh: bool) -> None:
    """With no wire a member is accused after ten misses; nobody else answers any more after so many of them."""
    for seed in SEEDS:
        made = bench("a", "b", seed=seed)
        live(made, 1.0, set())
        while lane(made)._watches["a"].misses < misses:
            step(made, {"a"}, None)
        while lane(made)._watches["a"].misses < 10:
            step(made, {"a", "b"}, None)
        assert lane(made)._watches["a"].accused is fresh


class Sent(Transmitter):
    """Only counts."""

    def __init__(self) -> None:
        self.to: list[str] = []

    @override
    def send_together(self, to: Member, parts: list[bytes]) -> None:
        self.to.append(to.name)


@pytest.mark.parametrize("members", [1999, 2000, 2001])
def test_at_most_2000_are_told_directly_and_each_of_them_twice(members: int) -> None:
    context, sent = Context(SwimConfig(), random.Random(1)), Sent()
    direct = Direct(context, sent, PACE_S)
    everyone = [
        Member(f"n{number}", address(1), PORT, Versions.decode(VSN), 0.0) for number in range(members)
    ]
    direct.tell(everyone, b"news", 0.0)
    assert len(sent.to) == 64, "a batch at once"
    while (fired := context.timers.pop(10.0)) is not None:
        direct.due(fired[1])
    assert len(set(sent.to)) == min(members, 2000)
    assert all(sent.to.count(name) == 2 for name in sent.to[:64])
    assert len(sent.to) == 2 * min(members, 2000)


NAMES = [f"n{number}" for number in range(12)]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_next_in_the_circle_are_asked_and_each_watcher_begins_elsewhere(place: int) -> None:
    circle = Circle()
    for name in ("me", *NAMES):
        circle.add(name)
    victim = list(circle.before("me"))[place]
    jury = [name for name in circle.after(victim) if name != "me"][:3]
    ends = {name: at(number) for number, name in enumerate(NAMES, 10)}
    made = bench(*NAMES)

    def living(seconds: float, silent: set[str]) -> list[Output]:
        """Our own watchers ask us all the while."""
        outputs: list[Output] = []
        for _ in range(round(seconds / PACE_S * 2)):
            for number, name in enumerate(NAMES, 10):
                if name != victim:
                    made.hear(Ping(1, "me", address(number), PORT, name), source=ends[name])
            outputs += live(made, PACE_S / 2, silent, wire=SILENT)
        return outputs

    living(1.0, set())
    outputs = living(0.6, {victim})
    assert of(MemberSuspect, outputs)
    assert not of(MemberDead, outputs)
    alone = [made.messages([datagram]) for datagram in of(SendDatagram, outputs)]
    asked = {found[0][0] for found in alone if [m for _, m in found] == [Suspect(1, victim, "me")]}
    assert asked == {ends[name] for name in jury}
    outputs = made.hear(Suspect(1, victim, jury[0]), source=ends[jury[0]])
    told = [to for to, m in made.messages(outputs) if m == Dead(1, victim, "me")]
    others = [ends[name] for name in circle if name != "me"]
    assert told == others[4 * place :] + others[: 4 * place]


def died_ago(seconds: float) -> list[float]:
    """A member died so long ago; the pauses between the questions to it in the ten seconds that follow."""
    made = bench("a")
    live(made, 1.0, set())
    made.hear(Dead(1, "a", "x"), source=Endpoint("198.18.0.99", PORT))
    live(made, 0.1, {"a"})
    made.now += seconds - 0.1
    made.node.handle_timer(made.now)
    made.node.take_outputs()
    began, asked = made.now, []
    while made.now < began + 10.0:
        if "a" in pings(made, step(made, {"a"}, None)):
            asked.append(made.now - began)
    return [later - earlier for earlier, later in pairwise(asked)]


@pytest.mark.parametrize(
    ("ago_s", "pause_s"), [(1.0, 0.25), (580.0, 0.25), (601.0, 2.0), (80_000.0, 2.0), (86_401.0, None)]
)
def test_the_dead_are_asked_often_for_ten_minutes_then_seldom_for_a_day(
    ago_s: float, pause_s: float | None
) -> None:
    pauses = died_ago(ago_s)
    if pause_s is None:
        assert not pauses
        return
    assert len(pauses) >= 3
    assert pauses == pytest.approx([pause_s] * len(pauses))


@pytest.mark.parametrize("agreement", [1, 2, 3])
def test_as_many_as_are_wanted_must_have_tried_it_themselves(agreement: int) -> None:
    made = bench("a", "b", "c", "d", agreement=agreement)
    live(made, 1.0, set())
    outputs = live(made, 0.6, {"a"}, wire=SILENT)
    accusers = 1
    for number, name in ((11, "b"), (12, "c"), (13, "d")):
        assert bool(of(MemberDead, outputs)) is (accusers >= agreement)
        if accusers >= agreement:
            break
        outputs = made.hear(Suspect(1, "a", name), source=at(number))
        accusers += 1
    assert accusers == agreement


@pytest.mark.parametrize("agreement", [1, 2, 3])
def test_a_lone_survivor_decides_alone_whatever_is_wanted(agreement: int) -> None:
    made = bench("a", agreement=agreement)
    live(made, 1.0, set())
    assert of(MemberDead, live(made, 0.6, {"a"}, wire=SILENT))
