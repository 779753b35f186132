"""The simulator itself: its network, hosts, faults and checks. VIPRING_SEED repeats a run."""

import itertools
import random
import subprocess
import sys

import msgspec
import pytest

from bench.detection import EXPECTED, Figure, measure
from gossip.config import SwimConfig
from gossip.errors import ConfigError
from gossip.fastconfig import FastLaneConfig
from gossip.member import MemberState
from gossip.outputs import MemberDead, MemberJoined, MemberSuspect
from gossip.simulator import Bursts, Latency, Network, Simulation
from gossip.simulator.campaign import Spread
from gossip.simulator.checks import Bounds, Checks
from gossip.simulator.faults import (
    Crash,
    Disturb,
    Drift,
    Leave,
    Lose,
    Partition,
    Plan,
    Restart,
    Stall,
    Starve,
    draw,
    named,
)
from gossip.simulator.plans import PLANS, plan_from
from gossip.simulator.shrink import shrink
from gossip.simulator.trial import Setting, run
from tests.simulation.gossip.test_ring import told

NAMES = [f"n{number}" for number in range(1, 11)]


def formed(seed: int, members: int = 10, **more: object) -> Simulation:
    simulation = Simulation(seed, **more)  # type: ignore[arg-type]
    simulation.form(NAMES[:members])
    simulation.run(3.0)
    return simulation


def test_a_formed_ring_is_whole_and_silent(seed: int) -> None:
    simulation = formed(seed)
    assert simulation.agreed(NAMES)
    assert simulation.converged()
    simulation.run(60.0)
    assert simulation.agreed(NAMES)
    assert not told(simulation, MemberSuspect)
    assert not told(simulation, MemberJoined)
    # One ping and one ack a second each, and what the first gossip carried.
    assert 1.9 < simulation.datagrams / simulation.member_seconds < 2.8


def test_views_told_and_views_held_are_the_same(seed: int) -> None:
    simulation = formed(seed, rejoin_s=5.0)
    simulation.crash("n3")
    simulation.partition(NAMES[:4])
    simulation.run(20.0)
    simulation.launch("n3", join=["n9"])
    simulation.heal()
    simulation.run(10.0)
    for name in simulation.running():
        held = {
            other
            for other, view in simulation.node(name).members().items()
            if view.state in (MemberState.ALIVE, MemberState.SUSPECT)
        }
        assert held == set(NAMES) - simulation.host(name).absent


@pytest.mark.parametrize(
    ("latency", "least", "mean", "most"),
    [
        (Latency(least_s=0.001, spread_s=0.0), 0.001, 0.001, 0.001),
        (Latency(least_s=0.001, spread_s=0.002), 0.001, 0.002, 0.003),
        (Latency(least_s=0.001, spread_s=0.002, shape="exponential"), 0.001, 0.003, 0.1),
        (Latency(least_s=0.001, spread_s=0.002, shape="lognormal"), 0.001, 0.0043, 1.0),
    ],
)
def test_latencies_have_their_shape(
    seed: int, latency: Latency, least: float, mean: float, most: float
) -> None:
    draw_one = latency.sampler(random.Random(seed))
    values = [draw_one() for _ in range(20_000)]
    assert least <= min(values)
    assert max(values) <= most
    assert sum(values) / len(values) == pytest.approx(mean, rel=0.1)


def lost_share(seed: int, network: Network, **link: float) -> float:
    """Share of the datagrams to and from n1 that vanish in 3000 s, by the counters of all members."""
    simulation = formed(seed, 3, network=network)
    if link:
        simulation.set_loss("n1", **link)
    simulation.run(3000.0)
    nodes = [simulation.node(name) for name in simulation.running()]
    sent = sum(node.counters.packets_out for node in nodes)
    return 1.0 - sum(node.counters.packets_in for node in nodes) / sent


def test_loss_is_as_large_as_asked_for(seed: int) -> None:
    assert lost_share(seed, Network()) < 0.01
    assert lost_share(seed, Network(loss=0.2)) == pytest.approx(0.2, abs=0.05)
    assert lost_share(seed, Network(duplicate=0.2)) == pytest.approx(-0.2, abs=0.05)
    # A bad spell of either end of the way loses the packet: 1 - 0.9 * 0.9.
    bursts = Network(bursts=Bursts(every_s=9.0, last_s=1.0))
    assert lost_share(seed, bursts) == pytest.approx(0.19, abs=0.09)
    assert lost_share(seed, Network(), loss_in=0.5) > 0.05
    assert lost_share(seed, Network(), loss_out=0.5) > 0.05


