"""The cluster in a box: Pods run as their objects say, Services reach them, nodes die and come back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import anyio
import msgspec
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from chaos.lab.errors import DeadlineError, LabError
from chaos.lab.lab import Lab
from chaos.lab.objects import DaemonSet, Endpoint, EndpointSlice, Node, Pod, Service
from chaos.lab.settings import LabSettings
from cluster.errors import ApiError

T = TypeVar("T")
pytestmark = pytest.mark.timeout(120)

SETTINGS = LabSettings(
    heartbeat_s=1.0, node_grace_s=4.0, eviction_s=1000.0, restart_backoff_s=1.0, volume_sync_s=1.0
)
PODS = "/api/v1/namespaces/default/pods"
VIP = "198.18.1.77"
SOON_S = 20.0


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with Lab(3, settings=SETTINGS) as running:
        yield running


async def wait(lab: Lab, condition: Callable[[], Awaitable[T]], seconds: float, what: str) -> T:
    """Lab.wait that shows the state of the lab when it was in vain."""
    try:
        return await lab.wait(condition, seconds, what)
    except DeadlineError:
        for file in ("engine.log", "n1.log", "n2.log", "n3.log"):
            print(file, (await anyio.Path(lab.run_dir, file).read_text())[-2000:])
        for kind in ("/api/v1/nodes", "/api/v1/pods", "/apis/apps/v1/daemonsets", "/api/v1/events"):
            print(kind, (await lab.api.raw("GET", kind)).decode()[:10000])
        raise


def shell_pod(name: str, script: str, **spec: object) -> dict[str, object]:
    """A Pod that runs a shell script; it ends on SIGTERM unless the script says otherwise."""
    container = {"name": name, "image": "debian:12", "command": ["sh", "-c", script]}
    for field in ("env", "volumeMounts", "securityContext", "livenessProbe", "readinessProbe"):
        if field in spec:
            container[field] = spec.pop(field)  # type: ignore[assignment]
    whole = {"containers": [container], "terminationGracePeriodSeconds": 1, **spec}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": whole,
    }


def service(name: str, port: int, **spec: object) -> dict[str, object]:
    ports = [{"name": "p", "port": port, "targetPort": port}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": ports, **spec},
    }


async def pod(lab: Lab, name: str) -> Pod:
    return await lab.api.get(f"{PODS}/{name}", Pod)


async def until(lab: Lab, name: str, what: str, holds: Callable[[Pod], bool]) -> Pod:
    """Wait for a Pod to be as described."""

    async def there() -> Pod | None:
        found = await pod(lab, name)
        return found if holds(found) else None

    found = await wait(lab, there, SOON_S, f"pod {name} {what}")
    assert found is not None
    return found


async def log(lab: Lab, name: str, ending: str = "done\n") -> str:
    """The log of a Pod once its script has written the last line."""

    async def whole() -> str:
        text = (await lab.api.raw("GET", f"{PODS}/{name}/log")).decode()
        return text if text.endswith(ending) else ""

    return await wait(lab, whole, SOON_S, f"log of {name} ends with {ending!r}")


async def delete(lab: Lab, *names: str) -> None:
    """Delete Pods and wait until they have gone."""
    for name in names:
        await lab.api.delete(f"{PODS}/{name}")

    async def gone() -> bool:
        pods, _ = await lab.api.list(PODS, Pod)
        return not {p.metadata.name for p in pods} & set(names)

    await wait(lab, gone, SOON_S, f"pods {names} gone")


async def endpoints(lab: Lab, name: str) -> list[Endpoint]:
    found, _ = await lab.api.list(
        "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
        EndpointSlice,
        label_selector=f"kubernetes.io/service-name={name}",
    )
    return [endpoint for one in found for endpoint in one.endpoints or ()]


async def ready_on(lab: Lab, name: str, nodes: Sequence[str]) -> None:
    async def there() -> bool:
        return sorted(str(e.node_name) for e in await endpoints(lab, name) if e.conditions.ready) == list(
            nodes
        )

    await wait(lab, there, SOON_S, f"endpoints of {name} ready on {nodes}")


# -- containers -------------------------------------------------------------------------------------------


async def test_nodes_are_what_the_plan_says(lab: Lab) -> None:
    nodes, _ = await lab.api.list("/api/v1/nodes", Node)
    assert [n.metadata.name for n in nodes] == ["n1", "n2", "n3"]
    assert [n.spec.pod_cidr for n in nodes] == ["198.19.65.0/24", "198.19.66.0/24", "198.19.67.0/24"]
    code, text = await lab.run("client", ["ip", "neigh", "show", "198.18.0.12"])
    assert code == 0
    code, text = await lab.run("n2", ["ip", "-br", "link", "show", "eth0"])
    assert lab.node_mac("n2") in text
    assert lab.node_address("n2") == "198.18.0.12"


async def test_environment_mounts_and_identity(lab: Lab) -> None:
    await lab.apply(
        [
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "hush"},
                "stringData": {"key": "a secret", "more": "x"},
            },
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "conf"},
                "data": {"file": "a config"},
            },
        ]
    )
    script = """
        env | grep ^T_; echo "sa $(cat /var/run/secrets/kubernetes.io/serviceaccount/namespace)"
        grep -c CERTIFICATE /var/run/secrets/kubernetes.io/serviceaccount/ca.crt
        echo "api $KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT"
        echo "files $(cat /etc/made/here/key) $(cat /conf/file) $(stat -c %a /etc/made/here/key)"
        echo x > /scratch/x && echo scratch; (echo x > /etc/made/here/new) 2>/dev/null || echo kept
        (echo x > /tmp/x) 2>/dev/null || echo no-tmp; (echo x > /etc/x) 2>/dev/null || echo no-etc
        echo "pid $$$$ host $(hostname)"; grep -E '^(CapBnd|CapEff|NoNewPrivs)' /proc/self/status
        ls /etc/passwd; ls /sys/class/net; (echo 1 > /proc/sys/kernel/printk) 2>/dev/null || echo no-sysctl
        echo done; sleep 1000"""
    await lab.apply(
        shell_pod(
            "identity",
            script,
            nodeName="n2",
            env=[
                {"name": "T_NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                {"name": "T_HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
                {"name": "T_POD", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "T_SECRET", "valueFrom": {"secretKeyRef": {"name": "hush", "key": "key"}}},
            ],
            volumes=[
                {"name": "s", "secret": {"secretName": "hush", "defaultMode": 0o400}},
                {"name": "c", "configMap": {"name": "conf"}},
                {"name": "e", "emptyDir": {}},
            ],
            volumeMounts=[
                {"name": "s", "mountPath": "/etc/made/here", "readOnly": True},
                {"name": "c", "mountPath": "/conf"},
                {"name": "e", "mountPath": "/scratch"},
            ],
            securityContext={
                "readOnlyRootFilesystem": True,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"], "add": ["NET_RAW"]},
            },
        )
    )
    text = await log(lab, "identity")
    address = (await pod(lab, "identity")).status.pod_ip
    assert address.startswith("198.19.66.")
    for line in (
        "T_NODE=n2",
        "T_HOST=198.18.0.12",
        f"T_POD={address}",
        "T_SECRET=a secret",
        "sa default",
        "2",
        "api 198.19.0.1:6443",
        "files a secret a config 400",
        "scratch",
        "kept",
        "no-tmp",
        "no-etc",
        "pid 1 host identity",
        "CapBnd:\t0000000000002000",
        "CapEff:\t0000000000002000",
        "NoNewPrivs:\t1",
        "/etc/passwd",
        "eth0",
        "no-sysctl",
    ):
        assert line in text.splitlines(), f"{line!r} is not in\n{text}"
    assert "made" not in os.listdir("/etc")
    await delete(lab, "identity")


async def test_a_changed_secret_reaches_a_running_container(lab: Lab) -> None:
    def secret(word: str) -> dict[str, object]:
        meta = {"name": "turns"}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"word": word}}

    await lab.apply(secret("before"))
    await lab.apply(
        shell_pod(
            "turns",
            "cat /s/word; until grep -q after /s/word; do sleep 0.2; done; echo; cat /s/word; echo; echo done; sleep 1000",
            volumes=[{"name": "s", "secret": {"secretName": "turns"}}],
            volumeMounts=[{"name": "s", "mountPath": "/s"}],
        )
    )
    await log(lab, "turns", "before")
    await lab.apply(secret("after"))
    assert (await log(lab, "turns")).split() == ["before", "after", "done"]
    await delete(lab, "turns")


async def test_a_container_runs_as_the_user_it_asks_for(lab: Lab) -> None:
    context = {"runAsUser": 65534, "runAsGroup": 65534, "capabilities": {"drop": ["ALL"]}}
    script = (
        "id -u; id -g; grep CapEff /proc/self/status; echo x > /tmp/x && echo writes; echo done; sleep 1000"
    )
    await lab.apply(shell_pod("user", script, securityContext=context))
    assert (await log(lab, "user")).split()[:5] == ["65534", "65534", "CapEff:", "0000000000000000", "writes"]
    await delete(lab, "user")


async def test_a_missing_secret_keeps_a_container_waiting_until_it_is_there(lab: Lab) -> None:
    env = [{"name": "K", "valueFrom": {"secretKeyRef": {"name": "late", "key": "k"}}}]
    await lab.apply(shell_pod("waits", "echo got $K; echo done; sleep 1000", env=env))
    found = await until(lab, "waits", "waits", lambda p: "CreateContainerConfigError" in waiting_reasons(p))
    assert found.status.phase == "Pending"
    (status,) = found.status.container_statuses
    assert status.state.waiting is not None
    assert status.state.waiting.message == 'secret "late" not found'
    await lab.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "late"}, "stringData": {"k": "it"}}
    )
    assert "got it\n" in await log(lab, "waits")
    await delete(lab, "waits")


def restarts(found: Pod) -> int:
    return sum(s.restart_count for s in found.status.container_statuses)


def waiting_reasons(found: Pod) -> list[str]:
    return [s.state.waiting.reason for s in found.status.container_statuses if s.state.waiting is not None]


async def test_a_container_that_ends_is_restarted_with_back_off(lab: Lab) -> None:
    await lab.apply(shell_pod("crash", "exit 3"))
    found = await until(lab, "crash", "backs off", lambda p: "CrashLoopBackOff" in waiting_reasons(p))
    (status,) = found.status.container_statuses
    assert status.restart_count >= 1
    assert status.last_state.terminated is not None
    assert status.last_state.terminated.exit_code == 3
    found = await until(lab, "crash", "again", lambda p: restarts(p) >= 3)
    await delete(lab, "crash")


async def test_unknown_images_and_programs_are_named(lab: Lab) -> None:
    image = shell_pod("noimage", "")
    image["spec"] = {"containers": [{"name": "c", "image": "registry.example/x:1"}]}
    program = shell_pod("noprogram", "")
    program["spec"] = {"containers": [{"name": "c", "image": "debian:12", "command": ["/no/such"]}]}
    await lab.apply([image, program])
    found = await until(lab, "noimage", "is refused", lambda p: waiting_reasons(p) == ["ErrImagePull"])
    assert found.status.container_statuses[0].state.waiting is not None
    assert "registry.example/x:1" in found.status.container_statuses[0].state.waiting.message
    found = await until(lab, "noprogram", "is refused", lambda p: waiting_reasons(p) == ["RunContainerError"])
    assert found.status.container_statuses[0].state.waiting is not None
    assert "/no/such" in found.status.container_statuses[0].state.waiting.message
    await delete(lab, "noimage", "noprogram")


async def test_deletion_sends_sigterm_and_then_sigkill(lab: Lab) -> None:
    polite = "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.1; done"
    stubborn = "trap 'echo no' TERM; echo ready; while :; do sleep 0.1; done"
    await lab.apply(
        [shell_pod("polite", polite, nodeName="n1"), shell_pod("stubborn", stubborn, nodeName="n1")]
    )
    await log(lab, "polite", "ready\n")
    await log(lab, "stubborn", "ready\n")
    await delete(lab, "polite", "stubborn")
    (kept,) = lab.container_logs("n1", "polite")
    assert kept.read_text().endswith("bye\n")
    (kept,) = lab.container_logs("n1", "stubborn")
    assert "no\n" in kept.read_text()


async def test_a_killed_container_comes_back_at_once(lab: Lab) -> None:
    await lab.apply(shell_pod("victim", "echo up; sleep 1000", nodeName="n3"))
    await log(lab, "victim", "up\n")
    before = time.monotonic()
    at = await lab.kill("n3", "victim", signal.SIGKILL)
    assert before <= at <= time.monotonic()
    found = await until(lab, "victim", "restarted", lambda p: restarts(p) == 1)
    found = await until(
        lab, "victim", "runs", lambda p: p.status.container_statuses[0].state.running is not None
    )
    last = found.status.container_statuses[0].last_state.terminated
    assert last is not None
    assert last.exit_code == 137
    await delete(lab, "victim")


async def test_probes(lab: Lab) -> None:
    """Ready only while the port is open; killed when the liveness probe fails."""
    probe = {"tcpSocket": {"port": 7}, "periodSeconds": 1, "failureThreshold": 1}
    echo = {"name": "probed", "image": "vipring/echo:v1", "readinessProbe": probe}
    await lab.apply(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probed"}, "spec": {"containers": [echo]}}
    )
    await until(lab, "probed", "is ready", lambda p: p.ready)
    dead = {"httpGet": {"port": 81}, "periodSeconds": 1, "failureThreshold": 2}
    await lab.apply(shell_pod("unlively", "sleep 1000", livenessProbe=dead))
    found = await until(lab, "unlively", "restarted", lambda p: restarts(p) >= 1)
    assert not found.finished
    await delete(lab, "probed", "unlively")


async def test_a_pod_that_runs_to_its_end_stays_and_says_how(lab: Lab) -> None:
    await lab.apply(
        [
            shell_pod("good", "exit 0", restartPolicy="Never"),
            shell_pod("bad", "exit 9", restartPolicy="Never"),
        ]
    )
    await until(lab, "good", "succeeds", lambda p: p.status.phase == "Succeeded")
    await until(lab, "bad", "fails", lambda p: p.status.phase == "Failed")
    await delete(lab, "good", "bad")


# -- workloads and the data path --------------------------------------------------------------------------


async def test_a_daemon_set_covers_the_nodes_and_rolls(lab: Lab) -> None:
    def daemons(word: str) -> dict[str, object]:
        spec = {"containers": [{"name": "d", "image": "debian:12", "command": ["sleep", word]}]}
        template = {
            "metadata": {"labels": {"app": "d"}},
            "spec": {**spec, "terminationGracePeriodSeconds": 0},
        }
        whole = {"selector": {"matchLabels": {"app": "d"}}, "template": template}
        return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d"}, "spec": whole}

    async def running(word: str) -> bool:
        pods, _ = await lab.api.list(PODS, Pod, label_selector="app=d")
        return sorted((p.spec.node_name, p.ready, p.spec.containers[0].command[-1]) for p in pods) == [
            (name, True, word) for name in ("n1", "n2", "n3")
        ]

    await lab.apply(daemons("1000"))
    await wait(lab, lambda: running("1000"), SOON_S, "a daemon on each node")
    await lab.apply(daemons("2000"))
    await wait(lab, lambda: running("2000"), SOON_S, "the changed daemons on each node")
    path = "/apis/apps/v1/namespaces/default/daemonsets/d"
    await lab.api.delete(path)

    async def gone() -> bool:
        pods, _ = await lab.api.list(PODS, Pod, label_selector="app=d")
        return not pods

    await wait(lab, gone, SOON_S, "the daemons gone")
    with pytest.raises(ApiError):
        await lab.api.get(path, DaemonSet)


async def get(lab: Lab, host: str, url: str) -> tuple[int, str]:
    return await lab.run(host, ["curl", "-sS", "--max-time", "2", "-o", "-", "-D", "-", url])


async def test_nginx_behind_a_service(lab: Lab) -> None:
    container = {
        "name": "nginx",
        "image": "nginx:1",
        "readinessProbe": {"httpGet": {"port": 80}, "periodSeconds": 1},
    }
    for node in ("n1", "n2"):
        spec = {"nodeName": node, "containers": [container], "terminationGracePeriodSeconds": 1}
        meta = {"name": f"web-{node}", "labels": {"app": "web"}}
        await lab.apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
    await lab.apply(service("web", 80, type="LoadBalancer"))
    await ready_on(lab, "web", ["n1", "n2"])
    path = "/api/v1/namespaces/default/services/web"
    await lab.api.patch(
        f"{path}/status", {"status": {"loadBalancer": {"ingress": [{"ip": VIP}]}}}, msgspec.Raw
    )
    neighbour = ["ip", "neigh", "replace", VIP, "lladdr", lab.node_mac("n3"), "dev", "eth0"]
    assert (await lab.run("client", neighbour))[0] == 0

    async def both() -> bool:
        answers = [await get(lab, "client", f"http://{VIP}/") for _ in range(8)]
        return {"X-Pod: web-n1", "X-Pod: web-n2"} <= {
            line.strip() for code, text in answers if code == 0 for line in text.splitlines()
        }

    await wait(lab, both, SOON_S, "both Pods answer through the VIP on a third node")
    answer = await get(lab, "client", f"http://{VIP}/")
    assert "200 OK" in answer[1]
    assert "Welcome to nginx!" in answer[1]

    address = (await lab.api.get(path, Service)).spec.cluster_ip
    assert (await get(lab, "n3", f"http://{address}/"))[0] == 0

    await lab.api.patch(path, {"spec": {"externalTrafficPolicy": "Local"}}, msgspec.Raw)

    async def lost() -> bool:
        return (await get(lab, "client", f"http://{VIP}/"))[0] == 28

    await wait(lab, lost, SOON_S, "no answer from a node without endpoints under policy Local")
    neighbour[neighbour.index(lab.node_mac("n3"))] = lab.node_mac("n1")
    assert (await lab.run("client", neighbour))[0] == 0
    for _ in range(4):
        assert "X-Pod: web-n1" in (await get(lab, "client", f"http://{VIP}/"))[1]
    seen = (await lab.api.raw("GET", f"{PODS}/web-n1/log")).decode()
    assert "198.18.0.2 - - " in seen.splitlines()[-1], "policy Local keeps the client's address"
    await lab.api.delete(path)
    await delete(lab, "web-n1", "web-n2")


_TALK = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.2)
end, heard = time.monotonic() + float(sys.argv[2]), []
while time.monotonic() < end:
    s.sendto(b"x", (sys.argv[1], 7))
    try:
        word = s.recv(99).split()[0].decode()
        time.sleep(0.02)
    except OSError:
        continue
    if heard[-1:] != [word]:
        heard.append(word); print(word, flush=True)
    if len(heard) == 2:
        break
"""


