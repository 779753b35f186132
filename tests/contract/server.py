"""Starts the embedded API server as a process, for whoever needs one by URL."""

from __future__ import annotations

import contextlib
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

_START_S = 20.0


@dataclass(frozen=True)
class Endpoint:
    """Where an API server is and how to be let in. `ca` is PEM."""

    url: str
    token: str
    ca: str
    kubeconfig: Path | None = None


def _read_line(process: subprocess.Popen[str], deadline: float) -> str:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
    return process.stdout.readline() if ready else ""


@contextlib.contextmanager
def embedded(directory: Path, *options: str) -> Iterator[Endpoint]:
    """The embedded server in a process of its own, gone at the end."""
    import base64

    kubeconfig = directory / "kubeconfig"
    command = [sys.executable, "-m", "chaos.lab.apiserver", "--kubeconfig", str(kubeconfig), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = _read_line(process, time.monotonic() + _START_S)
            assert line.startswith("ready "), f"the API server said {line!r} and not that it is ready"
            config = yaml.safe_load(kubeconfig.read_text())
            cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
            ca = base64.b64decode(cluster["certificate-authority-data"]).decode()
            yield Endpoint(cluster["server"], user["token"], ca, kubeconfig)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