def test_packets_overtake_each_other_only_when_asked_to(seed: int) -> None:
    def overtaken(network: Network) -> int:
        simulation = formed(seed, 2, network=network)
        seen: list[int] = []
        receive = simulation.node("n2").receive_datagram
        order: dict[bytes, int] = {}
        send = simulation._send

        def sending(host: object, output: object) -> None:
            order.setdefault(output.data, len(order))  # type: ignore[attr-defined]
            send(host, output)  # type: ignore[arg-type]

        def receiving(data: bytes, **more: object) -> None:
            seen.append(order.get(data, -1))
            receive(data, **more)  # type: ignore[arg-type]

        simulation._send = sending  # type: ignore[method-assign]
        simulation.node("n2").receive_datagram = receiving  # type: ignore[method-assign]
        for number in range(50):
            simulation.at(number * 0.002, lambda: simulation.join("n1", []))
            simulation.set_meta("n1", b"")
        simulation.run(120.0)
        assert seen
        return sum(before > after for before, after in itertools.pairwise(seen))

    assert overtaken(Network(latency=Latency(spread_s=0.0))) == 0
    assert overtaken(Network(latency=Latency(spread_s=0.0), reorder=0.5, reorder_s=1.5)) > 0


def test_a_stalled_process_answers_late_but_loses_nothing(seed: int) -> None:
    simulation = formed(seed, 3)
    before = simulation.node("n2").counters.packets_in
    simulation.stall("n2", 4.5)
    simulation.run(4.4)
    assert simulation.node("n2").counters.packets_in == before
    assert simulation.node("n1").counters.probes_failed + simulation.node("n3").counters.probes_failed > 0
    simulation.run(0.2)
    assert simulation.node("n2").counters.packets_in > before
    simulation.run(30.0)
    assert simulation.agreed(NAMES[:3])
    assert not told(simulation, MemberDead)


