"""The commands of people, against a recorded /status served on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner
from typing_extensions import override

from vipring import __version__, render
from vipring.cli import app

RECORDED = Path(__file__).with_name("status.json").read_bytes()

runner = CliRunner(env={"COLUMNS": "200"})


@contextmanager
def serving(body: bytes, code: int = 200) -> Iterator[str]:
    """A server that gives every request the same answer; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        @override
        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def url() -> Iterator[str]:
    with serving(RECORDED) as made:
        yield made


def altered(**changes: object) -> bytes:
    return json.dumps({**json.loads(RECORDED), **changes}).encode()


def test_members_table(url: str) -> None:
    result = runner.invoke(app, ["members", "--url", url])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].split() == [
        "NAME",
        "STATE",
        "INCARNATION",
        "ADDRESS",
        "VERSION",
        "RTT",
        "WATCHERS",
        "SINCE",
        "LAST",
        "EVENT",
    ]
    assert lines[1].split()[:6] == ["n1", "*", "alive", "1", "198.18.0.11:7946", "0.1.0"]
    assert lines[3].split()[:5] == ["n3", "dead", "4", "198.18.0.13:7946", "-"]
    assert lines[2].split()[5:8] == ["0.4ms", "n3", "n1"]
    assert "memberDead" in lines[3]
    assert "asked: n1" in result.output
    assert "ring encrypted" in result.output


def test_members_json(url: str) -> None:
    result = runner.invoke(app, ["members", "--url", url.removeprefix("http://"), "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.output)
    assert document["node"] == "n1"
    assert document["encrypted"] is True
    assert [member["state"] for member in document["members"]] == ["alive", "alive", "dead"]
    assert document["members"][0]["self"] is True


def test_members_of_a_ring_that_is_off() -> None:
    with serving(altered(ring={"encrypted": False, "members": [], "enabled": False})) as url:
        result = runner.invoke(app, ["members", "--url", url])
    assert "the ring is off" in result.output


def test_explain_an_address_with_owner_and_reasons(url: str) -> None:
    result = runner.invoke(app, ["explain", "default/nginx", "--url", url])
    assert result.exit_code == 0, result.output
    assert "198.18.1.0  owner n2" in result.output
    assert "owner: ranks first" in result.output
    assert "another node ranks before it" in result.output
    assert "speakerNotAlive: no live speaker there" in result.output


def test_explain_json(url: str) -> None:
    result = runner.invoke(app, ["explain", "nginx", "--url", url, "--json"])
    document = json.loads(result.output)
    assert document["vips"][0]["ranking"] == ["n2", "n1"]
    assert document["service"]["problem"] is None


@pytest.mark.parametrize(
    ("diagnosis", "config", "words"),
    [
        ({"problem": "serviceNotFound"}, {}, "no such Service"),
        ({"problem": "notLoadBalancer", "type": "ClusterIP"}, {}, "spec.type is ClusterIP"),
        (
            {"problem": "noConfig"},
            {"loaded": False, "stale": True, "error": "could not parse config: x"},
            "(refused: could not parse config: x)",
        ),
        ({"problem": "noPools"}, {"pools": []}, "no address-pools"),
        ({"problem": "noIPAllocated"}, {}, "the controller has given none (pools: lan)"),
        (
            {"problem": "ipNotAllowed", "addresses": ["198.18.7.7"]},
            {},
            "198.18.7.7 is in no pool of the configuration (pools: lan)",
        ),
        (
            {"problem": "noReadyEndpoint", "addresses": ["198.18.1.0"], "endpoints": 2},
            {},
            "nobody announces 198.18.1.0: no ready endpoint (2 known)",
        ),
    ],
)
def test_explain_says_what_is_missing(
    diagnosis: dict[str, object], config: dict[str, object], words: str
) -> None:
    body = altered(
        vips=[],
        service={"service": "default/nginx", **diagnosis},
        config={**json.loads(RECORDED)["config"], **config},
    )
    with serving(body) as url:
        result = runner.invoke(app, ["explain", "nginx", "--url", url])
    assert result.exit_code == 1
    assert words in result.output


def test_explain_warns_of_a_stale_configuration_and_a_lost_api() -> None:
    body = altered(
        config={"loaded": True, "stale": True, "error": "pool lan overlaps", "pools": ["lan"]},
        api={"connected": False, "error": "services: refused"},
    )
    with serving(body) as url:
        result = runner.invoke(app, ["explain", "nginx", "--url", url])
    assert (
        "the last good one is in force; the current ConfigMap is refused: pool lan overlaps" in result.output
    )
    assert "not connected (services: refused)" in result.output


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (b"{}", 200, "not the status of a vipring speaker"),
        (b"", 404, "HTTP 404"),
        (b"<html>", 200, "not the status"),
    ],
)
def test_an_answer_that_is_no_status_is_one_line(body: bytes, code: int, words: str) -> None:
    with serving(body, code) as url:
        result = runner.invoke(app, ["members", "--url", url])
    assert result.exit_code == 1
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_no_answer_is_one_line() -> None:
    with serving(b"") as url:
        pass
    result = runner.invoke(app, ["members", "--url", url])
    assert result.exit_code == 1
    assert "no answer" in result.stderr


