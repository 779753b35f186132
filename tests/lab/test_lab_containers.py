"""The cluster in a box: containers run as their objects say."""

from __future__ import annotations

import os
import signal
import time

import pytest

from chaos.lab.lab import Lab
from chaos.lab.objects import Node, Pod
from tests.lab.box import (
    delete,
    log,
    pod,
    restarts,
    shell_pod,
    until,
)

pytestmark = pytest.mark.timeout(120)


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
