"""What a speaker says of an address when its responder reports: status, log lines and Kubernetes Events."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from announcer.layer2.claims import Reason, State
from announcer.layer2.handle import Responder
from announcer.layer2.messages import Announced, ClaimChanged, ForeignAnswer
from cluster.events import EventRecorder, ObjectReference
from speaker.main import Speaker
from speaker.options import SpeakerOptions
from tests.unit.speaker.builders import CONFIG, VIP, node, piece, service
from tests.unit.speaker.test_claims import Told


class Process(Told):
    """A responder that notes what it is told."""

    pid = 12


class Recorder:
    """Notes the Kubernetes Events."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, str, str]] = []
        self.full: set[str] = set()
        """Services of which it drops what it is told."""

    def event(self, ref: ObjectReference, event_type: str, reason: str, message: str) -> bool:
        if ref.name in self.full:
            return False
        self.events.append((f"{ref.kind} {ref.namespace}/{ref.name}", event_type, reason, message))
        return True


def alone() -> Speaker:
    """The elected owner of an address, alone."""
    made = Speaker(SpeakerOptions(node_name="n1"), cast("Responder", Process()))
    decider = made.state.decider
    decider.set_node(node("n1"))
    decider.set_config(CONFIG)
    decider.set_members(["n1"], "joined")
    decider.set_service(service("web", str(VIP)))
    decider.set_slice(piece("web", "n1"))
    made._perform(decider.take(1.0))
    return made


@pytest.fixture
def speaker() -> Speaker:
    """The elected owner of an address, alone."""
    return alone()


async def shown(speaker: Speaker) -> dict[str, Any]:
    """What /status says of the address."""
    (vip,) = json.loads(await speaker.status({}))["vips"]
    return cast("dict[str, Any]", vip)


async def test_the_owner_is_not_said_to_announce_what_its_claim_does_not_allow(speaker: Speaker) -> None:
    speaker._responder_event(ClaimChanged(VIP, State.ANNOUNCING, Reason.SILENCE, b""))
    speaker._responder_event(Announced(VIP, "eth0", 1.0))
    told = await shown(speaker)
    assert (told["owner"], told["announcing"], told["claim"]["state"]) == ("n1", True, "announcing")
    speaker._responder_event(ClaimChanged(VIP, State.HELD, Reason.OTHER_ANNOUNCES, b"n2"))
    told = await shown(speaker)
    assert (told["owner"], told["announcing"], told["claim"]["holder"]) == ("n1", False, "n2")
    since = told["claim"]["since"]
    assert since.endswith("Z")
    speaker._responder_event(Announced(VIP, "eth0", 2.0))
    speaker._responder_event(ClaimChanged(VIP, State.HELD, Reason.HOLDER_ANSWERS, b"n2"))
    told = await shown(speaker)
    assert (told["announcing"], told["claim"]["since"]) == (False, since)


def test_a_stranger_is_an_event_on_every_service_of_the_address_once(speaker: Speaker) -> None:
    recorder = Recorder()
    speaker._events.recorder = cast("EventRecorder", recorder)
    speaker.state.decider.set_service(service("api", str(VIP)))
    speaker._perform(speaker.state.decider.take(2.0))
    stranger = ForeignAnswer(VIP, bytes.fromhex("0200000000aa"), b"")
    for _ in range(3):
        speaker._responder_event(stranger)
    said = f"02:00:00:00:00:aa, no speaker's MAC, says by ARP that it has {VIP}"
    assert recorder.events == [
        (f"Service default/{name}", "Warning", "foreignAnswer", said) for name in ("api", "web")
    ]
    recorder.events.clear()
    speaker._responder_event(stranger._replace(mac=bytes.fromhex("0200000000ab"), member=b"n2"))
    assert {message for *_, message in recorder.events} == {
        f"02:00:00:00:00:ab, the MAC of node n2, says by ARP that it has {VIP}"
    }
    speaker._responder_event(stranger._replace(address=VIP + 1))
    assert len(recorder.events) == 2, "no Service uses that address"
    assert speaker.state.claims.foreign_answers == 5


def test_an_event_that_was_dropped_is_tried_again_with_the_next_answer(speaker: Speaker) -> None:
    recorder = Recorder()
    speaker._events.recorder = cast("EventRecorder", recorder)
    speaker.state.decider.set_service(service("api", str(VIP)))
    speaker._perform(speaker.state.decider.take(2.0))
    stranger = ForeignAnswer(VIP, bytes.fromhex("0200000000aa"), b"")
    told: list[list[str]] = []
    for full in ({"web"}, {"web"}, set[str](), set[str]()):
        recorder.full = full
        speaker._responder_event(stranger)
        told.append([name for name, *_ in recorder.events])
        recorder.events.clear()
    assert told == [["Service default/api"], [], ["Service default/web"], []]


def test_an_announcement_is_an_event(speaker: Speaker) -> None:
    recorder = Recorder()
    speaker._events.recorder = cast("EventRecorder", recorder)
    for _ in range(2):
        speaker._responder_event(Announced(VIP, "eth0", 1.0))
    assert recorder.events == [("Service default/web", "Normal", "nodeAssigned", 'announcing from node "n1"')]
