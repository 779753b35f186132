"""What a speaker says of its ring when it starts, with a responder that does nothing and no API server."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from announcer.layer2.handle import Responder
from speaker.main import Speaker
from speaker.options import RingOptions, SpeakerOptions

DEADLINE_S = 20.0
OWN = "127.0.1.3"


@pytest.fixture
def responder() -> Iterator[Responder]:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with far:
        process = subprocess.Popen(["cat"], stdin=far.fileno(), stdout=subprocess.DEVNULL)
    made = Responder(link=near, pid=process.pid)
    yield made
    made.close()
    process.wait()


@pytest.fixture
def kubeconfig(tmp_path: Path) -> str:
    """A cluster whose API server nobody runs."""
    file = tmp_path / "kubeconfig"
    file.write_text(
        "{current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}], users: [{name: u, user: {}}],\n"
        ' clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]}'
    )
    return str(file)


async def first_line(options: SpeakerOptions, responder: Responder) -> MutableMapping[str, Any]:
    with capture_logs() as lines:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Speaker(options, responder).run)
            with anyio.fail_after(DEADLINE_S):
                while not lines:  # noqa: ASYNC110  (lines come without a word)
                    await anyio.sleep(0.005)
            tasks.cancel_scope.cancel()
    return lines[0]


async def test_a_ring_that_is_off(responder: Responder, kubeconfig: str) -> None:
    missing = ("METALLB_ML_LABELS (--ml-labels)",)
    options = SpeakerOptions(node_name="n1", kubeconfig=kubeconfig, ring_missing=missing)
    line = await first_line(options, responder)
    assert (line["event"], line["log_level"]) == ("ringOff", "warning")
    assert line["reason"] == "not given: METALLB_ML_LABELS (--ml-labels)"


@pytest.mark.parametrize(("secret", "warned"), [(None, True), (b"secret", False)])
async def test_a_ring_without_encryption(
    secret: bytes | None, warned: bool, responder: Responder, kubeconfig: str
) -> None:
    with socket.create_server((OWN, 0)) as free:
        port = free.getsockname()[1]
    ring = RingOptions(bind_address=OWN, labels="a=b", namespace="x", port=port, secret=secret)
    line = await first_line(SpeakerOptions(node_name="n1", kubeconfig=kubeconfig, ring=ring), responder)
    assert (line["event"] == "ringInsecure") is warned