def test_a_full_socket_loses_what_comes_on_top(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gossip.simulator.simulation.SOCKET_QUEUE", 5)
    simulation = formed(seed, 10)
    simulation.stall("n2", 10.0)
    simulation.run(9.9)
    assert simulation.dropped > 0
    assert len(simulation.host("n2").inbox) >= 5
    simulation.run(0.2)
    assert not simulation.host("n2").inbox


def test_a_starved_process_works_off_its_socket_as_fast_as_it_can(seed: int) -> None:
    simulation = formed(seed, 3, cpu_s=0.001)
    simulation.host("n1").slowness = 1000.0
    before = simulation.node("n1").counters
    handled = before.packets_in + before.packets_out
    simulation.run(20.0)
    after = simulation.node("n1").counters
    # A second each: what it received and sent.
    assert 5 <= after.packets_in + after.packets_out - handled <= 21


def test_a_clock_that_runs_fast_makes_its_member_probe_more(seed: int) -> None:
    simulation = formed(seed, 3)
    simulation.set_clock_rate("n1", 2.0)
    before = {name: simulation.node(name).counters.probes for name in NAMES[:3]}
    simulation.run(100.0)
    probes = {name: simulation.node(name).counters.probes - before[name] for name in NAMES[:3]}
    # Some ticks find nobody to probe: a round through the table has ended.
    assert probes["n1"] / probes["n2"] == pytest.approx(2.0, abs=0.3)
    simulation.set_clock_rate("n1", 1.0)
    before["n1"] = simulation.node("n1").counters.probes
    simulation.run(100.0)
    assert (simulation.node("n1").counters.probes - before["n1"]) / probes["n2"] == pytest.approx(
        1.0, abs=0.2
    )


def test_a_deaf_member_hears_nothing_and_sends_on(seed: int) -> None:
    simulation = formed(seed, 3)
    simulation.set_loss("n1", loss_in=1.0)
    before = simulation.node("n1").counters
    received, sent = before.packets_in, before.packets_out
    simulation.run(10.0)
    after = simulation.node("n1").counters
    assert after.packets_in == received
    assert after.packets_out > sent
    assert not simulation.reach("n1", "n2")
    assert simulation.reach("n2", "n3")


def test_a_schedule_has_names_and_leaves_somebody(seed: int) -> None:
    rng = random.Random(seed)
    plan = Plan(
        faults=(
            Crash(at_s=5.0, members="50%"),
            Crash(at_s=9.0, members="100%"),
            Leave(at_s=12.0),
            Partition(at_s=1.0),
            Stall(at_s=2.0, members=("n7",)),
        )
    )
    schedule = draw(plan, NAMES, rng)
    assert [fault.at_s for fault in schedule] == [1.0, 2.0, 5.0, 9.0]
    assert [len(named(fault)) for fault in schedule] == [5, 1, 5, 4]
    assert named(schedule[1]) == ("n7",)
    assert not set(named(schedule[2])) & set(named(schedule[3]))
    assert draw(Plan(faults=schedule), NAMES, rng) == schedule, "a schedule is its own plan"


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("name", [name for name in PLANS if name != "long-partition"])
def test_no_plan_breaks_a_rule(seed: int, name: str, fast: bool) -> None:
    config = SwimConfig(fast_lane=FastLaneConfig() if fast else None)
    outcome = run(Setting(members=5, plan=PLANS[name], config=config, at_least_s=10.0), seed)
    assert outcome.violations == []
    crashes = sum(len(named(fault)) for fault in outcome.schedule if isinstance(fault, Crash))
    assert len(outcome.first_dead_s) == len(outcome.all_know_s) == crashes
    assert outcome.datagrams > 0


def test_the_same_seed_gives_the_same_outcome(seed: int) -> None:
    setting = Setting(members=5, plan=PLANS["storm"])
    assert run(setting, seed) == run(setting, seed)
    assert run(setting, seed) != run(setting, seed + 1)


def test_the_same_seed_gives_the_same_outcome_in_every_process(seed: int) -> None:
    script = (
        "from gossip.config import SwimConfig; from gossip.fastconfig import FastLaneConfig;"
        "from gossip.keyring import Keyring; from gossip.simulator import Network, Simulation;"
        f"s = Simulation({seed}, config=SwimConfig(fast_lane=FastLaneConfig()), network=Network(),"
        "keyring=Keyring([bytes(32)]));"
        "s.form([f'n{number}' for number in range(8)]); s.run(10.0);"
        "print(s.datagrams, [s.node(f'n{number}').counters.rtt.sum_s for number in range(8)])"
    )
    # Strings hash differently in each: what follows from the order of a set of names would show.
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script], env={"PYTHONHASHSEED": salt}, stdout=subprocess.PIPE, text=True
        )
        for salt in ("0", "1", "2")
    ]
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert len(set(said)) == 1
    assert int(said[0].split()[0]) > 1000


