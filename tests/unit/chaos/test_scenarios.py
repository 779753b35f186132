"""What scenarios do and look at beside the figures of every run, on a stage of cardboard."""

from __future__ import annotations

import random
import signal
from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import anyio
import pytest

from chaos import frames, phases
from chaos.instruments import Recorder
from chaos.lab.errors import LabError
from chaos.measure import Evidence
from chaos.scenarios import SCENARIOS, deaf_host, hang, ring_cut, segment
from chaos.scenarios.model import ALWAYS
from chaos.scenarios.power_off import turns
from chaos.stage import Scene, Stage
from tests.unit.chaos.test_measure import FAULT, MAC, MACS, VIP, observer, probe, tapped

OTHER, THIRD = "198.18.1.1", "198.18.1.2"


class _Lab:
    """Notes the signals; the responder cannot be stopped where it is told so."""

    def __init__(self, *, stubborn: bool) -> None:
        self.sent: list[tuple[str, signal.Signals]] = []
        self._stubborn = stubborn

    async def kill(self, _node: str, _what: str, number: signal.Signals, *, children: bool = False) -> float:
        if children and self._stubborn:
            raise LabError("the speaker has no children")
        self.sent.append(("responder" if children else "speaker", number))
        return float(len(self.sent))


def scene(owners: dict[str, str], seen: frames.FrameRecord) -> Scene:
    recorder = cast("Recorder", SimpleNamespace(record=lambda: seen))
    return Scene(
        number=1,
        rng=random.Random(1),
        vip=VIP,
        owners=owners,
        victims=("n2",),
        lasts_s=0.0,
        recorder=recorder,
    )


def stage_of(scene: Scene, lab: _Lab | None = None) -> Stage:
    return cast("Stage", SimpleNamespace(lab=lab, macs=lambda: MACS, scene=scene))


def test_a_stall_is_noted_and_ends() -> None:
    lab = _Lab(stubborn=False)
    stage = stage_of(scene({VIP: "n2"}, frames.FrameRecord()), lab)
    assert anyio.run(hang.stall, stage, "n2", ("speaker", "responder"), 0.0) == 1.0
    assert stage.scene.stalls == [1.0]
    assert lab.sent == [
        ("speaker", signal.SIGSTOP),
        ("responder", signal.SIGSTOP),
        ("speaker", signal.SIGCONT),
        ("responder", signal.SIGCONT),
    ]


@pytest.mark.parametrize("parts", [("speaker", "responder"), ("responder", "speaker")])
def test_what_was_stopped_goes_on_when_the_other_part_could_not_be_stopped(
    parts: Sequence[hang.Part],
) -> None:
    lab = _Lab(stubborn=True)
    stage = stage_of(scene({VIP: "n2"}, frames.FrameRecord()), lab)
    with pytest.raises(LabError, match="no children"):
        anyio.run(hang.stall, stage, "n2", parts, 0.0)
    assert lab.sent[-1] == ("speaker", signal.SIGCONT)


def cut(*events: tuple[float, str, str, str]) -> float:
    """Addresses that moved in a cut of 90 s, at n2 with one address; n1 is restarted after 45 s, n3 off after 60 s."""
    stage = stage_of(scene({VIP: "n2", OTHER: "n1", THIRD: "n3"}, tapped(*events)))
    ring_cut.look(stage, FAULT, {"n1": FAULT + 45.0, "n3": FAULT + 60.0}, FAULT + 90.0)
    return stage.scene.facts["moved_in_the_cut"]


def test_in_a_cut_no_address_may_move_but_those_of_nodes_that_end_and_not_before_they_do() -> None:
    kept = [(1.0, "announcement", "n2", VIP), (95.0, "announcement", "n1", VIP)]
    moved_on_purpose = [(46.0, "announcement", "n3", OTHER), (61.0, "announcement", "n1", THIRD)]
    assert cut(*kept, *moved_on_purpose) == 0
    assert cut((89.0, "announcement", "n1", VIP)) == 1
    assert cut((44.0, "announcement", "n3", OTHER), (59.0, "announcement", "n1", THIRD)) == 2


