"""What `kubectl get` prints."""

from __future__ import annotations

import pytest

from chaos.lab.apiserver.columns import COLUMNS, human_duration
from tests.unit.chaos.apiserver.builders import Obj


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "<invalid>"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (185, "3m5s"),
        (599, "9m59s"),
        (600, "10m"),
        (10799, "179m"),
        (10800, "3h"),
        (20000, "5h33m"),
        (28800, "8h"),
        (172799, "47h"),
        (172800, "2d"),
        (180000, "2d2h"),
        (700000, "8d"),
        (63072000, "2y"),
    ],
)
def test_ages(seconds: int, shown: str) -> None:
    assert human_duration(seconds) == shown


def _cell(resource: str, column: str, obj: Obj, now: float = 0.0) -> object:
    found = {c.name: c for c in COLUMNS[resource]}
    return found[column].cell(obj, now)


def _pod(status: Obj, **meta: object) -> Obj:
    return {"metadata": {"name": "p", **meta}, "spec": {"containers": [{"name": "c"}]}, "status": status}


def _container(state: Obj, *, ready: bool = False, restarts: int = 0, **more: object) -> Obj:
    return {"name": "c", "ready": ready, "restartCount": restarts, "state": state, **more}


@pytest.mark.parametrize(
    ("pod", "shown"),
    [
        (_pod({"phase": "Pending"}), "Pending"),
        (
            _pod({"phase": "Running", "containerStatuses": [_container({"running": {}}, ready=True)]}),
            "Running",
        ),
        (
            _pod(
                {
                    "phase": "Running",
                    "containerStatuses": [_container({"waiting": {"reason": "CrashLoopBackOff"}})],
                }
            ),
            "CrashLoopBackOff",
        ),
        (
            _pod({"phase": "Running", "containerStatuses": [_container({"terminated": {"exitCode": 3}})]}),
            "ExitCode:3",
        ),
        (
            _pod({"phase": "Failed", "containerStatuses": [_container({"terminated": {"reason": "Error"}})]}),
            "Error",
        ),
        (_pod({"phase": "Running"}, deletionTimestamp="2026-01-01T00:00:00Z"), "Terminating"),
        (_pod({"phase": "Failed", "reason": "Evicted"}), "Evicted"),
    ],
)
def test_the_status_of_a_pod(pod: Obj, shown: str) -> None:
    assert _cell("pods", "Status", pod) == shown


def test_restarts_tell_when_the_last_was() -> None:
    last = {"terminated": {"finishedAt": "1970-01-01T00:00:10Z"}}
    pod = _pod({"containerStatuses": [_container({}, restarts=2, lastState=last)]})
    assert _cell("pods", "Restarts", pod, now=70.0) == "2 (60s ago)"


@pytest.mark.parametrize(
    ("spec", "ingress", "shown"),
    [
        ({"type": "LoadBalancer"}, [], "<pending>"),
        ({"type": "LoadBalancer"}, [{"ip": "198.18.1.1"}, {"hostname": "h"}], "198.18.1.1,h"),
        ({"type": "LoadBalancer", "externalIPs": ["198.18.2.1"]}, [], "198.18.2.1"),
        ({"type": "ClusterIP"}, [], "<none>"),
        ({"type": "ExternalName", "externalName": "e.example"}, [], "e.example"),
    ],
)
def test_the_external_address_of_a_service(spec: Obj, ingress: list[Obj], shown: str) -> None:
    obj = {"metadata": {"name": "s"}, "spec": spec, "status": {"loadBalancer": {"ingress": ingress}}}
    assert _cell("services", "External-IP", obj) == shown


def test_endpoints_are_shortened() -> None:
    addresses = [{"ip": f"198.19.65.{at}"} for at in range(1, 6)]
    obj = {"metadata": {"name": "e"}, "subsets": [{"addresses": addresses, "ports": [{"port": 80}]}]}
    assert _cell("endpoints", "Endpoints", obj) == "198.19.65.1:80,198.19.65.2:80,198.19.65.3:80 + 2 more..."