def test_a_fall_of_an_incarnation_is_noticed_and_shortened(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that takes any alive for news breaks a rule as soon as a member restarts; nothing else is to blame."""
    from gossip.state import Membership

    true_alive = Membership.alive

    def gullible(self: Membership, message: object, source: object, now: float, **more: object) -> None:
        member = self.members.get(message.node)  # type: ignore[attr-defined]
        if member is not None and member is not self.me and message.meta != member.meta:  # type: ignore[attr-defined]
            member.incarnation = 0
        true_alive(self, message, source, now, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Membership, "alive", gullible)
    plan = Plan(
        faults=(
            Stall(at_s=0.5, members="50%"),
            Lose(at_s=1.0, share=0.2, for_s=2.0),
            Restart(at_s=2.0, members=("n2",), down_s=0.5),
            Restart(at_s=12.0, members=("n2", "n4"), down_s=0.5),
            Drift(at_s=13.0),
        )
    )
    setting = Setting(members=5, plan=plan, config=SwimConfig(fast_lane=FastLaneConfig()))
    outcome = run(setting, seed)
    assert "incarnation" in {violation.rule for violation in outcome.violations}
    shortest = shrink(setting, outcome)
    assert {violation.rule for violation in shortest.violations} >= {outcome.violations[0].rule}
    assert len(shortest.schedule) < len(outcome.schedule)
    assert all(isinstance(fault, Restart) for fault in shortest.schedule)


def test_views_that_stay_wrong_are_noticed(seed: int) -> None:
    simulation = formed(seed, 4)
    checks = Checks(simulation, Bounds.of(simulation.config, 4, 0.0), simulation.now)
    simulation.set_loss("n1", loss_in=1.0, loss_out=1.0)
    simulation.run(60.0)
    assert not simulation.converged()
    checks.finish(settled=simulation.converged())
    assert [violation.rule for violation in checks.violations] == ["convergence"]
    assert "n1 lacks" in checks.violations[0].detail
    assert checks.false_deaths == 0, "nobody could reach it"


def test_a_death_of_a_member_that_answers_is_false(seed: int) -> None:
    simulation = formed(seed, 4)
    simulation.run(60.0)
    checks = Checks(simulation, Bounds.of(simulation.config, 4, 0.0), simulation.now + 20.0)
    simulation.stall("n1", 20.0)
    simulation.run(20.0)
    assert checks.false_deaths == 1
    simulation.run(60.0)
    checks.finish(settled=simulation.converged())
    assert checks.violations == []


def test_a_large_packet_is_noticed(seed: int) -> None:
    simulation = formed(seed, 2)
    checks = Checks(simulation, Bounds.of(simulation.config, 2, 0.0), simulation.now)
    simulation.largest_datagram = 1406
    checks.finish(settled=True)
    assert [violation.rule for violation in checks.violations] == ["packet size"]


def test_a_mixed_ring_finds_the_dead_of_both_kinds(seed: int) -> None:
    config = SwimConfig(fast_lane=FastLaneConfig())
    for victim, soonest, latest in (("n2", 0.2, 1.5), ("n8", 3.0, 25.0)):
        plan = Plan(faults=(Crash(members=(victim,)),))
        outcome = run(Setting(members=8, plain=3, plan=plan, config=config), seed)
        assert outcome.violations == []
        (first,) = outcome.first_dead_s
        assert soonest < first < latest, victim
        assert outcome.false_deaths == 0


@pytest.mark.parametrize(("members", "crashes"), [(2, 80), (20, 60)])
def test_detection_follows_the_model_of_memberlist(seed: int, members: int, crashes: int) -> None:
    first, every = measure(members, crashes, seed)
    for measured, expected in ((first, EXPECTED[members].first_dead), (every, EXPECTED[members].all_know)):
        assert measured.n == crashes
        assert measured.mean is not None
        # The spread of one crash, from the expected tail (the wait is about exponential), allows four and a half
        # standard deviations of the mean on top of the tolerance.
        slack = 4.5 * deviation(expected) / crashes**0.5
        assert abs(measured.mean - expected.mean) < 0.05 * expected.mean + slack


def deviation(expected: Figure) -> float:
    """About the standard deviation of a wait with an exponential tail."""
    return (expected.p99 - expected.mean) / 3.6


@pytest.mark.parametrize(
    ("tree", "complaint"),
    [
        ({"faults": [{"kind": "crsh"}]}, "faults[0].kind: Invalid value 'crsh'"),
        ({"faults": [{"kind": "stall", "for": 1}]}, "faults[0]: Object contains unknown field `for`"),
        ({"network": {"loss": 2}}, "network.loss: Expected `float` <= 1.0"),
        (
            {"faults": [{"kind": "crash", "members": "150%"}]},
            "faults[0].members: Expected `str` matching regex",
        ),
        ({"faults": [{"kind": "crash", "at_s": "soon"}]}, "faults[0].at_s: Expected `float`, got `str`"),
        ([], "Expected `object`, got `array`"),
    ],
)
def test_a_wrong_plan_gets_one_line(tree: object, complaint: str) -> None:
    with pytest.raises(ConfigError) as raised:
        plan_from(tree)
    assert str(raised.value).startswith(complaint)
    assert "\n" not in str(raised.value)


def test_plans_survive_a_file() -> None:
    for plan in PLANS.values():
        assert plan_from(msgspec.json.decode(msgspec.json.encode(plan))) == plan
    kinds = {type(fault) for plan in PLANS.values() for fault in plan.faults}
    assert kinds == {Crash, Disturb, Drift, Leave, Lose, Partition, Restart, Stall, Starve}


def test_percentiles_are_by_nearest_rank() -> None:
    spread = Spread.of([float(value) for value in range(1, 101)])
    assert (spread.n, spread.p50, spread.p90, spread.p99, spread.max) == (100, 50.0, 90.0, 99.0, 100.0)
    assert Spread.of([]) == Spread(0, None, None, None, None, None)
