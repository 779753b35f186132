"""The cluster in a box: nodes die, are cut off, and come back."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from chaos.lab.lab import Lab
from chaos.lab.objects import Node
from tests.lab.box import (
    SOON_S,
    command,
    delete,
    pod,
    ready_on,
    restarts,
    service,
    shell_pod,
    until,
    wait,
)

pytestmark = pytest.mark.timeout(120)


def processes(lab: Lab, node: str) -> set[int]:
    """Processes of a node: all that share the uts namespace of its agent, or descend from it."""
    found: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            found[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    agents = {pid for pid in found if f"{lab.run_dir}/{node}.json" in command(pid)}
    more = agents
    while more:
        more = {pid for pid, parent in found.items() if parent in agents} - agents
        agents |= more
    return agents


async def test_power_off_and_on(lab: Lab) -> None:
    await lab.apply(shell_pod("there", "echo up; while :; do sleep 0.2; done", nodeName="n2"))
    await lab.apply(service("there", 7))
    await ready_on(lab, "there", ["n2"])
    before = processes(lab, "n2")
    assert len(before) >= 2
    assert (await lab.run("n1", ["bash", "-c", "echo > /dev/udp/198.18.0.12/9; ip neigh flush all"]))[0] == 0

    at = await lab.power_off("n2")
    assert at <= time.monotonic()
    assert not before & {int(pid) for pid in os.listdir("/proc") if pid.isdigit()}
    assert "LOWER_UP" in (await lab.run("n1", ["ip", "-o", "link", "show", "eth0"]))[1]
    assert "LOWER_UP" in (await lab.run("n2", ["ip", "-o", "link", "show", "eth0"]))[1]
    # The kernel of n2's namespace would still answer: that nothing arrives is the bridge's doing.
    code, _ = await lab.run("n1", ["curl", "-sS", "--max-time", "1", "http://198.18.0.12:7/"])
    assert code in (7, 28)
    assert "FAILED" in (await lab.run("n1", ["ip", "neigh", "show", "198.18.0.12"]))[1] or code == 28

    async def unknown() -> bool:
        node = await lab.api.get("/api/v1/nodes/n2", Node)
        return any(c.type == "Ready" and c.status == "Unknown" for c in node.status.conditions)

    await wait(lab, unknown, SOON_S, "n2 Unknown")
    await ready_on(lab, "there", [])

    await lab.power_on("n2")
    await ready_on(lab, "there", ["n2"])
    found = await pod(lab, "there")
    assert restarts(found) == 1
    node = await lab.api.get("/api/v1/nodes/n2", Node)
    assert node.ready

    async def untainted() -> bool:
        return not (await lab.api.get("/api/v1/nodes/n2", Node)).spec.taints

    await wait(lab, untainted, SOON_S, "n2 without taints")
    await lab.api.delete("/api/v1/namespaces/default/services/there")
    await delete(lab, "there")


async def test_a_node_cut_off_from_the_api_keeps_its_pods_running(lab: Lab) -> None:
    await lab.apply(shell_pod("alone", "echo up; while :; do sleep 0.2; done", nodeName="n3"))
    await until(lab, "alone", "is ready", lambda p: p.ready)
    await lab.disconnect("n3", "mgmt")
    await until(lab, "alone", "is given up", lambda p: not p.ready)
    await lab.connect("n3", "mgmt")
    found = await until(lab, "alone", "is ready again", lambda p: p.ready)
    assert restarts(found) == 0
    await delete(lab, "alone")
