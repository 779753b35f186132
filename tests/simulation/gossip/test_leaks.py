"""What a node holds is bounded, and growth without end is noticed. VIPRING_SEED repeats a run."""

import itertools

import pytest

from gossip.config import SwimConfig
from gossip.direct import Direct
from gossip.exchange import Exchanges
from gossip.fastconfig import FastLaneConfig
from gossip.relay import Relay
from gossip.simulator import Network, Simulation
from gossip.simulator.checks import Bounds, Checks
from gossip.simulator.plans import PLANS
from gossip.simulator.trial import Setting, run
from gossip.timers import TimerKey, TimerKind, Timers


def keep(monkeypatch: pytest.MonkeyPatch, leak: str) -> None:
    """Break one of the ways by which nodes let go of what is over."""
    if leak == "relayed pings":
        monkeypatch.setattr(Relay, "expired", lambda relay, sequence: None)
        monkeypatch.setattr(Relay, "acked", lambda relay, sequence: False)
    elif leak == "open questions":
        monkeypatch.setattr("gossip.questions._LIFETIME_S", 1e9)
    elif leak == "deadlines":
        add = Timers.set
        kinds = itertools.count()

        def also(timers: Timers, key: TimerKey, at: float) -> None:
            add(timers, key, at)
            add(timers, (TimerKind.DIRECT, -next(kinds)), at + 1e9)

        monkeypatch.setattr(Timers, "set", also)
    elif leak == "direct messages":
        monkeypatch.setattr(Direct, "due", lambda direct, now: None)
    else:
        monkeypatch.setattr(Exchanges, "_forget", lambda exchanges, number: exchanges._streams.get(number))


@pytest.mark.parametrize(
    "leak", ["relayed pings", "open questions", "deadlines", "direct messages", "streams out"]
)
def test_what_grows_without_end_is_noticed_while_it_grows(
    seed: int, leak: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(monkeypatch, leak)
    config = SwimConfig(
        fast_lane=FastLaneConfig(), max_relays=20, max_streams=20, push_pull_interval_s=1.0, tcp_timeout_s=0.5
    )
    simulation = Simulation(seed, config=config, network=Network(loss=0.3))
    simulation.form([f"n{number}" for number in range(4)])
    checks = Checks(simulation, Bounds.of(simulation.config, 4, 0.0), simulation.now)
    for _ in range(60):
        simulation.stall("n1", 1.5, whole=True)
        simulation.run(5.0)
    assert leak in {
        violation.detail.partition(" has ")[2].split(";")[0].split(" ", 1)[1]
        for violation in checks.violations
        if violation.rule == "leak"
    }


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("fast", [True, False], ids=["fast", "slow"])
def test_whatever_happens_nothing_leaks(seed: int, plan: str, fast: bool) -> None:
    config = SwimConfig(fast_lane=FastLaneConfig() if fast else None)
    setting = Setting(
        members=8, plain=2 if fast else 0, plan=PLANS[plan], config=config, rejoin_s=10.0, wire=fast
    )
    outcome = run(setting, seed)
    assert not [violation for violation in outcome.violations if violation.rule == "leak"]
