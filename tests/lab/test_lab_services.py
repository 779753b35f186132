"""The cluster in a box: DaemonSets cover the nodes, and Services reach their Pods."""

from __future__ import annotations

import subprocess
import sys

import anyio
import msgspec
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from chaos.lab.lab import Lab
from chaos.lab.objects import DaemonSet, Pod, Service
from cluster.errors import ApiError
from tests.lab.box import (
    PODS,
    SOON_S,
    delete,
    ready_on,
    service,
    wait,
)

pytestmark = pytest.mark.timeout(120)
VIP = "198.18.1.77"


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
