"""In every phase of a claim /status and `vipring explain` say the same: from the responder's words to the printed line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest
from typer.testing import CliRunner

from announcer.layer2.claims import ANSWERING, Reason, State
from announcer.layer2.messages import Announced, ClaimChanged
from speaker.main import Speaker
from tests.unit.speaker.builders import VIP, node
from tests.unit.speaker.test_said import alone
from tests.unit.vipring.fakeapi import FakePod, fake_api
from vipring.cli import app

MAC = bytes.fromhex("0200000000aa")

runner = CliRunner(env={"COLUMNS": "200"})


class Phase(NamedTuple):
    """A claim as the responder tells of it, and what is printed of it."""

    state: State
    reason: Reason
    words: str
    holder: bytes = b""
    mac: bytes = b""


ASKING = "not announcing: asking the segment who answers for it"
PHASES = (
    Phase(State.ASKING, Reason.WANTED, f"{ASKING}, since"),
    Phase(
        State.ASKING, Reason.FENCED, f"{ASKING}: this node stood still, and another may have it by now, since"
    ),
    Phase(
        State.ASKING,
        Reason.HOLDER_SILENT,
        f"{ASKING}: the member that held it does not answer for it any more, since",
    ),
    Phase(
        State.ASKING,
        Reason.LINK_NOT_PROVEN,
        f"{ASKING}: nobody at all answers on its segment; is the link of this node cut?, since",
    ),
    Phase(
        State.ASKING,
        Reason.LINK_DOWN,
        f"{ASKING}: the link to the segment of this address is down on this node, since",
    ),
    Phase(
        State.HELD,
        Reason.HOLDER_ANSWERS,
        "not announcing: held: n2 answers for it and has not let go (holderAnswers), since",
        b"n2",
    ),
    Phase(
        State.HELD,
        Reason.OTHER_ANNOUNCES,
        "not announcing: held: n2 announces it (otherAnnounces), since",
        b"n2",
    ),
    Phase(
        State.HELD,
        Reason.OTHER_ASKS,
        "not announcing: held: n2 asks for it as well and ranks first (otherAsks), since",
        b"n2",
    ),
    Phase(
        State.CONFLICTED,
        Reason.STRANGER_ANSWERS,
        "not announcing: conflicted: something that is no speaker answers for it, "
        "answered by MAC 02:00:00:00:00:aa, since",
        mac=MAC,
    ),
    *(
        Phase(State.ANNOUNCING, reason, "announcing on eth0, since")
        for reason in (Reason.WANTED, Reason.SILENCE, Reason.ALONE, Reason.TOLD_TO)
    ),
    Phase(
        State.HANDING_OVER,
        Reason.NOT_OURS,
        "n1: handing over to n2, answering until it announces, since",
        b"n2",
    ),
    Phase(
        State.HANDING_OVER, Reason.NOT_OURS, "n1: handing over to whoever asks, answering until it announces"
    ),
    *(
        Phase(State.IDLE, reason, "not announcing: not yet")
        for reason in (
            Reason.NOT_OURS,
            Reason.TAKEN_OVER,
            Reason.NOT_TAKEN,
            Reason.FENCED,
            Reason.LINK_DOWN,
            Reason.LINK_NOT_PROVEN,
        )
    ),
)


def test_every_state_and_every_reason_is_looked_at() -> None:
    assert {phase.state for phase in PHASES} == set(State)
    assert {phase.reason for phase in PHASES} == set(Reason)


def in_phase(phase: Phase) -> Speaker:
    """The speaker of n1, whose responder has told of the phase, and of what went before."""
    made = alone()
    made.state.responder.interfaces = ("eth0",)
    if phase.state is State.HANDING_OVER:
        made.state.decider.set_node(node("n2"))
        made.state.decider.set_members(["n2"], "memberUpdated")
        made._perform(made.state.decider.take(2.0))
    if phase.state in ANSWERING:
        made._responder_event(ClaimChanged(VIP, State.ANNOUNCING, Reason.SILENCE, b""))
        made._responder_event(Announced(VIP, "eth0", 2.0))
    else:
        made._responder_event(ClaimChanged(VIP, State.ASKING, Reason.WANTED, b""))
    made._responder_event(ClaimChanged(VIP, phase.state, phase.reason, phase.holder, phase.mac))
    return made


def word(value: State | Reason) -> str:
    head, *rest = value.name.lower().split("_")
    return head + "".join(part.capitalize() for part in rest)


@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: f"{phase.state.name}-{phase.reason.name}")
def test_status_and_explain_say_the_same(phase: Phase, tmp_path: Path) -> None:
    body = anyio.run(in_phase(phase).status, {"service": "default/web"})
    (vip,) = json.loads(body)["vips"]
    assert vip["announcing"] is (phase.state in ANSWERING)
    claim: dict[str, Any] | None = vip["claim"]
    if phase.state is State.IDLE:
        assert claim is None
    else:
        assert claim is not None
        assert claim.pop("since").endswith("Z")
        assert claim == {
            "state": word(phase.state),
            "reason": word(phase.reason),
            "holder": phase.holder.decode(),
            "mac": phase.mac.hex(":"),
        }
    with fake_api(tmp_path, FakePod("n1", body)) as api:
        said = runner.invoke(app, ["explain", "web", "--kubeconfig", api.kubeconfig, "--node", "n1"])
    assert f"  {phase.words}" in said.stdout
    announced = phase.state in ANSWERING
    assert said.exit_code == (0 if announced else 1)
