"""The embedded API server as kubectl sees it. Any kubectl from 1.20 on must pass."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typing_extensions import override

from tests.contract.client import DEADLINE_S, Api, Obj
from tests.contract.server import embedded

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
        - name: nginx
          image: nginx:1
          ports: [{containerPort: 80, name: http}]
          env: [{name: A, value: "1"}, {name: B, value: "2"}]
---
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  type: LoadBalancer
  selector: {app: web}
  ports: [{port: 80, targetPort: http, name: http}]
"""

CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: pools.example.com
spec:
  group: example.com
  scope: Namespaced
  names: {plural: pools, singular: pool, kind: Pool, shortNames: [pl]}
  versions:
    - name: v1
      served: true
      storage: true
      subresources: {status: {}}
      additionalPrinterColumns:
        - {name: Auto, type: boolean, jsonPath: .spec.auto}
        - {name: Ranges, type: string, jsonPath: .spec.ranges}
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              properties:
                auto: {type: boolean, default: true}
                ranges: {type: array, items: {type: string}}
            status: {type: object, x-kubernetes-preserve-unknown-fields: true}
"""

POOL = """
apiVersion: example.com/v1
kind: Pool
metadata:
  name: first
spec:
  ranges: ["198.18.1.0/24"]
"""


class Kubectl:
    """Runs kubectl against one server, in one namespace."""

    def __init__(self, kubeconfig: Path, home: Path, namespace: str) -> None:
        found = os.environ.get("VIPRING_KUBECTL") or shutil.which("kubectl")
        if found is None:
            pytest.fail("kubectl is missing; install it with: sudo apt-get install kubernetes-client")
        self.program = found
        self.namespace = namespace
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(home), "KUBECONFIG": str(kubeconfig)}

    def command(self, *arguments: str) -> list[str]:
        return [self.program, f"--namespace={self.namespace}", *arguments]

    def __call__(self, *arguments: str, stdin: str = "", fails: bool = False) -> str:
        """Output of one command; of what it says on stderr when it is to fail."""
        done = subprocess.run(
            self.command(*arguments),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            env=self.environment,
            check=False,
        )
        shown = f"kubectl {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert (done.returncode != 0) is fails, shown
        return done.stderr if fails else done.stdout

    def json(self, *arguments: str) -> Obj:
        found: Obj = json.loads(self("get", *arguments, "-o", "json"))
        return found


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def own_api(tmp_path_factory: pytest.TempPathFactory, logs: Path) -> Iterator[Api]:
    with embedded(tmp_path_factory.mktemp("kubectl"), "--logs", str(logs)) as endpoint:
        api = Api(endpoint)
        with api.http:
            yield api


@pytest.fixture(scope="module")
def k(own_api: Api, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    assert own_api.endpoint.kubeconfig is not None
    found = Kubectl(own_api.endpoint.kubeconfig, tmp_path_factory.mktemp("home"), "shop")
    assert found("create", "namespace", "shop") == "namespace/shop created\n"
    return found


def _cells(output: str) -> list[list[str]]:
    """Rows of a printed table; columns are two or more spaces apart."""
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in output.splitlines()]


def _pod(name: str, node: str = "", **labels: str) -> Obj:
    spec: Obj = {"containers": [{"name": "main", "image": "nginx:1", "ports": [{"containerPort": 80}]}]}
    if node:
        spec["nodeName"] = node
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


def _run(api: Api, namespace: str, pod: Obj, ip: str) -> None:
    """Create a Pod and say of it what its node would."""
    path = f"/api/v1/namespaces/{namespace}/pods"
    api.post(path, pod)
    state = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    containers = [{"name": "main", "ready": True, "restartCount": 1, "state": state, "image": "nginx:1"}]
    conditions = [{"type": "Ready", "status": "True"}]
    status: dict[str, Any] = {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}
    status |= {"containerStatuses": containers, "conditions": conditions}
    api.patch(f"{path}/{pod['metadata']['name']}/status", {"status": status})


def test_apply_creates_then_knows_what_is_unchanged(k: Kubectl) -> None:
    assert k("apply", "-f", "-", stdin=WEB).splitlines() == [
        "deployment.apps/web created",
        "service/web created",
    ]
    assert k("apply", "-f", "-", stdin=WEB).splitlines() == [
        "deployment.apps/web unchanged",
        "service/web unchanged",
    ]
    changed = WEB.replace("image: nginx:1", "image: nginx:2").replace(', {name: B, value: "2"}', "")
    assert k("apply", "-f", "-", stdin=changed).splitlines() == [
        "deployment.apps/web configured",
        "service/web unchanged",
    ]
    container = k.json("deployment", "web")["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "nginx:2"
    assert [variable["name"] for variable in container["env"]] == ["A"]
    assert container["ports"][0]["containerPort"] == 80


def test_services_have_their_columns(k: Kubectl, own_api: Api) -> None:
    k("apply", "-f", "-", stdin=WEB)
    header, *rows = _cells(k("get", "svc", "-A"))
    assert header == ["NAMESPACE", "NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]
    assert {row[1]: row[4] for row in rows} == {"kubernetes": "<none>", "web": "<pending>"}
    path = "/api/v1/namespaces/shop/services/web/status"
    own_api.patch(path, {"status": {"loadBalancer": {"ingress": [{"ip": "198.18.1.0"}]}}})
    header, row = _cells(k("get", "service", "web", "-o", "wide"))
    assert header[-1] == "SELECTOR"
    assert (row[3], row[-1]) == ("198.18.1.0", "app=web")
    assert "LoadBalancer Ingress:" in k("describe", "svc", "web")


def test_the_memberlist_secret(k: Kubectl) -> None:
    said = k("create", "secret", "generic", "memberlist", "--from-literal=secretkey=x")
    assert said == "secret/memberlist created\n"
    assert k.json("secret", "memberlist")["data"] == {"secretkey": "eA=="}
    assert _cells(k("get", "secrets"))[1][:3] == ["memberlist", "Opaque", "1"]
    error = k("create", "secret", "generic", "memberlist", "--from-literal=secretkey=y", fails=True)
    assert 'secrets "memberlist" already exists' in error


def test_create_by_name(k: Kubectl) -> None:
    k("create", "configmap", "config", "--from-literal=config=address-pools: []")
    assert k.json("configmap", "config")["data"] == {"config": "address-pools: []"}
    k("create", "deployment", "quick", "--image=nginx:1")
    assert k.json("deployment", "quick")["spec"]["replicas"] == 1
    k("expose", "deployment", "quick", "--port=80", "--type=LoadBalancer")
    assert k.json("service", "quick")["spec"]["selector"] == {"app": "quick"}
    k("create", "serviceaccount", "robot")
    k("create", "role", "reader", "--verb=get,list", "--resource=pods")
    k("create", "rolebinding", "reader", "--role=reader", "--serviceaccount=shop:robot")
    assert _cells(k("get", "rolebinding", "reader"))[1][:2] == ["reader", "Role/reader"]


def test_small_changes(k: Kubectl) -> None:
    k("create", "deployment", "small", "--image=nginx:1")
    k("label", "deployment", "small", "tier=front")
    k("annotate", "deployment", "small", "note=one two")
    assert k("scale", "deployment", "small", "--replicas=3") == "deployment.apps/small scaled\n"
    k("set", "image", "deployment/small", "nginx=nginx:3")
    k("patch", "deployment", "small", "-p", '{"spec":{"minReadySeconds":4}}')
    k("patch", "deployment", "small", "--type=merge", "-p", '{"spec":{"paused":true}}')
    removal = '[{"op":"remove","path":"/metadata/labels/tier"}]'
    k("patch", "deployment", "small", "--type=json", "-p", removal)
    found = k.json("deployment", "small")
    assert found["spec"]["replicas"] == 3
    assert (found["spec"]["minReadySeconds"], found["spec"]["paused"]) == (4, True)
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:3"
    assert found["metadata"]["annotations"]["note"] == "one two"
    assert "tier" not in found["metadata"]["labels"]


def test_pods_and_their_logs(k: Kubectl, own_api: Api, logs: Path) -> None:
    _run(own_api, "shop", _pod("talker", app="talk"), "198.19.65.2")
    header, row = _cells(k("get", "pods", "-l", "app=talk", "-o", "wide"))
    assert header[:5] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert header[5:] == ["IP", "NODE", "NOMINATED NODE", "READINESS GATES"]
    assert row[:4] == ["talker", "1/1", "Running", "1"]
    assert row[5:] == ["198.19.65.2", "<none>", "<none>", "<none>"]
    assert "Status:" in k("describe", "pod", "talker")

    log = logs / "shop_talker_main.log"
    log.write_text("one\ntwo\nthree\n")
    assert k("logs", "talker") == "one\ntwo\nthree\n"
    assert k("logs", "talker", "-c", "main", "--tail=1") == "three\n"
    assert "not found" in k("logs", "talker", "--previous", fails=True)
    labels = {"app": "talk"}
    template = {"metadata": {"labels": labels}, "spec": _pod("x")["spec"]}
    meta = {"name": "talk", "namespace": "shop"}
    workload = {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": meta}
    workload["spec"] = {"selector": {"matchLabels": labels}, "template": template}
    k("create", "-f", "-", stdin=json.dumps(workload))
    assert k("logs", "ds/talk", "--tail=2") == "two\nthree\n"
    header, row = _cells(k("get", "ds"))
    assert header[:6] == ["NAME", "DESIRED", "CURRENT", "READY", "UP-TO-DATE", "AVAILABLE"]


def test_logs_are_followed(k: Kubectl, own_api: Api, logs: Path) -> None:
    _run(own_api, "shop", _pod("streamer"), "198.19.65.3")
    log = logs / "shop_streamer_main.log"
    log.write_text("first\n")
    command = k.command("logs", "-f", "streamer")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=k.environment) as follower:
        try:
            assert follower.stdout is not None
            assert follower.stdout.readline() == "first\n"
            with log.open("a") as more:
                more.write("second\n")
            assert follower.stdout.readline() == "second\n"
        finally:
            follower.kill()


def test_watching_prints_each_change(k: Kubectl) -> None:
    k("create", "configmap", "watched")
    command = k.command("get", "configmap", "watched", "-w", "--no-headers", "-o", "name")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=k.environment) as watcher:
        try:
            assert watcher.stdout is not None
            assert watcher.stdout.readline() == "configmap/watched\n"
            k("label", "configmap", "watched", "a=b")
            assert watcher.stdout.readline() == "configmap/watched\n"
        finally:
            watcher.kill()


def test_watching_tables(k: Kubectl) -> None:
    command = k.command("get", "svc", "-w")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=k.environment) as watcher:
        try:
            assert watcher.stdout is not None
            assert watcher.stdout.readline().split()[:3] == ["NAME", "TYPE", "CLUSTER-IP"]
            k("create", "service", "clusterip", "tabled", "--tcp=80")
            deadline = time.monotonic() + DEADLINE_S
            while (line := watcher.stdout.readline()).split()[0] != "tabled":
                assert time.monotonic() < deadline, line
            assert line.split()[1] == "ClusterIP"
        finally:
            watcher.kill()


def test_delete(k: Kubectl) -> None:
    k("apply", "-f", "-", stdin=WEB)
    said = k("delete", "-f", "-", stdin=WEB).splitlines()
    assert [line.split(" deleted")[0] for line in said] == ['deployment.apps "web"', 'service "web"']
    assert 'services "web" not found' in k("get", "svc", "web", fails=True)
    for name in ("bulk-1", "bulk-2"):
        k("create", "configmap", name)
        k("label", "configmap", name, "bulk=yes")
    k("delete", "configmap", "-l", "bulk=yes")
    assert "bulk" not in k("get", "configmap")


def test_delete_waits_for_the_node_of_a_pod(k: Kubectl, own_api: Api) -> None:
    _run(own_api, "shop", _pod("placed", node="n1"), "198.19.65.4")
    path = "/api/v1/namespaces/shop/pods/placed"
    command = k.command("delete", "pod", "placed")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=k.environment) as deleter:
        try:
            deadline = time.monotonic() + DEADLINE_S
            while "deletionTimestamp" not in own_api.get(path)["metadata"]:
                assert time.monotonic() < deadline, "the pod was not marked for deletion"
                time.sleep(0.05)
            assert _cells(k("get", "pod", "placed"))[1][2] == "Terminating"
            assert deleter.poll() is None
            own_api.call("DELETE", path, {"gracePeriodSeconds": 0})
            assert deleter.wait(DEADLINE_S) == 0
        finally:
            deleter.kill()
    own_api.refused("GET", path, code=404, reason="NotFound")


def test_raw_paths_and_the_proxy(k: Kubectl, own_api: Api) -> None:
    assert json.loads(k("get", "--raw", "/version"))["major"] == "1"

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f"asked for {self.path}".encode()
            self.send_response(200)
            self.send_header("content-type", "text/plain")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        @override
        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
        port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            _run(own_api, "shop", _pod("page"), "127.0.0.1")
            path = f"/api/v1/namespaces/shop/pods/page:{port}/proxy/status?full=1"
            assert k("get", "--raw", path) == "asked for /status?full=1"
        finally:
            server.shutdown()
            thread.join()
    error = k("get", "--raw", f"/api/v1/namespaces/shop/pods/page:{port}/proxy/", fails=True)
    assert "error trying to reach service" in error or "ServiceUnavailable" in error


def test_rollout_status_believes_the_status(k: Kubectl, own_api: Api) -> None:
    k("create", "deployment", "rolled", "--image=nginx:1")
    status = {
        "observedGeneration": 1,
        "replicas": 1,
        "updatedReplicas": 1,
        "readyReplicas": 1,
        "availableReplicas": 1,
    }
    own_api.patch("/apis/apps/v1/namespaces/shop/deployments/rolled/status", {"status": status})
    assert "successfully rolled out" in k("rollout", "status", "deployment/rolled")
    assert k("rollout", "restart", "deployment/rolled") == "deployment.apps/rolled restarted\n"
    assert _cells(k("get", "deployment", "rolled"))[1][1] == "1/1"


def test_waiting_for_a_condition(k: Kubectl, own_api: Api) -> None:
    _run(own_api, "shop", _pod("prompt"), "198.19.65.5")
    assert "condition met" in k("wait", "--for=condition=Ready", "pod/prompt", "--timeout=10s")


def test_nodes_and_events(k: Kubectl, own_api: Api) -> None:
    own_api.post("/api/v1/nodes", {"metadata": {"name": "n1", "labels": {"kubernetes.io/hostname": "n1"}}})
    conditions = [{"type": "Ready", "status": "True"}]
    addresses = [{"type": "InternalIP", "address": "198.18.0.11"}]
    status = {"conditions": conditions, "addresses": addresses, "nodeInfo": {"kubeletVersion": "v1"}}
    own_api.patch("/api/v1/nodes/n1/status", {"status": status})
    header, row = _cells(k("get", "nodes", "-o", "wide"))
    assert header[:6] == ["NAME", "STATUS", "ROLES", "AGE", "VERSION", "INTERNAL-IP"]
    assert (row[:3], row[5]) == (["n1", "Ready", "<none>"], "198.18.0.11")
    assert "InternalIP:" in k("describe", "node", "n1")

    k("create", "service", "loadbalancer", "told", "--tcp=80")
    service = k.json("service", "told")
    about = {"kind": "Service", "namespace": "shop", "name": "told", "uid": service["metadata"]["uid"]}
    own_api.post(
        "/api/v1/namespaces/shop/events",
        {
            "metadata": {"name": "told.1"},
            "involvedObject": {"apiVersion": "v1", **about},
            "reason": "IPAllocated",
            "message": "Assigned IP 198.18.1.1",
            "type": "Normal",
            "count": 1,
            "firstTimestamp": service["metadata"]["creationTimestamp"],
            "lastTimestamp": service["metadata"]["creationTimestamp"],
            "source": {"component": "metallb-controller"},
        },
    )
    assert "IPAllocated" in k("describe", "service", "told")
    row = _cells(k("get", "events"))[1]
    assert row[1:5] == ["Normal", "IPAllocated", "service/told", "Assigned IP 198.18.1.1"]


def test_a_custom_kind_is_served_at_once(k: Kubectl, own_api: Api) -> None:
    assert "created" in k("apply", "-f", "-", stdin=CRD)
    assert "created" in k("apply", "-f", "-", stdin=POOL)
    assert "unchanged" in k("apply", "-f", "-", stdin=POOL)
    header, row = _cells(k("get", "pl"))
    assert header == ["NAME", "AUTO", "RANGES"]
    assert row == ["first", "true", '["198.18.1.0/24"]']
    found = k.json("pool", "first")
    assert found["metadata"]["generation"] == 1
    changed = POOL + "  auto: false\n"
    assert "configured" in k("apply", "-f", "-", stdin=changed)
    assert k.json("pool", "first")["metadata"]["generation"] == 2
    path = "/apis/example.com/v1/namespaces/shop/pools/first"
    own_api.patch(f"{path}/status", {"status": {"used": 1}, "spec": {"auto": True}})
    found = k.json("pool", "first")
    assert (found["status"], found["spec"]["auto"]) == ({"used": 1}, False)
    media = "application/strategic-merge-patch+json"
    own_api.refused("PATCH", path, {}, code=415, reason="UnsupportedMediaType", media=media)
    k("delete", "-f", "-", stdin=CRD)
    assert own_api.http.get(path).status_code == 404


def test_errors_are_shown_with_the_field(k: Kubectl) -> None:
    broken = yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "broken"},
            "spec": {"ports": [{"port": 0}]},
        }
    )
    error = k("apply", "-f", "-", stdin=broken, fails=True)
    assert "spec.ports[0].port" in error
    assert "must be between 1 and 65535" in error


def test_dry_run_and_server_side_apply(k: Kubectl) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "served"}, "data": {"a": "1"}}
    said = k("apply", "--dry-run=server", "-f", "-", stdin=json.dumps(body))
    assert said == "configmap/served created (server dry run)\n"
    assert "not found" in k("get", "configmap", "served", fails=True)
    said = k("apply", "--server-side", "-f", "-", stdin=json.dumps(body))
    assert said == "configmap/served serverside-applied\n"
    body["data"] = {"b": "2"}
    k("apply", "--server-side", "-f", "-", stdin=json.dumps(body))
    assert k.json("configmap", "served")["data"] == {"b": "2"}


def test_a_namespace_goes_with_its_content(k: Kubectl) -> None:
    k("create", "namespace", "brief")
    k("create", "configmap", "inside", "-n", "brief")
    assert k("delete", "namespace", "brief") == 'namespace "brief" deleted\n'
    assert 'namespaces "brief" not found' in k("get", "namespace", "brief", fails=True)