def test_another_may_announce_the_new_address_once_its_owner_is_hit() -> None:
    seen = tapped(
        (1.0, "announcement", "n1", VIP), (2.0, "announcement", "n1", VIP), (9.0, "announcement", "n3", VIP)
    )

    def announcers(hit: dict[str, float]) -> int:
        at = {MAC[node]: FAULT + after for node, after in hit.items()}
        return ring_cut.announcers_until_hit(seen, VIP, at, since=FAULT, until=FAULT + 20)

    assert announcers({}) == 2
    assert announcers({"n1": 8.5}) == 1
    assert announcers({"n1": 9.5}) == 2
    assert announcers({"n3": 8.5}) == 2
    assert ring_cut.announcers_until_hit(seen, OTHER, {}, since=FAULT, until=FAULT + 20) == 0


def test_an_alarm_counts_from_the_fault_on_and_by_the_mac_it_names() -> None:
    def entry(at: float, event: str, ip: str, mac: str) -> phases.Entry:
        return phases.Entry("n1", at, phases.LogLine(event=event, ip=ip, mac=mac))

    log = [
        entry(99.0, "foreignAnswer", VIP, "m"),
        entry(101.0, "foreignAnswer", OTHER, "m"),
        entry(101.0, "foreignAnswer", THIRD, "another"),
        entry(101.0, "ownerChanged", THIRD, "m"),
    ]
    assert segment.alarmed(log, {"m"}, since=100.0) == {OTHER}
    assert segment.alarmed(log, {"m"}, since=98.0) == {VIP, OTHER}


def evidence(seen: frames.FrameRecord | None) -> Evidence:
    return Evidence(
        vip=VIP,
        victim="n2",
        fault=FAULT,
        end=115.0,
        probe=probe(silent_from=0, silent_until=0),
        observer=observer((0, ("n2",))),
        log=(),
        nodes_by_mac=MACS,
        detected_by=(),
        victims=("n2",),
        frames=seen,
        owned={VIP: "n2", OTHER: "n2", THIRD: "n3"},
    )


def test_order_and_rate_are_taken_of_the_lost_addresses() -> None:
    lost = [(0.5, "announcement", "n1", VIP), (0.6, "announcement", "n1", OTHER)]
    second = [(0.7, "announcement", "n1", VIP), (0.8, "announcement", "n1", OTHER)]
    kept = [(0.55, "announcement", "n1", THIRD)] * 5
    assert turns(evidence(tapped(*lost, *kept, *second))) == {"out_of_turn": 0, "frames_in_a_second": 4}
    assert turns(evidence(tapped(lost[0], second[0], lost[1]))) == {"out_of_turn": 1, "frames_in_a_second": 3}
    assert turns(evidence(None)) == {}, "without a record the promise is not reached"


def test_what_was_kept_from_the_client_is_counted() -> None:
    rule = "ether type arp ether daddr ff:ff:ff:ff:ff:ff arp saddr ip 198.18.1.0/24 counter packets %d bytes 0 drop"
    assert deaf_host.dropped(rule % 0) == 0
    assert deaf_host.dropped(rule % 12) == 12
    assert deaf_host.dropped("Error: No such file or directory") == 0


def test_order_and_rate_are_promised_where_they_are_looked_for() -> None:
    for name, promised in (
        ("power-off-200", {"out_of_turn"}),
        ("power-off-200-paced", {"frames_in_a_second"}),
    ):
        assert SCENARIOS[name].look is turns
        assert promised <= SCENARIOS[name].promise.keys()


def test_every_scenario_promises_the_right_owners_and_no_writes_at_rest() -> None:
    for name, scenario in SCENARIOS.items():
        assert ALWAYS.keys() <= scenario.promise.keys(), name
        assert all(scenario.promise[one] == 0 for one in ("misplaced", "calm_writes", "rest_writes")), name
