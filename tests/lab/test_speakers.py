"""Real speakers and a controller as processes: the ring, an address, an API server that goes away, a wrong secret.

The functions named `inside_…` run in namespaces of their own, started by the one test at the end of this file.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from tests.lab.stage import CONFIG, Process, Stage, members, network, vip

RSS_SPEAKER_MB = 60.0
RSS_RESPONDER_MB = 16.0
STALL_S = 2.5


async def both_announce_one_address(stage: Stage) -> tuple[str, int, int]:
    """Two speakers that agree on a Service's address: the address, the owner's number, the other's."""

    async def agreed() -> tuple[str, int, int] | None:
        ip = await stage.ip("web")
        if ip is None:
            return None
        first, second = vip(await stage.status(1), ip), vip(await stage.status(2), ip)
        if not first or first.get("owner") is None or first["owner"] != second.get("owner"):
            return None
        owner = int(first["owner"][1:])
        held = [first, second][owner - 1]
        other = [second, first][owner - 1]
        return (ip, owner, 3 - owner) if held["announcing"] and not other["announcing"] else None

    agreement: tuple[str, int, int] = await stage.until("one owner, announcing", agreed)
    return agreement


async def inside_a_service_is_announced_by_one_through_an_api_outage(tmp_path: Path) -> None:
    network(2)
    async with Stage(tmp_path) as stage:
        await stage.cluster(2)
        speakers = [
            stage.speaker(1, python=["-X", "importtime"], confined=True),
            stage.speaker(2, confined=True),
        ]
        controller = stage.controller()
        await stage.service("web")
        ip, owner, other = await both_announce_one_address(stage)
        await stage.until("ready", lambda: ready(stage))
        assert members(await stage.status(other)) == {"n1": "alive", "n2": "alive"}
        await stage.until("event nodeAssigned", lambda: node_assigned(stage, f"n{owner}"))
        holder = speakers[owner - 1]
        assert [line["ip"] for line in holder.events("serviceAnnounced")] == [ip]
        assert holder.events("announced")[0]["interface"] == "eth0"
        _, metrics = await stage.page(owner, "metrics")
        assert (
            f'metallb_speaker_announced{{ip="{ip}",node="n{owner}",protocol="layer2",service="default/web"}} 1.0'
        ) in metrics
        await footprint(stage, speakers[1])
        only_what_the_manifest_grants(speakers[1])
        nothing_heavy(speakers[0])
        await the_commands_tell(stage, ip, owner)
        await an_api_outage_changes_nothing(stage, [*speakers, controller], ip, owner, other)
        await stage.server.pause()  # a takeover needs nothing of the API server
        await goodbye_hands_over(stage, holder, ip, owner, other)


async def ready(stage: Stage) -> bool:
    return all([(await stage.page(number, "readyz"))[0] == 200 for number in (1, 2)])


async def node_assigned(stage: Stage, node: str) -> bool:
    found = await stage.api.get("/api/v1/namespaces/default/events", dict)
    return any(
        event["reason"] == "nodeAssigned" and event["message"] == f'announcing from node "{node}"'
        for event in found["items"]
    )


async def footprint(stage: Stage, speaker: Process) -> None:
    responder = (await stage.status(2))["responder"]["pid"]
    mine, childs = speaker.rss_mb(), speaker.rss_mb(responder)
    print(f"RSS at rest: speaker {mine:.1f} MB, responder {childs:.1f} MB")
    assert mine < RSS_SPEAKER_MB
    assert childs < RSS_RESPONDER_MB


def only_what_the_manifest_grants(speaker: Process) -> None:
    """It has done all this with CAP_NET_RAW, a read-only root and no home."""
    proc = Path(f"/proc/{speaker.popen.pid}")
    status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
    assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")} == {1 << 13}
    mounts = [line.split() for line in (proc / "mounts").read_text().splitlines()]
    assert "ro" in [fields[3] for fields in mounts if fields[1] == "/"][-1].split(",")
    assert not any(entry.startswith(b"HOME=") for entry in (proc / "environ").read_bytes().split(b"\0"))


