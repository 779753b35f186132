"""The rules by which the table of members changes."""

import pytest

from gossip.address import Endpoint
from gossip.config import SwimConfig
from gossip.errors import RejectReason, UsageError
from gossip.fastconfig import FastLaneConfig
from gossip.member import MemberState
from gossip.messages import Ack, Alive, Dead, Ping, Suspect
from gossip.meta import Meta
from gossip.outputs import (
    LeaveDone,
    MemberAlive,
    MemberDead,
    MemberJoined,
    MemberLeft,
    MemberSuspect,
    MemberUpdated,
    PeerRejected,
    Refuted,
)
from tests.unit.gossip.helpers import PORT, SOURCE, START, Bench, address, alive, of

OURS = Meta(software="vipring", version="1").encode()


def test_alive_of_an_unknown_member_joins_and_is_passed_on() -> None:
    bench = Bench()
    outputs = bench.hear(alive("b", 10, incarnation=3, meta=b"hello"))
    (joined,) = of(MemberJoined, outputs)
    view = joined.view
    assert (view.name, view.address, view.port) == ("b", "198.18.0.10", PORT)
    assert (view.state, view.incarnation, view.meta, view.since) == (MemberState.ALIVE, 3, b"hello", START)
    assert alive("b", 10, incarnation=3, meta=b"hello") in bench.said("b")


def test_a_mapped_address_is_shown_as_ipv4_and_passed_on_as_it_came() -> None:
    bench = Bench()
    mapped = bytes(10) + b"\xff\xff" + address(10)
    message = Alive(1, "b", mapped, PORT, b"", bytes((1, 5, 2, 0, 0, 0)))
    (joined,) = of(MemberJoined, bench.hear(message))
    assert joined.view.endpoint == Endpoint("198.18.0.10", PORT)
    assert message in bench.said("b")


@pytest.mark.parametrize("incarnation", [1, 2])
def test_alive_beats_only_a_lower_incarnation(incarnation: int) -> None:
    bench = Bench()
    bench.hear(alive("b", 10, incarnation=2))
    bench.hear(Suspect(2, "b", "c"))
    assert not of(MemberAlive, bench.hear(alive("b", 10, incarnation=incarnation)))
    assert bench.node.members()["b"].state is MemberState.SUSPECT
    (back,) = of(MemberAlive, bench.hear(alive("b", 10, incarnation=3)))
    assert back.view.state is MemberState.ALIVE


def test_suspect_and_dead_win_at_the_same_incarnation_and_lose_at_a_lower() -> None:
    bench = Bench()
    bench.hear(alive("b", 10, incarnation=5))
    assert not bench.hear(Suspect(4, "b", "c"), Dead(4, "b", "c"))
    (suspect,) = of(MemberSuspect, bench.hear(Suspect(5, "b", "c")))
    assert suspect.by == "c"
    (dead,) = of(MemberDead, bench.hear(Dead(5, "b", "d")))
    assert (dead.by, dead.view.state) == ("d", MemberState.DEAD)


def test_dead_never_becomes_left_and_a_member_that_says_it_itself_has_left() -> None:
    bench = Bench(members=["b", "c"])
    bench.hear(Dead(1, "b", "c"))
    assert not of(MemberLeft, bench.hear(Dead(1, "b", "b")))
    assert bench.node.members()["b"].state is MemberState.DEAD
    (left,) = of(MemberLeft, bench.hear(Dead(1, "c", "c")))
    assert left.view.state is MemberState.LEFT


def test_meta_that_changes_is_an_update() -> None:
    bench = Bench(members=["b"])
    (updated,) = of(MemberUpdated, bench.hear(alive("b", 10, incarnation=2, meta=b"x")))
    assert updated.view.meta == b"x"
    assert not bench.hear(alive("b", 10, incarnation=3, meta=b"x"))


