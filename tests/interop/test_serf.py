"""A real serf agent on loopback: hashicorp/memberlist as Debian ships it."""

import base64
import contextlib
import json
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.abc
import pytest

from gossip.address import Endpoint
from gossip.config import SwimConfig
from gossip.keyring import Keyring
from gossip.outputs import MemberDead, MemberJoined, MemberLeft
from gossip.shell import Ring

pytestmark = pytest.mark.anyio

KEY = bytes(range(32))
OTHER = bytes(range(1, 33))
PATIENCE_S = 20.0
CONFIG = replace(
    SwimConfig.local(), delegate_protocol_min=2, delegate_protocol_max=5, delegate_protocol_version=5
)
SERF_TAGS = b"\xff\x80"

T = TypeVar("T")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


class Serf:
    """A running agent."""

    def __init__(self, process: anyio.abc.Process, endpoint: Endpoint, rpc: str, log: Path) -> None:
        self.process = process
        self.endpoint = endpoint
        self.rpc = rpc
        self.log = log

    async def members(self) -> dict[str, str]:
        """Status by name, as the agent says; nothing while it does not answer yet."""
        command = ["serf", "members", f"-rpc-addr={self.rpc}", "-format=json"]
        answer = await anyio.run_process(command, check=False, stderr=subprocess.DEVNULL)
        if answer.returncode:
            return {}
        return {member["name"]: member["status"] for member in json.loads(answer.stdout)["members"]}

    async def sees(self, name: str, status: str | None) -> None:
        """Wait until the agent gives a member this status (None: does not know it)."""
        seen: dict[str, str] = {}
        try:
            with anyio.fail_after(PATIENCE_S):
                while not seen or seen.get(name) != status:
                    seen = await self.members()
        except TimeoutError:
            raise AssertionError(f"serf sees {seen}; its log:\n{self.log.read_text()}") from None


@contextlib.asynccontextmanager
async def serf(tmp_path: Path, key: bytes = KEY) -> AsyncIterator[Serf]:
    if shutil.which("serf") is None:
        pytest.fail("serf is missing; install it with: sudo apt-get install serf")
    host = "127.0.0.2"
    endpoint, rpc = Endpoint(host, free_port(host)), f"{host}:{free_port(host)}"
    log = tmp_path / "serf.log"
    command = [
        "serf",
        "agent",
        "-node=serf",
        f"-bind={endpoint.text}",
        f"-rpc-addr={rpc}",
        f"-encrypt={base64.b64encode(key).decode()}",
        "-profile=local",
        "-log-level=debug",
    ]
    with log.open("wb") as output:
        process = await anyio.open_process(command, stdout=output, stderr=subprocess.STDOUT)
    agent = Serf(process, endpoint, rpc, log)
    try:
        await agent.sees("serf", "alive")
        yield agent
    finally:
        with anyio.CancelScope(shield=True), contextlib.suppress(ProcessLookupError):
            process.kill()
            await process.wait()


def ours(key: bytes = KEY) -> Ring:
    return Ring(
        name="ours",
        bind=("127.0.0.1", 0),
        advertise=None,
        keyring=Keyring([key]),
        config=CONFIG,
        meta=SERF_TAGS,
    )


async def event(of: Ring, kind: type[T], wanted: Callable[[T], bool] = lambda _: True) -> T:
    with anyio.fail_after(PATIENCE_S):
        async for happened in of.events:
            if isinstance(happened, kind) and wanted(happened):
                return happened
    raise AssertionError("the ring was closed")


@pytest.mark.timeout(90)
async def test_serf_takes_us_for_one_of_its_own_until_we_vanish(tmp_path: Path) -> None:
    async with serf(tmp_path) as agent:
        async with ours() as ring:
            assert (await ring.join([agent.endpoint])).contacted == (agent.endpoint,)
            joined = await event(ring, MemberJoined)
            assert (joined.view.name, joined.view.endpoint) == ("serf", agent.endpoint)
            assert joined.view.versions.encode().hex() == "010502020505"
            await agent.sees("ours", "alive")
            # Some probes in each direction, answered.
            with anyio.fail_after(PATIENCE_S):
                while ring.counters.messages_in["Ping"] < 2 or ring.counters.messages_in["Ack"] < 2:
                    await agent.members()
            assert not ring.counters.rejected
            assert not ring.counters.suspicions
            assert not ring.counters.refutations
        await agent.sees("ours", "failed")
        log = agent.log.read_text()
    assert "Suspect ours has failed" in log
    for complaint in ("[ERR] memberlist", "Failed to decode", "not supported", "Conflicting"):
        assert complaint not in log


@pytest.mark.timeout(90)
async def test_our_leave_spares_serf_the_suspicion(tmp_path: Path) -> None:
    async with serf(tmp_path) as agent, ours() as ring:
        await ring.join([agent.endpoint])
        await agent.sees("ours", "alive")
        await ring.leave(timeout_s=PATIENCE_S)
        # Without a leave intent of serf's own layer it is listed as failed, but at once.
        await agent.sees("ours", "failed")
        assert "Suspect ours" not in agent.log.read_text()


@pytest.mark.timeout(90)
async def test_serfs_leave_is_seen_as_left(tmp_path: Path) -> None:
    async with serf(tmp_path) as agent, ours() as ring:
        await ring.join([agent.endpoint])
        await agent.sees("ours", "alive")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.run_process, ["serf", "leave", f"-rpc-addr={agent.rpc}"])
            assert (await event(ring, MemberLeft)).view.name == "serf"


@pytest.mark.timeout(90)
async def test_a_killed_serf_is_seen_as_dead(tmp_path: Path) -> None:
    async with serf(tmp_path) as agent, ours() as ring:
        await ring.join([agent.endpoint])
        await agent.sees("ours", "alive")
        agent.process.kill()
        assert (await event(ring, MemberDead)).view.name == "serf"


@pytest.mark.timeout(90)
async def test_another_key_keeps_us_apart(tmp_path: Path) -> None:
    async with serf(tmp_path) as agent, ours(OTHER) as ring:
        joined = await ring.join([agent.endpoint])
        assert list(joined.failed) == [agent.endpoint]
        assert set(ring.members()) == {"ours"}
        assert set(await agent.members()) == {"serf"}
