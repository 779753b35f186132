"""The fast lane's metrics count what its core decided: each verdict, veto and doubt is an output of the core as well."""

from dataclasses import replace

from gossip.messages import Suspect
from gossip.outputs import MemberDead, MemberDoubtful, MemberJoined
from gossip.watch import WireAnswer
from tests.unit.gossip.helpers import Bench, alive, of
from tests.unit.gossip.test_fast_lane import META, at, bench, live
from tests.unit.speaker.test_state import samples, state


def shown(made: Bench) -> dict[str, float]:
    """What /metrics says of the lane of this node."""
    found = samples(replace(state(), ring_counters=made.node.counters))
    return {
        word: found[f"vipring_ring_{word}_total", ()]
        for word in ("doubts", "vetoes", "verdicts", "false_deaths", "deaths")
    }


def test_each_decision_of_the_lane_is_counted_once() -> None:
    made = bench("a", "b", "c")
    live(made, 1.0, set())
    assert shown(made) == dict.fromkeys(("doubts", "vetoes", "verdicts", "false_deaths", "deaths"), 0)

    # A silence in which the wire speaks for the member at each miss: one doubt, a veto for each answer, no verdict.
    outputs = live(made, 0.45, {"a"}, wire=WireAnswer.ANSWERED)
    vetoes = len(of(MemberDoubtful, outputs))
    assert vetoes > 1
    assert {doubtful.view.name for doubtful in of(MemberDoubtful, outputs)} == {"a"}
    outputs += live(made, 0.5, set())
    assert not of(MemberDead, outputs)
    assert shown(made) == {"doubts": 1, "vetoes": vetoes, "verdicts": 0, "false_deaths": 0, "deaths": 0}

    # Another in which nobody does, and a second watcher that heard nothing either: one more doubt, one verdict.
    outputs = live(made, 1.0, {"a"}, wire=WireAnswer.SILENT)
    assert not of(MemberDead, outputs)
    outputs += made.hear(Suspect(1, "a", "b"), source=at(11))
    assert [event.by for event in of(MemberDead, outputs)] == ["me"]
    assert shown(made) == {"doubts": 2, "vetoes": vetoes, "verdicts": 1, "false_deaths": 0, "deaths": 1}

    # It comes back as the same process: the verdict was wrong.
    assert of(MemberJoined, made.hear(alive("a", 10, incarnation=2, meta=META)))
    assert shown(made) == {"doubts": 2, "vetoes": vetoes, "verdicts": 1, "false_deaths": 1, "deaths": 1}