def nothing_heavy(speaker: Process) -> None:
    """The interpreter's own list of imports (-X importtime) names none of the command line's or the tests' packages.

    Submodules are what counts: a name alone may be an import that was tried and refused.
    """
    names = [line.rsplit("|", 1)[-1].strip() for line in speaker.err.read_text().splitlines()]
    imported = {name.split(".")[0] for name in names if "." in name}
    assert {"anyio", "httpx2", "structlog", "gossip"} <= imported
    assert sorted(imported & {"typer", "rich", "scapy", "kubernetes", "pytest", "hypothesis"}) == []


async def the_commands_tell(stage: Stage, ip: str, owner: int) -> None:
    async def vipring(*args: str) -> str:
        done = await anyio.run_process([sys.executable, "-m", "vipring", *args], check=False)
        assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
        return done.stdout.decode()

    table = await vipring("members", "--url", "http://198.18.0.11:7472")
    assert [line.split()[0] for line in table.splitlines()[1:3]] == ["n1", "n2"]
    told = await vipring("explain", "default/web", "--kubeconfig", str(stage.kubeconfig), "--node", "n2")
    assert f"{ip}  owner n{owner}" in told


async def an_api_outage_changes_nothing(
    stage: Stage, processes: list[Process], ip: str, owner: int, other: int
) -> None:
    await stage.server.pause()
    for number in (owner, other):

        async def lost(number: int = number) -> bool:
            return (await stage.status(number))["api"]["connected"] is False

        await stage.until("API outage noticed", lost)
    before = [moves(process) for process in processes]
    held = vip(await stage.status(owner), ip)
    assert (held["owner"], held["announcing"]) == (f"n{owner}", True)
    assert vip(await stage.status(other), ip)["owner"] == f"n{owner}"
    assert members(await stage.status(other)) == {"n1": "alive", "n2": "alive"}
    assert (await stage.page(owner, "healthz"))[0] == 200
    await stage.server.resume()
    for number in (owner, other):

        async def found(number: int = number) -> bool:
            return (await stage.status(number))["api"]["connected"] is True

        await stage.until("API server found again", found)
    assert [moves(process) for process in processes] == before
    assert [process.popen.poll() for process in processes] == [None] * len(processes)


def moves(process: Process) -> int:
    """How often an address changed hands or was taken off the wire so far."""
    return len(process.events("ownerChanged")) + len(process.events("serviceWithdrawn"))


async def goodbye_hands_over(stage: Stage, holder: Process, ip: str, owner: int, other: int) -> None:
    assert holder.terminate() == 0

    async def moved() -> bool:
        held = vip(await stage.status(other), ip)
        return held["owner"] == f"n{other}" and bool(held["announcing"])

    await stage.until("the other one announces", moved)
    assert members(await stage.status(other))[f"n{owner}"] == "left"
    last = holder.lines()[-1]
    assert (last.get("op"), last.get("failed")) == ("shutdown", False)


async def inside_a_different_secret_is_told_once_and_counted(tmp_path: Path) -> None:
    network(2)
    async with Stage(tmp_path) as stage:
        await stage.cluster(2)
        first = stage.speaker(1)
        stage.speaker(2, "another-secret")

        async def counted() -> bool:
            _, metrics = await stage.page(1, "metrics")
            return any(
                line.startswith('vipring_ring_undecryptable_total{peer="198.18.0.12"}')
                and float(line.split()[-1]) >= 2
                for line in metrics.splitlines()
            )

        await stage.until("two undecryptable packets counted", counted)
        # On one host a dial to n1 has n1's own address as its source, so n2 is known by its datagrams and answers only.
        told = [line for line in first.events("peerRejected") if line["peer"] == "198.18.0.12"]
        assert [line["reason"] for line in told] == ["undecryptable"]
        assert "secret of peer n2 (198.18.0.12) differs" in told[0]["msg"]
        assert members(await stage.status(1)) == {"n1": "alive"}


async def inside_an_api_server_away_at_the_start_is_waited_for(tmp_path: Path) -> None:
    network(1)
    async with Stage(tmp_path) as stage:
        await stage.cluster(1)
        await stage.server.pause()
        speaker, controller = stage.speaker(1), stage.controller()

        async def waits() -> bool:
            code, body = await stage.page(1, "readyz")
            return code == 503 and "waiting for the first list" in body

        await stage.until("not ready, and says why", waits)
        await stage.until(
            "trouble is logged", lambda: speaker.events("apiTrouble") and controller.events("apiTrouble")
        )
        assert members(await stage.status(1)) == {}
        await stage.server.resume()
        await stage.service("web")

        async def announced() -> bool:
            ip = await stage.ip("web")
            return ip is not None and bool(vip(await stage.status(1), ip).get("announcing"))

        await stage.until("announced", announced)
        assert [speaker.popen.poll(), controller.popen.poll()] == [None, None]