def test_members_from_logs(tmp_path: Path) -> None:
    lines = [
        '{"ts":"2026-11-22T10:00:00Z","node":"n1","event":"memberJoined","member":"n2","incarnation":1}',
        '{"ts":"2026-11-22T10:00:05.25Z","node":"n1","event":"memberDead","member":"n2","incarnation":1,"by":"n3"}',
    ]
    log = tmp_path / "n1.log"
    log.write_text("\n".join(lines))
    table = runner.invoke(app, ["members", "--from-logs", str(log)])
    assert table.exit_code == 0, table.output
    assert "2026-11-22 10:00:05.25" in table.output
    told = json.loads(
        runner.invoke(app, ["members", "--from-logs", "-", "--json"], input="\n".join(lines)).output
    )
    assert [phase["state"] for phase in told["members"]["n2"]] == ["alive", "dead"]
    held = runner.invoke(app, ["members", "--from-logs", str(log), "--at", "2026-11-22T10:00:01Z", "--json"])
    assert json.loads(held.output) == {"n2": {"n1": "alive"}}
    more = runner.invoke(app, ["members", "--from-logs", str(log), str(log), "--json"])
    assert json.loads(more.output)["observers"] == ["n1"]


def test_mistakes_on_the_command_line() -> None:
    absent = runner.invoke(app, ["members", "--from-logs", "/nonexistent.log"])
    assert absent.exit_code == 2
    assert "/nonexistent.log: No such file or directory" in absent.stderr
    odd = runner.invoke(app, ["explain", "a/b/c"])
    assert odd.exit_code == 2
    assert "NAMESPACE/NAME" in odd.stderr
    alone = runner.invoke(app, ["members", "--at", "2026-11-22T10:00:01Z"])
    assert alone.exit_code == 2
    assert "--from-logs" in alone.stderr


@pytest.mark.parametrize("moment", ["nonsense", "10:00", "", "2026-11-31T00:00:00Z"])
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_at_a_moment_that_is_none(moment: str, form: list[str]) -> None:
    result = runner.invoke(app, ["members", "--from-logs", "-", "--at", moment, *form], input="")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"vipring: --at: {moment!r} is no moment; allowed: 2026-11-22T10:00:00Z")
    assert result.stdout == ""


def test_moments_of_other_zones_and_the_mark_of_a_disagreement() -> None:
    head = '{"ts":"2026-11-22T10:00:0'
    lines = [
        head + '0Z","node":"n1","event":"memberJoined","member":"n2","incarnation":1}',
        head + '0Z","node":"n3","event":"memberJoined","member":"n2","incarnation":1}',
        head + '5Z","node":"n1","event":"memberDead","member":"n2","incarnation":1}',
    ]
    asked = ["members", "--from-logs", "-", "--json"]
    held = runner.invoke(app, [*asked, "--at", "2026-11-22T08:00:04.9-02:00"], input="\n".join(lines))
    assert json.loads(held.output) == {"n2": {"n1": "alive", "n3": "alive"}}
    told = json.loads(runner.invoke(app, asked, input="\n".join(lines)).output)
    assert told["members"]["n2"][1]["disagreeing"] == {"n3": "alive"}
    assert told["members"]["n2"][1]["seen_by"] == {"n1": "2026-11-22T10:00:05Z"}
    table = runner.invoke(app, asked[:-1], input="\n".join(lines))
    assert "! 1: n3 alive" in table.output


