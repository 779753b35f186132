"""What DaemonSets and Deployments want, and where Pods go."""

from __future__ import annotations

import pytest

from chaos.lab import scheduling, workloads
from chaos.lab.objects import DaemonSet, Deployment, Pod
from chaos.lab.podview import PodView
from tests.unit.chaos.lab import build

NODES = [build.node("n1"), build.node("n2"), build.node("n3")]


def daemons(*names: str, of: DaemonSet, ready: bool = True) -> list[Pod]:
    labels = {workloads.REVISION_LABEL: workloads.template_hash(of.spec.template)}
    return [build.pod(f"w-{n}", node=n, labels=labels, ready=ready, owner="uid-w") for n in names]


def replicas(count: int, *, of: Deployment, ready: bool = True, prefix: str = "a") -> list[Pod]:
    labels = {workloads.HASH_LABEL: workloads.template_hash(of.spec.template)}
    return [build.pod(f"{prefix}{i}", node="n1", labels=labels, ready=ready) for i in range(count)]


def test_a_daemon_set_wants_one_pod_on_each_node() -> None:
    wanted = build.daemon_set()
    work = workloads.daemon_work(wanted, NODES, daemons("n2", of=wanted))
    assert work.create == ["n1", "n3"]
    assert work.delete == []


def test_a_daemon_set_waits_until_the_former_pod_of_the_node_has_gone() -> None:
    wanted = build.daemon_set()
    leaving = [build.pod("w-n1", node="n1", deleted=True)]
    assert workloads.daemon_work(wanted, NODES[:1], leaving).create == []
    assert workloads.daemon_work(wanted, NODES[:1], []).create == ["n1"]


def test_a_changed_template_replaces_one_daemon_at_a_time() -> None:
    before, after = (
        build.daemon_set(),
        build.daemon_set("i:2", updateStrategy={"rollingUpdate": {"maxUnavailable": 1}}),
    )
    old = daemons("n1", "n2", "n3", of=before)
    assert [p.metadata.name for p in workloads.daemon_work(after, NODES, old).delete] == ["w-n1"]
    under_way = [*daemons("n1", of=after, ready=False), *daemons("n2", "n3", of=before)]
    assert workloads.daemon_work(after, NODES, under_way).delete == []


def test_daemons_stay_on_an_unreachable_node_but_not_on_a_tainted_one() -> None:
    spec = workloads.template_spec(build.daemon_set().spec.template)
    unreachable = build.node("n1", taints=[{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}])
    reserved = build.node("n1", taints=[{"key": "gpu", "effect": "NoSchedule"}])
    assert scheduling.runs_daemon(spec, unreachable)
    assert not scheduling.runs_daemon(spec, reserved)


def test_a_deployment_is_scaled_up_and_down() -> None:
    wanted = build.deployment(replicas=3)
    assert workloads.deployment_work(wanted, replicas(1, of=wanted)).create == [None, None]
    work = workloads.deployment_work(build.deployment(replicas=1), replicas(3, of=wanted))
    assert len(work.delete) == 2
    assert work.create == []


def test_scaling_down_keeps_pods_that_are_ready() -> None:
    wanted = build.deployment(replicas=1)
    pods = [*replicas(1, of=wanted, prefix="good"), *replicas(1, of=wanted, ready=False, prefix="bad")]
    assert [p.metadata.name for p in workloads.deployment_work(wanted, pods).delete] == ["bad0"]


def test_a_rolling_update_never_falls_below_what_must_be_available() -> None:
    before = build.deployment(replicas=2)
    after = build.deployment(
        "i:2", replicas=2, strategy={"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
    )
    work = workloads.deployment_work(after, replicas(2, of=before))
    assert (len(work.create), work.delete) == (1, [])
    surged = [*replicas(2, of=before, prefix="old"), *replicas(1, of=after, prefix="new")]
    work = workloads.deployment_work(after, surged)
    assert (work.create, len(work.delete)) == ([], 1)


def test_recreate_deletes_all_before_it_makes_any() -> None:
    before = build.deployment(replicas=2)
    after = build.deployment("i:2", replicas=2, strategy={"type": "Recreate"})
    old = replicas(2, of=before)
    work = workloads.deployment_work(after, old)
    assert (work.create, len(work.delete)) == ([], 2)
    leaving = [build.pod("a0", deleted=True, labels=dict(old[0].metadata.labels))]
    assert workloads.deployment_work(after, leaving).create == []
    assert workloads.deployment_work(after, []).create == [None, None]


def test_the_hash_of_a_template_ignores_the_order_of_keys() -> None:
    one = build.deployment().spec.template
    other = build.deployment().spec.template
    assert workloads.template_hash(one) == workloads.template_hash(other)
    assert workloads.template_hash(one) != workloads.template_hash(build.deployment("i:2").spec.template)


@pytest.mark.parametrize(
    ("value", "total", "up", "expected"),
    [(2, 10, True, 2), ("25%", 2, True, 1), ("25%", 2, False, 0), ("100%", 3, False, 3)],
)
def test_amounts(value: int | str, total: int, up: bool, expected: int) -> None:
    assert workloads.amount(value, total, up=up) == expected


def test_pods_of_one_owner_are_spread() -> None:
    pods = [
        build.pod("a", node="n1", owner="o"),
        build.pod("b", node="n2", owner="x"),
        build.pod("c", node="n2"),
    ]
    chosen, _ = scheduling.choose(build.pod("new", owner="o"), NODES[:2], pods)
    assert chosen == "n2"
    chosen, _ = scheduling.choose(build.pod("new"), NODES[:2], pods)
    assert chosen == "n1"


def test_a_pod_that_fits_nowhere_is_told_why() -> None:
    nodes = [
        build.node("n1", unschedulable=True),
        build.node("n2", ready=False),
        build.node("n3", taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}]),
    ]
    chosen, reasons = scheduling.choose(build.pod(), nodes, [])
    assert chosen is None
    assert reasons == {
        "node(s) were unschedulable": 1,
        "node(s) were not ready": 1,
        "node(s) had untolerated taint {k: v}": 1,
    }


def test_a_toleration_opens_a_tainted_node() -> None:
    tainted = build.node("n1", taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}])
    assert (
        scheduling.choose(build.pod(tolerations=[{"key": "k", "operator": "Exists"}]), [tainted], [])[0]
        == "n1"
    )
    assert scheduling.choose(build.pod(tolerations=[{"key": "k", "value": "w"}]), [tainted], [])[0] is None


def test_a_created_pod_counts_before_the_watch_shows_it() -> None:
    store: dict[str, Pod] = {}
    view = PodView(store)
    made = build.pod("a")
    view.made(made, 0.0)
    assert view.all(1.0) == [made]
    store["default/a"] = build.pod("a", node="n1")
    view.seen("default/a")
    assert view.all(1.0) == [store["default/a"]]


def test_a_pod_that_the_watch_never_shows_is_forgotten() -> None:
    view = PodView({})
    view.made(build.pod("a"), 0.0)
    assert view.all(6.0) == []


def test_a_bound_pod_has_its_node_at_once() -> None:
    store = {"default/a": build.pod("a")}
    view = PodView(store)
    view.bound(store["default/a"], "n2", 0.0)
    assert [p.spec.node_name for p in view.all(0.0)] == ["n2"]