async def test_a_udp_client_that_keeps_its_port_is_led_to_an_endpoint_that_lives(lab: Lab) -> None:
    for node in ("n1", "n2"):
        container = {"name": "talk", "image": "vipring/echo:v1"}
        spec = {"nodeName": node, "containers": [container], "terminationGracePeriodSeconds": 1}
        meta = {"name": f"talk-{node}", "labels": {"app": "talk" if node == "n1" else "later"}}
        await lab.apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
    ports = [{"name": "u", "port": 7, "protocol": "UDP"}]
    await lab.apply(service("talk", 7, type="LoadBalancer", ports=ports, externalIPs=[VIP]))
    await ready_on(lab, "talk", ["n1"])
    neighbour = ["ip", "neigh", "replace", VIP, "lladdr", lab.node_mac("n3"), "dev", "eth0"]
    assert (await lab.run("client", neighbour))[0] == 0
    client = await lab.client_exec([sys.executable, "-c", _TALK, VIP, str(SOON_S)], stdout=subprocess.PIPE)
    assert client.stdout is not None
    words = BufferedByteReceiveStream(client.stdout)
    assert await words.receive_until(b"\n", 99) == b"talk-n1"
    await lab.api.patch(f"{PODS}/talk-n2", {"metadata": {"labels": {"app": "talk"}}}, msgspec.Raw)
    await ready_on(lab, "talk", ["n1", "n2"])
    await delete(lab, "talk-n1")
    with anyio.fail_after(SOON_S):
        assert await words.receive_until(b"\n", 99) == b"talk-n2"
        assert await client.wait() == 0
    await lab.api.delete("/api/v1/namespaces/default/services/talk")
    await delete(lab, "talk-n2")


