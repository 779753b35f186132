"""A short run of every target; `make fuzz` runs them for longer."""

import os
import random

import pytest
from typing_extensions import override

from gossip.circle import Circle
from gossip.config import SwimConfig
from gossip.fastlane import FastLane
from tests.fuzz.base import Script
from tests.fuzz.fastmember import ACCUSED, CUT_OFF, UNACCUSED, FastMember
from tests.fuzz.living import LivingNode, Stranger
from tests.fuzz.runner import fuzz
from tests.fuzz.targets import TARGETS, Messages
from tests.seed import chosen_seed
from tests.unit.gossip.helpers import Bench

SECONDS = float(os.environ.get("VIPRING_FUZZ_SECONDS", "2"))


@pytest.fixture
def rng() -> random.Random:
    return random.Random(chosen_seed())


@pytest.mark.timeout(60 + 2 * SECONDS)
@pytest.mark.parametrize("name", TARGETS)
def test_nothing_but_our_own_error_and_no_broken_invariant(name: str, rng: random.Random) -> None:
    report = fuzz(TARGETS[name](), rng, seconds=SECONDS)
    found = report.finding
    assert found is None, f"{found.failure} by {','.join(step.hex() for step in found.script)}\n{found.trace}"
    assert report.runs > 10
    assert len(report.outcomes) > 3, "the inputs reach no more than the first check"


class Fragile(Messages):
    """Breaks on one byte, wherever it stands."""

    @override
    def run(self, script: Script) -> str:
        assert b"\xdd" not in script[0], "found it"
        return super().run(script)


def test_what_breaks_is_found_and_made_small(rng: random.Random) -> None:
    report = fuzz(Fragile(), rng, seconds=20.0)
    assert report.finding is not None
    assert report.finding.script == (b"\xdd",)
    assert "found it" in report.finding.failure


def test_the_invariants_can_fail() -> None:
    crowded = Bench(SwimConfig(), members=[f"m{number}" for number in range(20)])
    with pytest.raises(AssertionError):
        LivingNode()._check(crowded, [], 1)
    answering = Stranger()
    answering.keyring = None
    with pytest.raises(AssertionError, match="it answered"):
        answering.run(LivingNode().seeds[0])


def verdicts(script: Script) -> int:
    """How many members the lane declares dead in a script, with the witness at hand."""
    target = FastMember()
    target.run(script)
    return target.witness.verdicts


def test_the_inputs_to_begin_with_lead_to_a_verdict_and_to_none_where_a_rule_forbids_it() -> None:
    assert verdicts(ACCUSED) == 1
    assert verdicts(UNACCUSED) == 0
    assert verdicts(CUT_OFF) == 0


@pytest.mark.parametrize(
    ("rule", "broken", "script", "complaint"),
    [
        ("_needed", 1, tuple(step for step in ACCUSED if step[0] != 7), "lived"),
        ("_jury", [], UNACCUSED, "nobody else accused a"),
        ("_link_proven", True, CUT_OFF, "nobody else answered"),
    ],
)
def test_a_lane_without_a_rule_is_found_out(
    rule: str, broken: object, script: Script, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FastLane, rule, lambda *_: broken)
    with pytest.raises(AssertionError, match=complaint):
        verdicts(script)


def test_a_leak_of_the_lane_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Circle, "remove", lambda *_: None)
    with pytest.raises(AssertionError, match="it watches who is not there"):
        verdicts(ACCUSED)
