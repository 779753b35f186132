"""kubectl against the lab with vipring installed in it: what an owner of a cluster types every day."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from chaos.lab.__main__ import install_vipring
from chaos.lab.errors import DeadlineError
from chaos.lab.lab import Lab

pytestmark = pytest.mark.timeout(120)

MANIFESTS = Path(__file__).parents[2] / "manifests"
SOON_S = 30.0


@dataclass(frozen=True)
class Kubectl:
    """kubectl with the lab's kubeconfig."""

    lab: Lab

    async def __call__(self, *arguments: str, text: str = "") -> str:
        """What a command prints; the test fails when the command does."""
        code, printed = await self.attempt(*arguments, text=text)
        assert code == 0, f"kubectl {' '.join(arguments)}: {printed}"
        return printed

    async def attempt(self, *arguments: str, text: str = "") -> tuple[int, str]:
        """The exit code of a command, and what it printed."""
        assert shutil.which("kubectl"), (
            "kubectl is missing; install it with: apt-get install kubernetes-client"
        )
        done = await anyio.run_process(
            ["kubectl", *arguments],
            input=text.encode(),
            env={**os.environ, "KUBECONFIG": str(self.lab.kubeconfig)},
            stderr=subprocess.STDOUT,
            check=False,
        )
        return done.returncode, done.stdout.decode()

    async def until(self, word: str, *arguments: str) -> str:
        """Repeat a command until it prints the word; it may fail before, as `logs` does of a pod to come."""

        async def there() -> str:
            code, printed = await self.attempt(*arguments)
            return printed if code == 0 and word in printed else ""

        try:
            return await self.lab.wait(there, SOON_S, f"{word!r} in kubectl {' '.join(arguments)}")
        except DeadlineError:
            print((await self.attempt(*arguments))[1])
            raise


@pytest.fixture(scope="module")
async def kubectl() -> AsyncIterator[Kubectl]:
    async with Lab(2) as lab:
        await install_vipring(lab)
        yield Kubectl(lab)


async def test_pods_and_logs_of_the_speakers(kubectl: Kubectl) -> None:
    await kubectl("rollout", "status", "-n", "metallb-system", "daemonset/speaker", "--timeout=30s")
    table = (await kubectl("get", "pods", "-n", "metallb-system", "-o", "wide")).splitlines()
    assert table[0].split()[:7] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"]
    rows = [line.split() for line in table[1:] if line.startswith("speaker-")]
    for row in rows:
        if row[3] != "0":
            previous = await kubectl("logs", "-n", "metallb-system", row[0], "--previous")
            raise AssertionError(f"{row[0]} was restarted; its last words: {previous[-3000:]}")
    assert [(row[1], row[2], row[5], row[6]) for row in sorted(rows, key=lambda row: row[6])] == [
        ("1/1", "Running", "198.18.0.11", "n1"),
        ("1/1", "Running", "198.18.0.12", "n2"),
    ]
    lines = (await kubectl("logs", "-n", "metallb-system", "ds/speaker")).splitlines()
    events = [json.loads(line).get("event") for line in lines if line.startswith("{")]
    assert "memberJoined" in events
    described = await kubectl("describe", "pod", "-n", "metallb-system", rows[0][0])
    assert "Started container speaker" in described
    assert "memberlist" in described


async def test_apply_get_and_delete_of_a_service(kubectl: Kubectl) -> None:
    file = str(MANIFESTS / "example-nginx.yaml")
    assert "deployment.apps/nginx created" in await kubectl("apply", "-f", file)
    assert "deployment.apps/nginx unchanged" in await kubectl("apply", "-f", file)
    table = await kubectl.until("198.18.1.", "get", "svc", "-A")
    assert table.split()[:7] == ["NAMESPACE", "NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]
    await kubectl("rollout", "status", "deployment/nginx", "--timeout=30s")
    address = (
        await kubectl("get", "svc", "nginx", "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}")
    ).strip()

    async def answers() -> bool:
        code, text = await kubectl.lab.run("client", ["curl", "-sS", "--max-time", "1", f"http://{address}/"])
        return code == 0 and "Welcome to nginx!" in text

    await kubectl.lab.wait(answers, SOON_S, f"nginx answers on {address}")
    await kubectl("scale", "deployment/nginx", "--replicas=3")
    await kubectl("rollout", "status", "deployment/nginx", "--timeout=30s")
    pods = json.loads(await kubectl("get", "pods", "-l", "app=nginx", "-o", "json"))["items"]
    assert len(pods) == 3
    deleted = await kubectl("delete", "-f", file)
    assert 'service "nginx" deleted' in deleted
    await kubectl.until("No resources found", "get", "pods", "-l", "app=nginx")
    assert "nginx" not in await kubectl("get", "svc,deploy,endpoints,endpointslices")


async def test_status_of_a_speaker_through_the_api_server(kubectl: Kubectl) -> None:
    name = await kubectl("get", "pods", "-n", "metallb-system", "-l", "component=speaker", "-o", "name")
    pod = name.split()[0].removeprefix("pod/")
    path = f"/api/v1/namespaces/metallb-system/pods/{pod}:7472/proxy/status"
    status = json.loads(await kubectl("get", "--raw", path))
    assert sorted(member["name"] for member in status["ring"]["members"]) == ["n1", "n2"]


async def test_a_container_that_was_killed_has_a_previous_log(kubectl: Kubectl) -> None:
    await kubectl(
        "run", "twice", "--image=busybox", "--restart=Always", "--", "-c", "echo $HOSTNAME life; sleep 1000"
    )
    await kubectl.until("twice life", "logs", "twice")
    node = await kubectl("get", "pod", "twice", "-o", "jsonpath={.spec.nodeName}")
    await kubectl.lab.kill(node, "twice")
    await kubectl.until('"restartCount": 1', "get", "pod", "twice", "-o", "json")
    assert "twice life" in await kubectl("logs", "twice", "--previous")
    await kubectl("delete", "pod", "twice", "--grace-period=1")