def test_verdicts_about_strangers_are_ignored() -> None:
    bench = Bench()
    assert not bench.hear(Suspect(1, "nobody", "x"), Dead(1, "nobody", "x"))
    assert set(bench.node.members()) == {"me"}


@pytest.mark.parametrize("kind", [Suspect, Dead])
def test_an_accusation_is_refuted_above_its_own_number(kind: type[Suspect] | type[Dead]) -> None:
    bench = Bench(members=["b"])
    (refuted,) = of(Refuted, bench.hear(kind(7, "me", "b")))
    assert refuted == Refuted(8, "b")
    assert bench.node.members()["me"].state is MemberState.ALIVE
    assert Alive(8, "me", address(1), PORT, b"", bytes((1, 5, 2, 0, 0, 0))) in bench.said("me")
    assert bench.node.health_score() == 1


def test_an_echo_of_our_own_alive_is_not_refuted_but_a_higher_one_is() -> None:
    bench = Bench()
    assert not bench.hear(alive("me", 1))
    assert of(Refuted, bench.hear(alive("me", 1, incarnation=4))) == [Refuted(5, "")]


def test_the_highest_incarnation_of_a_liar_is_survived() -> None:
    bench = Bench(members=["b"])
    assert of(Refuted, bench.hear(Suspect(0xFFFFFFFF, "me", "b"))) == [Refuted(0xFFFFFFFF, "b")]
    assert bench.said("me")


def test_a_living_name_at_another_address_is_a_conflict() -> None:
    bench = Bench(members=["b"])
    (rejected,) = of(PeerRejected, bench.hear(alive("b", 77, incarnation=9)))
    assert rejected.reason is RejectReason.CONFLICT
    assert "198.18.0.77" in rejected.detail
    assert "198.18.0.10" in rejected.detail
    assert bench.node.members()["b"].address == "198.18.0.10"


def test_a_name_that_left_may_come_back_elsewhere_and_a_dead_one_after_the_reclaim_time() -> None:
    bench = Bench(SwimConfig(dead_node_reclaim_time_s=5.0), members=["b", "c"])
    bench.hear(Dead(1, "b", "b"), Dead(1, "c", "me"))
    assert of(MemberJoined, bench.hear(alive("b", 77, incarnation=1)))
    assert of(PeerRejected, bench.hear(alive("c", 78, incarnation=2)))
    bench.wait(5.5)
    (joined,) = of(MemberJoined, bench.hear(alive("c", 78, incarnation=1)))
    assert joined.view.address == "198.18.0.78"


@pytest.mark.parametrize(("ours", "accepted"), [(True, True), (False, False)])
def test_a_dead_member_of_ours_is_taken_elsewhere_after_five_seconds_and_not_before(
    ours: bool, accepted: bool
) -> None:
    bench = Bench(SwimConfig(fast_lane=FastLaneConfig()), meta=OURS)
    meta = OURS if ours else b""
    bench.hear(alive("b", 10, meta=meta), alive("c", 11, meta=meta))
    moved = alive("b", 77, incarnation=9, meta=meta)
    assert [refusal.reason for refusal in of(PeerRejected, bench.hear(moved))] == [RejectReason.CONFLICT]
    bench.hear(Dead(1, "b", "c"))
    bench.wait_answered(4.9)
    assert not of(MemberJoined, bench.hear(moved))
    assert bench.node.members()["b"].address == "198.18.0.10"
    bench.wait_answered(0.2)
    assert bool(of(MemberJoined, bench.hear(moved))) is accepted
    assert bench.node.members()["b"].address == ("198.18.0.77" if accepted else "198.18.0.10")


@pytest.mark.parametrize("vsn", [b"", bytes(3), bytes(6), bytes((1, 5, 2)), bytes((3, 2, 2, 0, 0, 0))])
def test_versions_that_would_poison_every_exchange_are_refused(vsn: bytes) -> None:
    bench = Bench()
    (rejected,) = of(PeerRejected, bench.hear(alive("b", 10, vsn=vsn)))
    assert rejected.reason is RejectReason.INCOMPATIBLE
    assert set(bench.node.members()) == {"me"}


