"""The hosts and the switch of the simulated segment, and that each promise to clients can be broken."""

import random
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import pytest

from announcer.layer2 import arp
from announcer.layer2.arp import ArpFrame
from announcer.layer2.claimbook import ClaimBook
from announcer.layer2.gratuitous import Due, GratuitousSchedule
from tests.simulation.announcer.clients import BrokenPromiseError
from tests.simulation.announcer.faults import Trial
from tests.simulation.announcer.hosts import LOCKTIME_S, USUAL, Entry, NeighbourTable, State
from tests.simulation.announcer.schedule import Fault, Schedule, draw
from tests.simulation.announcer.switch import USUAL_AGEING_S, Switch

MAC = bytes.fromhex("0200000000e1")
HOST = bytes([198, 18, 0, 201])
VIP = bytes([198, 18, 1, 0])
OLD, NEW = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
SCHEDULES: Final = 40
JUDGES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "_judge_missed": "without reaching",
        "_judge_unserved": "nobody serves",
        "_take": "both took datagrams",
        "judge_end": "in the end the",
    }
)
"""Where each promise to clients is judged, and what is said when it is broken."""


def table() -> NeighbourTable:
    return NeighbourTable(MAC, HOST, USUAL, random.Random(1))


def reply(mac: bytes) -> ArpFrame:
    return ArpFrame(MAC, mac, arp.REPLY, mac, VIP, MAC, HOST)


def learnt(host: NeighbourTable, mac: bytes, now: float) -> NeighbourTable:
    host.use(VIP, now)
    host.receive(reply(mac), now)
    host.take_frames()
    return host


def entry(host: NeighbourTable) -> Entry:
    found = host.entry(VIP)
    assert found is not None
    return found


def test_a_host_asks_by_broadcast_for_what_it_does_not_know_and_takes_the_first_answer() -> None:
    host = table()
    assert host.use(VIP, 0.0) is None
    assert [frame.destination for frame in host.take_frames()] == [arp.BROADCAST]
    host.receive(reply(OLD), 0.001)
    host.receive(reply(NEW), 0.002)
    assert entry(host).state is State.REACHABLE
    assert host.use(VIP, 0.1) == OLD


def test_a_host_learns_from_a_gratuitous_request_at_once_and_from_other_frames_after_a_while() -> None:
    host = learnt(table(), OLD, 0.0)
    said = arp.gratuitous(arp.REPLY, mac=NEW, address=VIP)
    host.receive(said, LOCKTIME_S / 2)
    assert entry(host).mac == OLD
    host.receive(arp.gratuitous(arp.REQUEST, mac=NEW, address=VIP), LOCKTIME_S / 2)
    assert (entry(host).mac, entry(host).state) == (NEW, State.STALE)
    host.receive(arp.gratuitous(arp.REPLY, mac=OLD, address=VIP), 2 * LOCKTIME_S)
    assert entry(host).mac == OLD


def test_only_a_request_for_the_host_itself_makes_an_entry() -> None:
    host = table()
    host.receive(arp.gratuitous(arp.REQUEST, mac=NEW, address=VIP), 0.0)
    assert host.entry(VIP) is None
    host.receive(arp.directed(mac=NEW, address=VIP, to_mac=MAC, to_address=HOST), 0.0)
    assert (entry(host).mac, entry(host).state) == (NEW, State.STALE)
    assert [(sent.destination, sent.operation) for sent in host.take_frames()] == [(NEW, arp.REPLY)]


def test_a_host_asks_a_silent_neighbour_at_its_mac_before_it_asks_everybody() -> None:
    host = learnt(table(), OLD, 0.0)
    asked: list[bytes] = []
    states = [State.REACHABLE]
    now = 0.0
    while states[-1] is not State.INCOMPLETE and now < 2 * USUAL.heals_s:
        now += 0.1
        host.use(VIP, now)
        asked += [frame.destination for frame in host.take_frames()]
        if entry(host).state is not states[-1]:
            states.append(entry(host).state)
    assert states == [State.REACHABLE, State.DELAY, State.PROBE, State.INCOMPLETE]
    assert asked == [OLD, OLD, OLD, arp.BROADCAST]
    assert now <= USUAL.heals_s + 1.0


def test_a_switch_learns_at_the_last_port_and_forgets() -> None:
    switch = Switch(ageing_s=10.0)
    assert switch.port_of(OLD, 0.0) is None, "to all ports"
    switch.learn(arp.gratuitous(arp.REQUEST, mac=OLD, address=VIP), 1, 0.0)
    switch.learn_source(OLD, 2, 5.0)
    assert switch.port_of(OLD, 14.9) == 2
    assert switch.port_of(OLD, 15.0) is None


def test_a_suppressing_switch_answers_what_was_said_last() -> None:
    switch = Switch(ageing_s=10.0, suppressing=True)
    asked = ArpFrame(arp.BROADCAST, MAC, arp.REQUEST, MAC, HOST, bytes(6), VIP)
    assert switch.answer_for(asked) is None
    for mac in (OLD, NEW):
        said = arp.gratuitous(arp.REQUEST, mac=mac, address=VIP)
        assert switch.answer_for(said) is None, "what is gratuitous is flooded"
        switch.learn(said, 1, 0.0)
    assert switch.answer_for(asked) == NEW
    assert switch.answer_for(asked._replace(destination=OLD)) is None


@pytest.mark.parametrize("judge", JUDGES)
def test_no_promise_to_clients_holds_without_gratuitous_frames(
    judge: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = GratuitousSchedule.take

    def take_none(schedule: GratuitousSchedule, now: float) -> list[Due]:
        take(schedule, now)
        return []

    monkeypatch.setattr(GratuitousSchedule, "take", take_none)
    monkeypatch.setattr(Trial, "_look", lambda *_: None)
    for other in JUDGES.keys() - {judge}:
        monkeypatch.setattr(f"tests.simulation.announcer.clients.Clients.{other}", lambda *_: None)
    assert any(JUDGES[judge] in broken(seed) for seed in range(1, 1 + SCHEDULES))


@pytest.mark.parametrize("told", [True, False])
def test_who_settled_behind_a_cut_of_all_nodes_is_known_after_it_by_the_gateways_answer(
    told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second node is behind it first, and its address is taken over; then the first is there, too, and gives it back."""
    if not told:
        monkeypatch.setattr(ClaimBook, "gateway_back", lambda *_: None)
    schedule = Schedule(
        seed=1,
        nodes=2,
        plain=0,
        local=False,
        loss=0.0,
        suppressing=False,
        ageing_s=USUAL_AGEING_S,
        faults=(Fault("cut", 1, 0.5, 7.0), Fault("cut", 0, 2.0, 5.5)),
    )
    assert bool(broken_by(schedule)) is not told


def broken(seed: int) -> str:
    """Which promise a drawn schedule breaks, nothing if none."""
    return broken_by(draw(seed))


def broken_by(schedule: Schedule) -> str:
    """Which promise a schedule breaks, nothing if none."""
    try:
        Trial(schedule).play()
    except BrokenPromiseError as error:
        print(schedule.seed, error)
        return str(error)
    return ""
