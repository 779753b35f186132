"""When a cluster is at rest, and why not; what a run looks at."""

import random
from pathlib import Path
from typing import cast

import pytest
from anyio.abc import Process

from chaos import instruments, run
from chaos.scenarios import SCENARIOS
from chaos.stage import Scene
from chaos.status import Member, Ring, SpeakerStatus, Vip

VIP = "198.18.1.0"


def view(
    node: str, *, alive: tuple[str, ...] = ("n1", "n2"), owner: str | None = "n1", ready: bool = True
) -> SpeakerStatus:
    members = (*(Member(name, state="alive") for name in alive), Member("n9", state="dead"))
    return SpeakerStatus(node, ready=ready, ring=Ring(members=members), vips=(Vip(VIP, owner=owner),))


def reason(settled: dict[str, str], *views: SpeakerStatus) -> str:
    return run.unrest(settled, {one.node: one for one in views}, {VIP: "n1"}, ["n2", "n1"])


def test_at_rest() -> None:
    assert reason({VIP: "n1"}, view("n1"), view("n2")) == ""


@pytest.mark.parametrize(
    ("settled", "views", "why"),
    [
        ({VIP: "n1"}, [view("n1")], "the speaker on n2 is not ready"),
        ({VIP: "n1"}, [view("n1", ready=False), view("n2")], "the speaker on n1 is not ready"),
        ({VIP: "n1"}, [view("n1"), view("n2", alive=("n1", "n2", "n3"))], "n2 sees n1, n2, n3 alive"),
        ({}, [view("n1"), view("n2")], "198.18.1.0 has not had one owner for 2 s"),
        (
            {VIP: "n2"},
            [view("n1", owner="n2"), view("n2", owner="n2")],
            "n2 answers for 198.18.1.0, which n1 has to own",
        ),
        (
            {VIP: "n1"},
            [view("n1"), view("n2", owner="n2")],
            "n1 answers for 198.18.1.0, but n2 says that n2 owns it",
        ),
        (
            {VIP: "n1"},
            [view("n1"), view("n2", owner=None)],
            "n1 answers for 198.18.1.0, but n2 says that None owns it",
        ),
    ],
)
def test_not_at_rest(settled: dict[str, str], views: list[SpeakerStatus], why: str) -> None:
    assert reason(settled, *views) == why


def scene(owners: dict[str, str], vip: str, *victims: str) -> Scene:
    recorder = instruments.Recorder("recorder", cast("Process", None), Path("none"))
    return Scene(
        number=1,
        rng=random.Random(1),
        vip=vip,
        owners=owners,
        victims=victims,
        lasts_s=0.0,
        recorder=recorder,
    )


def test_the_observer_asks_for_all_addresses_or_for_some_of_the_victims() -> None:
    few = {f"198.18.1.{number}": f"n{number % 3}" for number in range(10)}
    assert run.watched_of(scene(few, VIP, "n0")) == tuple(sorted(few))
    many = {f"198.18.1.{number}": f"n{number % 3}" for number in range(60)}
    watched = run.watched_of(scene(many, VIP, "n0"))
    assert VIP in watched
    assert len(set(watched)) == len(watched) == 10
    assert {many[vip] for vip in watched} == {"n0"}
    assert len(run.watched_of(scene({**few, "198.18.1.77": "n7"}, "198.18.1.77", "n7"))) == 1


def test_a_scenario_gets_the_nodes_that_it_needs() -> None:
    assert run.nodes_of(SCENARIOS["power-off"], run.Options()) == 3
    assert run.nodes_of(SCENARIOS["power-off"], run.Options(nodes=5)) == 5
    assert run.nodes_of(SCENARIOS["power-off-half"], run.Options(nodes=5)) == 6
