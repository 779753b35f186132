"""How the resident processes start, refuse to start, and end: as processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from announcer.layer2 import launch
from vipring import resident
from vipring.resident import leaves

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("METALLB_", "KUBE"))}


def vipring(
    *args: str, env: dict[str, str] | None = None, prefix: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, sys.executable, "-m", "vipring", *args],
        env={**CLEAN, **(env or {})},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


RING = {
    "METALLB_NODE_NAME": "n1",
    "METALLB_ML_BIND_ADDR": "127.0.0.1",
    "METALLB_ML_LABELS": "app=metallb",
    "METALLB_ML_NAMESPACE": "metallb-system",
}


@pytest.mark.parametrize(
    ("args", "env", "status", "words"),
    [
        (["speaker"], {}, 1, "vipring speaker: no node name: give --node-name or METALLB_NODE_NAME"),
        (
            ["speaker"],
            RING,
            1,
            "vipring speaker: no ring secret: create it with kubectl create secret generic",
        ),
        (["speaker", "--port=x"], RING, 2, "vipring speaker: --port: 'x' is not a port; allowed: 1 to 65535"),
        (["controller", "--colour=red"], {}, 2, "vipring controller: --colour=red: unknown flag"),
    ],
)
def test_a_wrong_start_is_one_line(args: list[str], env: dict[str, str], status: int, words: str) -> None:
    done = vipring(*args, env=env)
    assert done.returncode == status
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(words)


@pytest.mark.parametrize("program", ["speaker", "controller"])
def test_help_needs_nothing(program: str) -> None:
    done = vipring(program, "--help")
    assert done.returncode == 0
    assert "--config" in done.stdout
    assert "example" in done.stdout


def test_flags_are_checked_before_anything_heavy_is_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "vipring", "speaker"],
        env=CLEAN,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "vipring" in imported
    assert (
        sorted(imported & {"anyio", "asyncio", "msgspec", "structlog", "httpx2", "cryptography", "typer"})
        == []
    )


def test_without_the_capability_for_raw_sockets_it_says_so() -> None:
    done = vipring(
        "speaker",
        env=RING | {"METALLB_ML_SECRET_KEY": "abc"},
        prefix=("setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw") if os.geteuid() == 0 else (),
    )
    assert done.returncode == 1, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "CAP_NET_RAW" in done.stderr


def test_the_responder_is_told_its_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    responder = Mock()
    monkeypatch.setattr(launch, "launch", lambda: responder)
    monkeypatch.setattr(launch, "require_raw_sockets", lambda: None)
    monkeypatch.setattr(resident, "_speaker", lambda _options, _responder: 0)
    assert resident.speaker(["--node-name=n1", "--gratuitous-rate=500"]) == 0
    assert [call[0] for call in responder.method_calls] == ["pace", "close"]
    responder.pace.assert_called_once_with(500)


def test_a_port_in_use_and_no_cluster_are_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = vipring("controller", "--host=127.0.0.1", f"--port={port}")
    assert done.returncode == 1
    assert f"--port {port}: cannot listen on 127.0.0.1: Address already in use" in done.stderr
    done = vipring("controller", "--host=127.0.0.1", f"--port={port}", f"--kubeconfig={tmp_path / 'absent'}")
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert str(tmp_path / "absent") in done.stdout


def test_leaves_of_nested_groups() -> None:
    first, second = ValueError("a"), OSError("b")
    assert leaves(ExceptionGroup("x", [ExceptionGroup("y", [first]), second])) == [first, second]
    assert leaves(first) == [first]