@pytest.mark.parametrize(
    "message",
    [alive("b", 10, incarnation=0), alive("", 10), Alive(1, "b", b"", PORT, b"", bytes((1, 5, 2, 0, 0, 0)))],
)
def test_an_alive_without_substance_is_refused(message: Alive) -> None:
    bench = Bench()
    (rejected,) = of(PeerRejected, bench.hear(message))
    assert rejected.reason is RejectReason.MALFORMED
    assert set(bench.node.members()) == {"me"}


def test_port_zero_means_our_own_port() -> None:
    bench = Bench()
    (joined,) = of(MemberJoined, bench.hear(Alive(1, "b", address(10), 0, b"", bytes((1, 5, 2, 0, 0, 0)))))
    assert joined.view.port == PORT


def test_the_table_is_bounded() -> None:
    bench = Bench(SwimConfig(max_members=3), members=["b", "c"])
    (rejected,) = of(PeerRejected, bench.hear(alive("d", 20)))
    assert rejected.reason is RejectReason.TABLE_FULL
    assert len(bench.node.members()) == 3


def test_an_unconfirmed_suspicion_takes_six_times_as_long_as_a_confirmed_one() -> None:
    names = ["b", "c", "d", "e"]
    slow, quick = Bench(members=names), Bench(members=names)
    for bench in (slow, quick):
        bench.hear(Suspect(1, "b", "c"))
    quick.hear(Suspect(1, "b", "d"))
    quick.hear(Suspect(1, "b", "d"))
    quick.hear(Suspect(1, "b", "e"))
    for bench, expected in ((slow, 24.0), (quick, 4.0)):
        deaths = [death for death in of(MemberDead, bench.wait_answered(30.0)) if death.view.name == "b"]
        assert [(round(death.view.since - START, 6), death.by) for death in deaths] == [(expected, "me")]


def test_a_refutation_ends_the_suspicion_for_good() -> None:
    bench = Bench(members=["b", "c"])
    bench.hear(Suspect(1, "b", "c"))
    (back,) = of(MemberAlive, bench.hear(alive("b", 10, incarnation=2)))
    assert back.view.incarnation == 2
    assert not of(MemberDead, bench.wait_answered(30.0))


def test_leave_tells_the_others_and_ends_when_it_was_spread() -> None:
    bench = Bench(members=["b"])
    bench.node.leave(now=bench.now)
    outputs = bench.wait(5.0)
    farewells = [m for _, m in bench.messages(outputs) if m == Dead(1, "me", "me")]
    assert len(farewells) == 4
    assert of(LeaveDone, outputs) == [LeaveDone()]
    assert bench.node.members()["me"].state is MemberState.LEFT
    # Nothing brings it back, and accusations are not answered.
    assert not of(Refuted, bench.hear(alive("me", 1, incarnation=9), Suspect(9, "me", "b")))


def test_only_come_back_ends_a_goodbye() -> None:
    bench = Bench(members=["b"])
    bench.node.come_back(now=bench.now)
    assert bench.node.members()["me"].incarnation == 1, "who never left has nothing to say"
    bench.node.leave(now=bench.now)
    assert of(LeaveDone, bench.wait_answered(5.0))
    bench.node.join([("198.18.0.10", PORT)], now=bench.now)
    bench.wait_answered(5.0)
    assert bench.node.members()["me"].state is MemberState.LEFT
    bench.node.come_back(now=bench.now)
    assert {m.incarnation for m in bench.said("me") if isinstance(m, Alive)} == {2}
    assert bench.node.members()["me"].state is MemberState.ALIVE
    # The goodbye of before is old news, and an accusation of now is answered.
    assert not of(Refuted, bench.hear(Dead(1, "me", "me")))
    assert of(Refuted, bench.hear(Suspect(2, "me", "b"))) == [Refuted(3, "b")]
    bench.node.leave(now=bench.now)
    assert of(LeaveDone, bench.wait_answered(5.0)) == [LeaveDone()]
    assert bench.node.members()["me"].state is MemberState.LEFT


