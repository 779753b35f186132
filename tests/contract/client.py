"""A plain HTTP client for the suite; it shares no code with vipring's own."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable
from typing import Any

import httpx2

from tests.contract.server import Endpoint

Obj = dict[str, Any]
CORE = "/api/v1"
APPS = "/apis/apps/v1"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
DEADLINE_S = 20.0


class RefusedError(AssertionError):
    """An answer with another status than the one that was expected."""


class Api:
    """Requests to one server."""

    def __init__(self, endpoint: Endpoint) -> None:
        context: ssl.SSLContext | bool = True
        if endpoint.ca:
            context = ssl.create_default_context(cadata=endpoint.ca)
        self.endpoint = endpoint
        self.http = httpx2.Client(
            base_url=endpoint.url,
            verify=context,
            headers={"authorization": f"Bearer {endpoint.token}"} if endpoint.token else {},
            timeout=DEADLINE_S,
        )

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        expect: int | tuple[int, ...] = (200, 201, 202),
        media: str = "application/json",
        accept: str = "application/json",
        **params: Any,
    ) -> Obj:
        """One request; the decoded answer. `params` are the query's."""
        content = None if body is None else json.dumps(body).encode()
        headers = {"accept": accept, **({"content-type": media} if content is not None else {})}
        answer = self.http.request(method, path, content=content, headers=headers, params=params)
        expected = (expect,) if isinstance(expect, int) else expect
        if answer.status_code not in expected:
            raise RefusedError(
                f"{method} {path}: {answer.status_code}, expected {expected}: {answer.text[:500]}"
            )
        decoded: Obj = json.loads(answer.content) if answer.content else {}
        return decoded

    def get(self, path: str, **params: Any) -> Obj:
        """GET."""
        return self.call("GET", path, **params)

    def post(self, path: str, body: Obj) -> Obj:
        """POST that must create."""
        return self.call("POST", path, body, expect=201)

    def put(self, path: str, body: Obj) -> Obj:
        """PUT."""
        return self.call("PUT", path, body)

    def patch(self, path: str, body: object, media: str = MERGE, **params: Any) -> Obj:
        """PATCH."""
        return self.call("PATCH", path, body, media=media, **params)

    def delete(self, path: str, body: Obj | None = None) -> Obj:
        """DELETE."""
        return self.call("DELETE", path, body)

    def refused(
        self, method: str, path: str, body: object = None, *, code: int, reason: str, **kw: Any
    ) -> Obj:
        """A request that must be refused with a v1.Status of this code and reason."""
        status = self.call(method, path, body, expect=code, **kw)
        assert (status["kind"], status["status"], status["code"]) == ("Status", "Failure", code)
        assert status["reason"] == reason, status
        return status

    def watch(
        self,
        path: str,
        until: Callable[[list[Obj]], bool],
        *,
        accept: str = "application/json",
        **params: str | int,
    ) -> list[Obj]:
        """Events of a watch until enough have come or the server ends it."""
        events: list[Obj] = []
        deadline = time.monotonic() + DEADLINE_S
        asked: dict[str, str | int] = {"timeoutSeconds": int(DEADLINE_S), **params, "watch": "true"}
        with self.http.stream("GET", path, params=asked, headers={"accept": accept}) as answer:
            if answer.status_code != 200:
                answer.read()
                raise RefusedError(f"watch {path}: {answer.status_code}: {answer.text[:500]}")
            for line in answer.iter_lines():
                events.append(json.loads(line))
                if until(events):
                    break
                assert time.monotonic() < deadline, f"watch {path}: not enough in {DEADLINE_S} s: {events}"
        return events


def eventually(what: str, condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what}"
        time.sleep(0.05)


def config_map(name: str, data: dict[str, str] | None = None, labels: dict[str, str] | None = None) -> Obj:
    """A ConfigMap."""
    meta: Obj = {"name": name, **({"labels": labels} if labels else {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data or {"a": "1"}}


def service(name: str, **spec: Any) -> Obj:
    """A Service with one port."""
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": ports, **spec},
    }


def deployment(name: str) -> Obj:
    """A Deployment that asks for no pods."""
    labels = {"app": name}
    container = {
        "name": "main",
        "image": "example.invalid/main:1",
        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        "ports": [{"containerPort": 8080, "name": "http"}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
