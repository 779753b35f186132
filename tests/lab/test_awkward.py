"""A lab with the ring's network apart, a switch that suppresses ARP, a host that answers everything, a starved container."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from chaos import observer
from chaos.instruments import MARTIANS
from chaos.lab import awkward
from chaos.lab.lab import Lab
from chaos.lab.plan import STRANGER
from chaos.lab.settings import LabSettings
from cluster.objects import Node

pytestmark = pytest.mark.timeout(60)
ABSENT = "198.18.99.99"


@pytest.fixture(scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with Lab(2, settings=LabSettings(internal_network="mgmt")) as running:
        yield running


async def neighbour(lab: Lab, host: str, address: str) -> str:
    """The MAC address that a host's kernel finds for an address when it asks anew; empty for none within half a second."""
    await lab.run(host, ["ip", "neigh", "flush", "dev", "eth0"])
    ask = (
        "import socket, sys, time; socket.socket(2, 2).sendto(b'', (sys.argv[1], 9)); time.sleep(0.5); "
        "print(next((l.split()[3] for l in open('/proc/net/arp') if l.split()[0] == sys.argv[1] and l.split()[2] != '0x0'), ''))"
    )
    _, output = await lab.run(host, [sys.executable, "-I", "-S", "-c", ask, address])
    return output.strip()


async def answers(lab: Lab, path: Path, vip: str, senders: tuple[str, ...]) -> set[str]:
    """Who answers the observer's questions from these senders."""
    from_ = [word for sender in senders for word in ("--sender", sender)]
    script = [sys.executable, "-I", "-S", observer.__file__, "eth0", "--vip", vip, *from_, "--seconds", "0.3"]
    code, output = await lab.run("observer", [*script, "--out", str(path)])
    assert code == 0, output
    lines = (await anyio.Path(path).read_text()).splitlines()
    return {event[3] for event in map(json.loads, lines) if event[0] == "a"}


async def test_nodes_are_known_by_their_management_addresses(lab: Lab) -> None:
    nodes, _ = await lab.api.list("/api/v1/nodes", Node)
    found = {
        n.metadata.name: [a.address for a in n.status.addresses if a.type == "InternalIP"] for n in nodes
    }
    assert found == {"n1": ["198.19.0.11"], "n2": ["198.19.0.12"]}
    assert lab.node_address("n1") == "198.18.0.11"


async def test_a_suppressing_switch_answers_for_the_dead_but_not_the_observer(lab: Lab) -> None:
    n1, mac = lab.node_address("n1"), lab.node_mac("n1")
    program = await awkward.suppress(lab)
    try:
        assert await neighbour(lab, "client", n1) == mac, "flooded, since the switch did not know it"
        await lab.disconnect("n1")
        try:
            assert await neighbour(lab, "client", n1) == mac, "answered from the cache"
            assert await neighbour(lab, "observer", n1) == ""
        finally:
            await lab.connect("n1")
    finally:
        await awkward.flood(lab, program)
    await lab.disconnect("n1")
    try:
        assert await neighbour(lab, "client", n1) == ""
    finally:
        await lab.connect("n1")


async def test_a_stranger_answers_for_what_is_not_there(lab: Lab) -> None:
    assert await neighbour(lab, "client", ABSENT) == ""
    program = await awkward.meddle(lab)
    try:
        assert await neighbour(lab, "client", ABSENT) == STRANGER.mac
    finally:
        await awkward.end(program)
    assert await neighbour(lab, "client", ABSENT) == ""


async def test_kernels_answer_hosts_and_not_martians(lab: Lab, tmp_path: Path) -> None:
    await awkward.run(lab, "n2", ["ip", "addr", "add", "198.18.1.9/32", "dev", "lo"])
    ordinary = await answers(lab, tmp_path / "ordinary", "198.18.1.9", ("198.18.0.3",))
    assert ordinary == {lab.node_mac("n2")}
    assert await answers(lab, tmp_path / "martians", "198.18.1.9", MARTIANS) == set()
