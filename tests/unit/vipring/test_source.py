"""Where the commands get a status from, when some of those that could tell are dead, hang, or refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.unit.vipring.fakeapi import FakeApi, FakePod, fake_api, kubeconfig
from vipring.cli import app
from vipring.source import ASK_S, SourceError, Where, fetch_status

RECORDED = json.loads(Path(__file__).with_name("status.json").read_bytes())
QUICK_S = 0.3

runner = CliRunner()


def status(node: str) -> bytes:
    return json.dumps({**RECORDED, "node": node}).encode()


def fetch(api: FakeApi, node: str | None = None) -> tuple[str, list[str]]:
    """Who answered, and what was told meanwhile."""
    told: list[str] = []
    where = Where(kubeconfig=api.kubeconfig, node=node, ask_s=QUICK_S)
    return fetch_status(where, service="default/nginx", tell=told.append).node, told


def test_a_hung_and_a_dead_speaker_do_not_stop_it(tmp_path: Path) -> None:
    pods = [FakePod("n1", "hang"), FakePod("n2", "cut"), FakePod("n3", 503), FakePod("n4", status("n4"))]
    with fake_api(tmp_path, *pods) as api:
        node, told = fetch(api)
    assert node == "n4"
    assert api.asked == ["n1", "n2", "n3", "n4"]
    assert api.services == ["default/nginx"] * 4
    assert [line.partition(":")[0] for line in told] == [
        f"speaker speaker-n{number} on n{number} does not answer" for number in (1, 2, 3)
    ]
    assert told[0].endswith("nothing within 0.3 s")
    assert api.url in told[1]
    assert "503" in told[2]


def test_a_pod_has_three_seconds_at_most() -> None:
    assert Where().ask_s == ASK_S <= 3.0


def test_an_answer_that_is_no_status_is_passed_over_too(tmp_path: Path) -> None:
    with fake_api(tmp_path, FakePod("n1", b"<html>"), FakePod("n2", status("n2"))) as api:
        node, told = fetch(api)
    assert node == "n2"
    assert len(told) == 1


def test_ready_speakers_are_asked_first(tmp_path: Path) -> None:
    pods = [
        FakePod("n1", "hang", ready=False),
        FakePod("n2", "hang", leaving=True),
        FakePod("n3", "hang", phase="Pending"),
        FakePod("n4", status("n4")),
    ]
    with fake_api(tmp_path, *pods) as api:
        assert fetch(api) == ("n4", [])
    assert api.asked == ["n4"]


def test_those_that_are_not_ready_are_asked_last(tmp_path: Path) -> None:
    with fake_api(tmp_path, FakePod("n1", status("n1"), ready=False), FakePod("n2", 500)) as api:
        node, told = fetch(api)
    assert (node, api.asked, len(told)) == ("n1", ["n2", "n1"], 1)


def test_nobody_answers(tmp_path: Path) -> None:
    with fake_api(tmp_path, FakePod("n1", 503), FakePod("n2", "cut")) as api:
        with pytest.raises(SourceError, match=f"none of 2 speakers answers through the API server {api.url}"):
            fetch(api)
        with pytest.raises(
            SourceError, match=f"the speaker does not answer through the API server {api.url}"
        ):
            fetch(api, node="n2")
        with pytest.raises(SourceError, match="no running speaker on node n9"):
            fetch(api, node="n9")


def test_who_may_not_ask_is_told_once(tmp_path: Path) -> None:
    pods = FakePod("n1", 403), FakePod("n2", 403)
    with fake_api(tmp_path, *pods) as api, pytest.raises(SourceError, match="403: no route"):
        fetch(api)
    assert api.asked == ["n1"]


@pytest.mark.parametrize("command", [["members"], ["explain", "nginx"]])
def test_the_commands_name_on_standard_error_who_did_not_answer(command: list[str], tmp_path: Path) -> None:
    with fake_api(tmp_path, FakePod("n1", "cut"), FakePod("n2", status("n2"))) as api:
        result = runner.invoke(app, [*command, "--kubeconfig", api.kubeconfig, "--json"])
    assert json.loads(result.stdout)["node"] == "n2"
    assert result.stderr.startswith("vipring: speaker speaker-n1 on n1 does not answer: ")


def test_an_api_server_that_cannot_be_reached_is_named(tmp_path: Path) -> None:
    with fake_api(tmp_path) as api:
        file = tmp_path / "gone"
        file.write_text(kubeconfig(api.url))
    result = runner.invoke(app, ["members", "--kubeconfig", str(file)])
    assert result.exit_code == 1
    assert result.stderr.startswith(
        f"vipring: GET {api.url}/api/v1/namespaces/metallb-system/pods: ConnectError"
    )
    assert len(result.stderr.splitlines()) == 1