def test_the_example_of_logs_is_all_of_them() -> None:
    helped = runner.invoke(app, ["members", "--help"])
    assert "--tail=-1 --max-log-requests=1000 --prefix | vipring members --from-logs -" in helped.output


PLAN = """
apiVersion: v1
kind: ConfigMap
metadata: {name: config, namespace: metallb-system}
data:
  config: |
    address-pools:
    - {name: lan, protocol: layer2, addresses: [198.18.1.0/24]}
---
apiVersion: v1
kind: Node
metadata: {name: node-a}
---
apiVersion: v1
kind: Node
metadata: {name: node-b}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {type: LoadBalancer, clusterIP: 198.19.128.9, ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [198.19.64.2], nodeName: node-a}]
"""


def test_plan(tmp_path: Path) -> None:
    file = tmp_path / "objects.yaml"
    file.write_text(PLAN)
    table = runner.invoke(app, ["plan", "-f", str(file)])
    assert table.exit_code == 0, table.output
    assert table.output.splitlines()[1].split() == ["default/web", "198.18.1.0", "lan", "-"]
    told = json.loads(
        runner.invoke(app, ["plan", "-f", "-", "--members", "node-b", "--json"], input=PLAN).output
    )
    assert told["allocations"] == {"default/web": {"ips": ["198.18.1.0"], "pool": "lan", "reason": None}}
    assert told["owners"]["198.18.1.0"] == {
        "node": "node-b",
        "ranking": ["node-b"],
        "excluded": {"node-a": "speakerNotAlive"},
    }
    assert told["errors"] == []


def test_plan_with_errors_ends_1_and_names_them(tmp_path: Path) -> None:
    file = tmp_path / "objects.yaml"
    file.write_text(PLAN.replace("protocol: layer2, ", ""))
    result = runner.invoke(app, ["plan", "-f", str(file), "--order", "v0.9"])
    assert result.exit_code == 1
    assert "error: " in result.output
    assert runner.invoke(app, ["plan", "-f", str(tmp_path / "absent.yaml")]).exit_code == 2


def test_version() -> None:
    result = runner.invoke(app, ["--version"])
    assert result.output == f"vipring {__version__}\n"


@pytest.mark.parametrize("command", ["members", "explain", "plan"])
def test_help_shows_an_example(command: str) -> None:
    result = runner.invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert "Examples:" in result.output
    assert "--json" in result.output


def test_age() -> None:
    now = datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC)
    assert render.age("2026-11-22T09:59:19Z", now) == "41s"
    assert render.age("2026-11-22T09:50:00Z", now) == "10m"
    assert render.age("2026-11-22T03:00:00Z", now) == "7h"
    assert render.age("2026-11-12T03:00:00Z", now) == "10d"
    assert render.age("yesterday", now) == "yesterday"


def test_plan_takes_a_directory_and_says_that_nodes_are_missing(tmp_path: Path) -> None:
    manifests = str(Path(__file__).parents[3] / "manifests")
    done = runner.invoke(app, ["plan", "-f", manifests, "--json"])
    assert done.exit_code == 0
    assert "no Node in the files" in done.stderr
    assert json.loads(done.stdout)["allocations"]["default/nginx"]["ips"] == ["192.168.1.240"]
    assert "no Node" not in runner.invoke(app, ["plan", "-f", manifests, "--members", "n1"]).stderr
    empty = runner.invoke(app, ["plan", "-f", str(tmp_path)])
    assert empty.exit_code == 2
    assert "no .yaml, .yml or .json file in it" in empty.stderr