def test_a_goodbye_that_was_called_off_is_not_told_as_spread() -> None:
    bench = Bench(members=["b"])
    bench.node.leave(now=bench.now)
    bench.node.come_back(now=bench.now)
    outputs = bench.wait(5.0)
    assert not of(LeaveDone, outputs)
    assert Dead(1, "me", "me") not in [message for _, message in bench.messages(outputs)]


def test_meta_that_was_wanted_in_absence_is_said_at_the_return() -> None:
    bench = Bench(members=["b"], meta=b"0")
    bench.node.set_meta(b"1", now=bench.now)
    bench.node.set_meta(b"2", now=bench.now)
    bench.node.leave(now=bench.now)
    bench.wait(10.0)
    assert bench.node.members()["me"].meta == b"1"
    bench.node.come_back(now=bench.now)
    assert {(m.incarnation, m.meta) for m in bench.said("me") if isinstance(m, Alive)} == {(3, b"2")}


def test_leave_alone_is_over_at_once() -> None:
    bench = Bench()
    bench.node.leave(now=bench.now)
    assert of(LeaveDone, bench.node.take_outputs()) == [LeaveDone()]


def test_leave_with_only_the_dead_to_tell_is_over_once() -> None:
    bench = Bench(members=["b"])
    bench.hear(Dead(1, "b", "c"))
    bench.node.leave(now=bench.now)
    outputs = [*bench.node.take_outputs(), *bench.wait(20.0)]
    assert Dead(1, "me", "me") in [message for _, message in bench.messages(outputs)], (
        "the dead are told as well"
    )
    assert of(LeaveDone, outputs) == [LeaveDone()]


def test_dead_members_are_forgotten_and_kept_for_a_later_join() -> None:
    bench = Bench(members=["b", "c"])
    bench.hear(Dead(1, "b", "me"), Dead(1, "c", "c"))
    bench.wait(25.0)
    assert set(bench.node.members()) == {"me", "b", "c"}
    bench.wait(10.0)
    assert set(bench.node.members()) == {"me"}
    assert {name: view.address for name, view in bench.node.former().items()} == {"b": "198.18.0.10"}
    ((_, question),) = bench.messages(bench.hear(alive("b", 10)))
    assert isinstance(question, Ping)
    bench.hear(Ack(question.seq))
    assert not bench.node.former()


def test_meta_is_announced_with_a_higher_number_and_not_too_often() -> None:
    bench = Bench(members=["b"], meta=b"0")
    bench.node.set_meta(b"1", now=bench.now)
    assert bench.node.members()["me"].meta == b"1"
    bench.node.set_meta(b"2", now=bench.now)
    bench.node.set_meta(b"3", now=bench.now)
    assert bench.node.members()["me"].meta == b"1"
    bench.wait(5.1)
    me = bench.node.members()["me"]
    assert (me.meta, me.incarnation) == (b"3", 3)
    with pytest.raises(UsageError, match="512"):
        bench.node.set_meta(bytes(513), now=bench.now)


def test_rejections_are_counted_all_and_told_once_a_second() -> None:
    bench = Bench()
    told = [output for _ in range(50) for output in bench.hear_bytes(b"\x63junk")]
    assert told == [PeerRejected(SOURCE, RejectReason.UNSUPPORTED, "message type 99")]
    assert bench.node.counters.rejected[RejectReason.UNSUPPORTED] == 50
    bench.wait(1.5)
    (again,) = of(PeerRejected, bench.hear_bytes(b"\x63junk"))
    assert again.suppressed == 49
