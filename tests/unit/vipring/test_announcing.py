"""`vipring explain` tells whether the owner announces, by its exit status too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner, Result

from speaker.status import SpeakerStatus, VipStatus
from tests.unit.vipring.fakeapi import FakePod, fake_api
from vipring.announcing import Announcement, announcement
from vipring.cli import app

RECORDED = json.loads(Path(__file__).with_name("status.json").read_bytes())
VIP = "198.18.1.0"

runner = CliRunner(env={"COLUMNS": "80"})


def status(node: str, *, responder: Any = None, **vip: object) -> bytes:
    """The status of a speaker with one address."""
    told: dict[str, object] = {
        "address": VIP,
        "services": ["default/nginx"],
        "owner": "n1",
        "announcing": False,
        "since": "2026-11-22T10:00:03.000Z",
        "ranking": ["n1", "n2"],
        **vip,
    }
    facts = {**RECORDED["responder"], **(responder or {})}
    return json.dumps({**RECORDED, "node": node, "vips": [told], "responder": facts}).encode()


def claim(state: str, reason: str, holder: str = "", **more: str) -> dict[str, object]:
    return {"claim": {"state": state, "reason": reason, "holder": holder, **more}}


SINCE = {"since": "2026-11-22T10:00:04.250Z"}


def explain(tmp_path: Path, *pods: FakePod, options: tuple[str, ...] = ()) -> tuple[Result, dict[str, Any]]:
    """What the command says in words, and the document."""
    with fake_api(tmp_path, *pods) as api:
        asked = ["explain", "nginx", "--kubeconfig", api.kubeconfig, *options]
        said = runner.invoke(app, asked)
        printed = runner.invoke(app, [*asked, "--json"])
    assert printed.exit_code == said.exit_code
    return said, json.loads(printed.stdout)


@pytest.mark.parametrize(
    ("vip", "reason", "words"),
    [
        (
            claim("held", "holderAnswers", "n2"),
            "held",
            "held: n2 answers for it and has not let go (holderAnswers)",
        ),
        (
            claim("asking", "linkNotProven"),
            "asking",
            "asking the segment who answers for it: nobody at all answers on its segment",
        ),
        (
            claim("held", "holderAnswers", "n2", **SINCE),
            "held",
            "held: n2 answers for it and has not let go (holderAnswers), since 2026-11-22 10:00:04.250 UTC\n",
        ),
        (
            claim("conflicted", "strangerAnswers"),
            "conflicted",
            "conflicted: something that is no speaker answers for it, the speaker's log names its MAC (foreignAnswer)",
        ),
        (
            claim("conflicted", "strangerAnswers", **SINCE, mac="02:00:00:00:00:aa"),
            "conflicted",
            "conflicted: something that is no speaker answers for it, answered by MAC 02:00:00:00:00:aa, "
            "since 2026-11-22 10:00:04.250 UTC\n",
        ),
        (claim("announcing", "silence"), "notYet", "not yet"),
        ({}, "notYet", "not yet"),
        ({"responder": {"lease": "expired"}}, "leaseExpired", "its speaker stood still"),
        ({"responder": {"interfaces": []}}, "noInterface", "it has no interface to announce on"),
    ],
)
def test_an_owner_that_does_not_announce(
    vip: dict[str, Any], reason: str, words: str, tmp_path: Path
) -> None:
    said, document = explain(tmp_path, FakePod("n1", status("n1", **vip)))
    assert said.exit_code == 1
    assert f"{VIP}  owner n1\n  not announcing: {words}" in said.stdout
    known = document["announcements"][VIP]
    assert (known["owner"], known["announcing"], known["reason"]) == ("n1", False, reason)
    assert document["vips"][0]["owner"] == "n1"


def test_an_owner_that_announces(tmp_path: Path) -> None:
    pod = FakePod("n1", status("n1", announcing=True, interfaces=["eth0"], **claim("announcing", "silence")))
    said, document = explain(tmp_path, pod)
    assert said.exit_code == 0
    assert f"{VIP}  owner n1\n  announcing on eth0\n" in said.stdout
    assert document["announcements"][VIP]["announcing"] is True
    assert set(document) == {"node", "service", "vips", "announcements"}


def test_since_when_an_owner_announces(tmp_path: Path) -> None:
    on = {"announcing": True, "interfaces": ["eth0"]}
    said, document = explain(
        tmp_path, FakePod("n1", status("n1", **on, **claim("announcing", "silence", **SINCE)))
    )
    assert f"{VIP}  owner n1\n  announcing on eth0, since 2026-11-22 10:00:04.250 UTC\n" in said.stdout
    assert document["announcements"][VIP]["claim"]["since"] == SINCE["since"]
    assert document["vips"][0]["claim"]["mac"] == ""
    leaving = claim("handingOver", "notOurs", "n2", **SINCE)
    said, _ = explain(tmp_path, FakePod("n1", status("n1", **on, **leaving)))
    assert "announcing on eth0; handing over to n2, answering until it announces, since 2026-" in said.stdout


def test_who_is_asked_says_what_it_does_for_anothers_address(tmp_path: Path) -> None:
    on = {"announcing": True, "interfaces": ["eth0"]}
    heard = FakePod("n2", status("n2", owner="n2", **claim("held", "holderAnswers", "n1", **SINCE)))
    said, _ = explain(
        tmp_path,
        FakePod("n1", status("n1", owner="n2", **on, **claim("announcing", "silence", **SINCE))),
        heard,
    )
    assert "  n1: announcing, since 2026-11-22 10:00:04.250 UTC\n" in said.stdout
    said, _ = explain(
        tmp_path, FakePod("n1", status("n1", owner="n2", **claim("announcing", "silence"))), heard
    )
    assert "n1: announcing" not in said.stdout, "its first frame is not out"


def test_the_owner_is_asked_itself(tmp_path: Path) -> None:
    held = FakePod("n2", status("n2", owner="n2", **claim("held", "holderAnswers", "n1")))
    said, document = explain(tmp_path, FakePod("n1", status("n1", owner="n2")), held)
    assert document["node"] == "n1"
    assert said.exit_code == 1
    assert "not announcing: held: n1 answers for it" in said.stdout
    ready = FakePod("n2", status("n2", owner="n2", announcing=True, interfaces=["eth1"]))
    said, document = explain(tmp_path, FakePod("n1", status("n1", owner="n2")), ready)
    assert said.exit_code == 0
    assert "announcing on eth1" in said.stdout
    said, _ = explain(tmp_path, FakePod("n1", status("n1", owner="n2")), held, options=("--node", "n1"))
    assert said.exit_code == 1


def test_an_owner_that_takes_another_for_the_owner(tmp_path: Path) -> None:
    pods = FakePod("n1", status("n1", owner="n2")), FakePod("n2", status("n2", owner="n3"))
    said, document = explain(tmp_path, *pods)
    assert said.exit_code == 1
    assert "not announcing: its own speaker takes n3 for the owner" in said.stdout
    assert document["announcements"][VIP]["reason"] == "otherOwner"


def test_what_is_not_known_is_not_called_a_failure(tmp_path: Path) -> None:
    said, document = explain(tmp_path, FakePod("n1", status("n1", owner="n2")), FakePod("n2", 503))
    assert said.exit_code == 0
    assert "whether it announces only its own speaker knows, which was not heard (--node n2)" in said.stdout
    assert "vipring: speaker speaker-n2 on n2 does not answer: 503" in said.stderr
    assert "vipring: owner n2: the speaker does not answer" in said.stderr
    assert document["announcements"][VIP] == {
        "owner": "n2",
        "announcing": None,
        "reason": "",
        "interfaces": [],
        "claim": None,
        "other": None,
    }


def test_by_url_nobody_else_is_asked(tmp_path: Path) -> None:
    with fake_api(tmp_path, FakePod("n1", status("n1", owner="n2")), FakePod("n2", "hang")) as api:
        where = f"{api.url}/api/v1/namespaces/metallb-system/pods/speaker-n1:7472/proxy/status"
        said = runner.invoke(app, ["explain", "nginx", "--url", where])
        assert api.asked == ["n1"]
    assert said.exit_code == 0
    assert "(--node n2)" in said.stdout


def test_nobody_owns_one_of_two_addresses(tmp_path: Path) -> None:
    said, document = explain(tmp_path, FakePod("n1", status("n1", owner=None)))
    assert said.exit_code == 1
    assert document["announcements"][VIP]["reason"] == "noOwner"
    assert "owner nobody" in said.stdout


def decoded(raw: bytes) -> tuple[VipStatus, SpeakerStatus]:
    document = msgspec.json.decode(raw, type=SpeakerStatus)
    return document.vips[0], document


def test_an_address_of_ipv6_is_not_announced() -> None:
    vip, own = decoded(status("n1", address="2001:2::7"))
    assert announcement(vip, own) == Announcement("n1", False, "ipv6NotAnnounced")


def test_an_owner_that_does_not_know_the_address_yet() -> None:
    vip, _ = decoded(status("n1"))
    _, own = decoded(status("n1", address="198.18.1.9"))
    assert announcement(vip, own) == Announcement("n1", False, "notYet")


def test_the_help_tells_of_the_exit_status() -> None:
    helped = " ".join(runner.invoke(app, ["explain", "--help"]).output.split())
    assert "Exit 1 when nobody does: also when the owner does not announce" in helped
    assert "held, asking or conflicted" in helped