# -- nodes ------------------------------------------------------------------------------------------------


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


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


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


# -- the end ----------------------------------------------------------------------------------------------


def start(prefix: Sequence[str], directory: Path) -> tuple[subprocess.Popen[str], str]:
    """`python -m chaos.lab` in a process of its own; what it printed until it was up."""
    process = subprocess.Popen(
        [*prefix, sys.executable, "-m", "chaos.lab", "--nodes", "1", "--no-install"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": str(directory)},
    )
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if line.startswith("stop with"):
            return process, said
    process.wait()
    raise AssertionError(f"the lab did not start:\n{said}")


def left(directory: Path) -> dict[int, str]:
    """Processes that have to do with labs of this directory."""
    pids = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return {pid: command(pid) for pid in pids if str(directory) in command(pid)}


def namespaces(pids: Sequence[int]) -> set[str]:
    return {os.readlink(f"/proc/{pid}/ns/net") for pid in pids}


def in_use() -> set[str]:
    found = set()
    for path in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            found.add(os.readlink(path))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("prefix", [(), ("unshare", "-Urn")], ids=["as this user", "in a user namespace"])
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_a_lab(ending: signal.Signals, prefix: Sequence[str], tmp_path: Path) -> None:
    process, said = start(prefix, tmp_path)
    assert "export KUBECONFIG=" in said
    lives = left(tmp_path)
    assert len(lives) >= 3, "launcher, engine and agent"
    made = namespaces(list(lives)) - namespaces([os.getpid(), process.pid])
    assert made
    process.send_signal(ending)
    assert process.wait(timeout=20) == (-signal.SIGKILL if ending == signal.SIGKILL else 0)
    assert process.stdout is not None
    process.stdout.close()
    deadline = time.monotonic() + SOON_S
    while time.monotonic() < deadline and (left(tmp_path) or list(tmp_path.iterdir())):
        time.sleep(0.05)
    assert left(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []
    assert not made & in_use()


async def test_a_lab_cleans_up_after_an_error_in_its_body() -> None:
    directory: Path | None = None

    async def fails() -> None:
        nonlocal directory
        async with Lab(1) as running:
            directory = running.run_dir
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fails()
    assert directory is not None
    assert directory.name not in os.listdir(directory.parent)
    assert left(directory) == {}


async def test_a_cancelled_lab_cleans_up() -> None:
    directory: Path | None = None
    with anyio.move_on_after(10) as scope:
        async with Lab(1) as running:
            directory = running.run_dir
            scope.cancel()
            await anyio.sleep_forever()
    assert directory is not None
    assert directory.name not in os.listdir(directory.parent)
    assert left(directory) == {}


def test_who_may_not_make_namespaces_gets_one_line() -> None:
    script = (
        "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all --inh-caps=-all "
    )
    script += f"{sys.executable} -m chaos.lab --no-install --nodes 1"
    done = subprocess.run(
        ["unshare", "-Ur", "sh", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("lab: the lab did not start: this process may make neither namespaces nor")


async def test_a_wrong_number_of_nodes_is_refused() -> None:
    with pytest.raises(LabError, match=r"^nodes: must be between 1 and 60, is 61$"):
        Lab(61)


@pytest.mark.timeout(200)
def test_the_same_in_a_user_namespace() -> None:
    """As root above, and once more where this process's only uid is its own."""
    done = subprocess.run(
        [
            "unshare",
            "-Urn",
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            __file__,
            "-k",
            "identity or user_it or nginx or power",
        ],
        capture_output=True,
        text=True,
        timeout=190,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout
