"""An API server of nothing but speaker pods, of which some answer, some refuse, some hang and some cut the connection."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from typing_extensions import override

PODS = "/api/v1/namespaces/metallb-system/pods"
HANG_S = 30.0
"""Ends a hanging answer should the test not do it."""


@dataclass(frozen=True)
class FakePod:
    """One speaker. `answer` is the body of its /status, an HTTP status, or what it does instead of answering."""

    node: str
    answer: bytes | int | Literal["hang", "cut"]
    ready: bool = True
    phase: str = "Running"
    leaving: bool = False

    def listed(self) -> dict[str, object]:
        metadata: dict[str, object] = {"name": f"speaker-{self.node}", "namespace": "metallb-system"}
        if self.leaving:
            metadata["deletionTimestamp"] = "2026-11-22T10:00:00Z"
        conditions = [{"type": "Ready", "status": "True" if self.ready else "False"}]
        return {
            "metadata": metadata,
            "spec": {"nodeName": self.node},
            "status": {"phase": self.phase, "conditions": conditions},
        }


@dataclass
class FakeApi:
    """What was asked, in order: names of nodes, and the service asked for."""

    url: str
    kubeconfig: str
    asked: list[str] = field(default_factory=list)
    services: list[str] = field(default_factory=list)


@contextmanager
def fake_api(directory: Path, *pods: FakePod) -> Iterator[FakeApi]:
    """Serve the pods on loopback."""
    over = threading.Event()
    by_path: Mapping[str, FakePod] = {f"{PODS}/speaker-{pod.node}:7472/proxy/status": pod for pod in pods}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if url.path == PODS:
                self._send(200, json.dumps({"items": [pod.listed() for pod in pods]}).encode())
                return
            pod = by_path[url.path]
            api.asked.append(pod.node)
            api.services += parse_qs(url.query).get("service", [])
            match pod.answer:
                case "hang":
                    over.wait(HANG_S)
                    self.close_connection = True
                case "cut":
                    self.close_connection = True
                case int(code):
                    self._send(code, json.dumps({"kind": "Status", "message": "no route"}).encode())
                case body:
                    self._send(200, body)

        def _send(self, code: int, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        @override
        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        api = FakeApi(f"http://127.0.0.1:{server.server_port}", str(directory / "kubeconfig"))
        Path(api.kubeconfig).write_text(kubeconfig(api.url))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield api
        finally:
            over.set()
            server.shutdown()
            thread.join()


def kubeconfig(url: str) -> str:
    """A kubeconfig for a server that asks for no login."""
    return f"""
apiVersion: v1
kind: Config
current-context: c
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
clusters: [{{name: c, cluster: {{server: "{url}"}}}}]
users: [{{name: u, user: {{}}}}]
"""