async def inside_the_last_good_configuration_stays(tmp_path: Path) -> None:
    network(1)
    async with Stage(tmp_path) as stage:
        await stage.cluster(1)
        speaker = stage.speaker(1)
        stage.controller()
        await stage.service("web")
        ip = await stage.until("an address", lambda: stage.ip("web"))

        async def announcing() -> bool:
            return bool(vip(await stage.status(1), ip).get("announcing"))

        await stage.until("announced", announcing)
        for config, words in (
            ("address-pools:\n- {name: lan, colour: red}\n", "could not parse config"),
            (CONFIG.replace("198.18.1.0/24", "198.18.9.0/24"), f"announced address {ip} would be in no pool"),
        ):
            await stage.configure(config)

            async def stale(words: str = words) -> bool:
                said = (await stage.status(1))["config"]
                return bool(said["loaded"] and said["stale"] and words in (said["error"] or ""))

            await stage.until(f"stale: {words}", stale)
            assert await announcing()
        assert len(speaker.events("configStale")) == 2
        await stage.configure(CONFIG)

        async def fresh() -> bool:
            return (await stage.status(1))["config"]["stale"] is False

        await stage.until("accepted again", fresh)
        assert not speaker.events("serviceWithdrawn")


async def inside_a_stalled_speaker_falls_silent_and_announces_anew(tmp_path: Path) -> None:
    network(1)
    async with Stage(tmp_path) as stage:
        await stage.cluster(1)
        speaker = stage.speaker(1)
        stage.controller()
        await stage.service("web")
        await stage.until("announced", lambda: speaker.events("serviceAnnounced"))
        speaker.popen.send_signal(signal.SIGSTOP)
        await anyio.sleep(STALL_S)  # the fault itself: longer than the responder's lease
        speaker.popen.send_signal(signal.SIGCONT)
        await stage.until("announced again", lambda: len(speaker.events("serviceAnnounced")) == 2)
        assert len(speaker.events("leaseExpired")) == 1
        assert [line["reason"] for line in speaker.events("serviceWithdrawn")] == ["leaseExpired"]
        assert (await stage.status(1))["responder"]["lease"] == "valid"
        _, metrics = await stage.page(1, "metrics")
        assert "vipring_lease_expired_total 1.0" in metrics


async def inside_a_killed_speaker_takes_its_responder_along(tmp_path: Path) -> None:
    network(1)
    async with Stage(tmp_path) as stage:
        await stage.cluster(1)
        speaker = stage.speaker(1)
        status = await stage.until("a status", lambda: stage.status(1))
        responder = status["responder"]["pid"]
        assert running(responder)
        speaker.terminate(9)
        await stage.until("the responder is gone", lambda: not running(responder))


def running(pid: int) -> bool:
    """Whether a process lives; one that nobody has reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def inside_a_lost_responder_ends_the_speaker_with_a_line(tmp_path: Path) -> None:
    network(1)
    async with Stage(tmp_path) as stage:
        await stage.cluster(1)
        speaker = stage.speaker(1)
        status = await stage.until("a status", lambda: stage.status(1))
        os.kill(status["responder"]["pid"], 9)
        assert await stage.until("the speaker ends", speaker.popen.poll) == 1
        assert any("responder" in str(line.get("msg")) for line in speaker.lines() if line.get("op") == "run")


@pytest.mark.parametrize("name", [name for name in globals() if name.startswith("inside_")])
def test_real_speakers(name: str) -> None:
    """Run one function named `inside_…` in a network namespace of its own."""
    user = ["--user", "--map-root-user"] if os.geteuid() != 0 else []
    namespaces = ["unshare", *user, "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    inner = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*namespaces, *inner, "-o", "python_functions=inside_*", f"{__file__}::{name}"],
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, f"{done.stderr[-2000:]}\nneeds: apt-get install iproute2 util-linux"
    assert "1 passed" in done.stdout
