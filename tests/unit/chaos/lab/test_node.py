"""Pure parts of node agents: status, back-off, probes, addresses, lifecycle, plan."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import msgspec
import pytest

from chaos.lab.apply import documents
from chaos.lab.backoff import RestartBackoff
from chaos.lab.errors import LabError
from chaos.lab.lifecycle import UNREACHABLE, Lifecycle
from chaos.lab.objects import Container, ContainerStatus, Probe
from chaos.lab.plan import DATA_NETWORK, VIP_NETWORK, LabPlan
from chaos.lab.podnet import AddressBook
from chaos.lab.podstatus import ContainerRecord, phase, pod_status, running, terminated, waiting
from chaos.lab.probing import ProbeCounter, port_number
from chaos.lab.switch import cut, mend, switch_script
from tests.unit.chaos.lab import build

WALL = "2026-01-01T00:00:00Z"


def test_the_first_restart_is_at_once_and_the_next_ones_wait() -> None:
    backoff = RestartBackoff(10.0, 300.0)
    assert [backoff.next_pause(1.0) for _ in range(8)] == [0, 10, 20, 40, 80, 160, 300, 300]


def test_a_long_run_forgets_the_back_off() -> None:
    backoff = RestartBackoff(10.0, 300.0)
    for _ in range(3):
        backoff.next_pause(1.0)
    assert [backoff.next_pause(601.0), backoff.next_pause(1.0)] == [0, 10]


def test_probes_count_to_their_thresholds() -> None:
    counter = ProbeCounter(Probe(failure_threshold=3, success_threshold=2), healthy=False)
    assert [counter.book(good) for good in (True, False, True, True)] == [False, False, False, True]
    assert counter.healthy
    assert [counter.book(good) for good in (False, False, True, False, False, False)] == [False] * 5 + [True]
    assert not counter.healthy


def test_a_probe_may_name_its_port() -> None:
    container = msgspec.convert({"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}, Container)
    assert port_number(container, "http") == 8080
    assert port_number(container, "81") == 81
    assert port_number(container, 82) == 82
    assert port_number(container, "none") is None


def record(state: object = None, **fields: object) -> ContainerRecord:
    made = ContainerRecord("c", "i", **fields)  # type: ignore[arg-type]
    if state is not None:
        made.state = state  # type: ignore[assignment]
    return made


@pytest.mark.parametrize(
    ("records", "policy", "expected"),
    [
        ([record()], "Always", "Pending"),
        ([record(running(WALL))], "Always", "Running"),
        ([record(running(WALL)), record(waiting("CreateContainerConfigError"))], "Always", "Pending"),
        (
            [record(waiting("CrashLoopBackOff"), last_state=terminated(1, "Error", WALL, WALL))],
            "Always",
            "Running",
        ),
        ([record(terminated(0, "Completed", WALL, WALL))], "Never", "Succeeded"),
        ([record(terminated(2, "Error", WALL, WALL))], "Never", "Failed"),
        ([record(terminated(2, "Error", WALL, WALL))], "OnFailure", "Running"),
        ([record(terminated(0, "Completed", WALL, WALL))], "Always", "Running"),
    ],
)
def test_phases(records: list[ContainerRecord], policy: str, expected: str) -> None:
    assert phase(records, policy) == expected


def test_a_container_that_ran_before_the_power_went_counts_as_restarted() -> None:
    before = ContainerStatus("c", restart_count=2, container_id="lab://x")
    assert ContainerRecord.of("c", "i", before).restarts == 3
    assert ContainerRecord.of("c", "i", ContainerStatus("c")).restarts == 0
    assert ContainerRecord.of("c", "i", None).restarts == 0


def test_conditions_keep_their_time_while_they_do_not_change() -> None:
    pod = build.pod(ready=True)
    before = [msgspec.structs.replace(c, last_transition_time="then") for c in pod.status.conditions]
    for ready, expected in ((True, "then"), (False, "now")):
        status = pod_status(
            pod,
            [record(running(WALL), ready=ready)],
            pod_ip="",
            host_ip="h",
            started=WALL,
            now="now",
            before=before,
        )
        conditions = {c["type"]: c for c in status["conditions"]}  # type: ignore[attr-defined]
        assert conditions["Ready"]["status"] == str(ready)
        assert conditions["Ready"]["lastTransitionTime"] == expected


def test_addresses_are_kept_and_come_round_late() -> None:
    book = AddressBook(IPv4Network("198.19.65.0/29"))
    assert book.gateway == IPv4Address("198.19.65.1")
    assert [str(book.take(uid)) for uid in ("a", "b", "a")] == ["198.19.65.2", "198.19.65.3", "198.19.65.2"]
    book.give_back("a")
    assert str(book.take("c")) == "198.19.65.4"
    assert str(book.take("d", "198.19.65.6")) == "198.19.65.6"
    assert str(book.take("e", "198.19.65.3")) == "198.19.65.5"
    assert str(book.take("f")) == "198.19.65.2"
    with pytest.raises(LabError, match=r"no address is left in 198\.19\.65\.0/29"):
        book.take("g")


def test_a_silent_node_is_given_up_and_its_pods_with_it() -> None:
    core = Lifecycle(grace_s=40.0, eviction_s=300.0)
    node, pods = (
        build.node("n1"),
        [build.pod("a", node="n1", ready=True), build.pod("b", node="n2", ready=True)],
    )
    core.renewed("n1", "t1", 0.0)
    assert core.look([node], pods, 40.0, WALL) == []
    core.renewed("n1", "t1", 41.0)  # the same renewTime again is no sign of life
    (change,) = core.look([node], pods, 41.0, WALL)
    assert [path for path, _ in change.patches] == [
        "/api/v1/nodes/n1/status",
        "/api/v1/nodes/n1",
        "/api/v1/namespaces/default/pods/a/status",
    ]
    assert change.reason == "NodeNotReady"
    assert change.evict == []


def test_silence_counts_only_while_the_one_who_looks_can_hear() -> None:
    core = Lifecycle(grace_s=40.0, eviction_s=300.0)
    node = build.node("n1")
    core.renewed("n1", "t1", 0.0)
    core.begin_anew(60.0)
    assert core.look([node], [], 100.0, WALL) == []
    assert [change.reason for change in core.look([node], [], 101.0, WALL)] == ["NodeNotReady"]


def test_pods_are_evicted_after_the_eviction_time_but_daemons_are_not() -> None:
    core = Lifecycle(grace_s=40.0, eviction_s=300.0)
    taints = [{"key": UNREACHABLE, "effect": e} for e in ("NoSchedule", "NoExecute")]
    node = build.node("n1", ready=False, taints=taints)
    pods = [build.pod("a", node="n1"), build.pod("d", node="n1", owner="o")]
    assert core.look([node], pods, 0.0, WALL) == []
    assert core.look([node], pods, 41.0, WALL) == []
    (change,) = core.look([node], pods, 342.0, WALL)
    assert [p.metadata.name for p in change.evict] == ["a"]


def test_a_node_that_is_heard_again_loses_its_taint() -> None:
    core = Lifecycle(grace_s=40.0, eviction_s=300.0)
    node = build.node(
        "n1", taints=[{"key": UNREACHABLE, "effect": "NoExecute"}, {"key": "k", "effect": "NoSchedule"}]
    )
    (change,) = core.look([node], [], 0.0, WALL)
    assert change.patches == [
        ("/api/v1/nodes/n1", {"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}})
    ]


def test_the_plan_keeps_to_its_networks() -> None:
    plan = LabPlan.of(60)
    assert len({n.mac for n in plan.nodes} | {n.mgmt_mac for n in plan.nodes}) == 120
    for node in plan.nodes:
        assert node.address in DATA_NETWORK
        assert node.address not in VIP_NETWORK
        assert node.pod_network.subnet_of(IPv4Network("198.19.64.0/18"))
    assert plan.node("n1").mac == "02:00:00:00:00:11"
    with pytest.raises(LabError, match=r"nodes: must be between 1 and 60, is 0"):
        LabPlan.of(0)
    with pytest.raises(LabError, match=r"node 'x': there is no such node; the nodes are n1, n2"):
        LabPlan.of(2).node("x")


def test_nodes_are_known_by_the_network_that_is_asked_for() -> None:
    for node in LabPlan.of(3).nodes:
        assert node.internal_ip == node.address
    for node in LabPlan.of(3, "mgmt").nodes:
        assert node.internal_ip == node.mgmt_address
        assert node.address in DATA_NETWORK


def test_every_line_of_the_switch_names_a_namespace_that_exists() -> None:
    lines = switch_script(LabPlan.of(2))
    made = {line.split()[-1] for line in lines if line.startswith("netns add")}
    assert {line.split(" netns ")[1] for line in lines if " netns " in line} == made


def test_both_links_go_dead_in_one_transaction() -> None:
    assert cut(["d-n1", "m-n1"]) == "add element bridge lab dead { d-n1, m-n1 }\n"
    assert mend(["d-n1"]).splitlines()[-1] == "delete element bridge lab dead { d-n1 }"


def test_documents(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("a: 1\n---\n---\nb: 2\n")
    assert documents(file) == [{"a": 1}, {"b": 2}]
    assert documents("a: 1") == [{"a": 1}]
    assert documents({"a": 1}) == [{"a": 1}]
    with pytest.raises(LabError, match="apply: "):
        documents("a: [")
