"""The index of what Kubernetes says."""

from __future__ import annotations

from msgspec.structs import replace

from cluster.objects import (
    Endpoint,
    EndpointSlice,
    Node,
    NodeCondition,
    NodeStatus,
    ObjectMeta,
    Service,
    ServiceSpec,
)
from cluster.watch import Deleted, Synced, Upserted
from cluster.world import Changes, World

WEB = Service(ObjectMeta(name="web", namespace="d", resource_version="1"), ServiceSpec(type="LoadBalancer"))


def endpoint_slice(name: str, service: str | None, *nodes: str) -> EndpointSlice:
    labels = {"kubernetes.io/service-name": service} if service else {}
    return EndpointSlice(
        ObjectMeta(name=name, namespace="d", labels=labels),
        endpoints=[Endpoint(["198.19.64.2"], node_name=node) for node in nodes],
    )


def services(*keys: str) -> Changes:
    return Changes(services=frozenset(keys))


def test_service_comes_and_goes() -> None:
    world = World()
    world.apply(Synced())
    assert not world.take_changes()
    world.apply(Upserted(WEB, None))
    assert world.services == {"d/web": WEB}
    assert world.take_changes() == services("d/web")
    assert not world.take_changes()
    world.apply(Deleted(WEB))
    assert not world.services
    assert world.take_changes() == services("d/web")
    world.remove(WEB)
    assert not world.take_changes()


def test_new_version_alone_is_no_change() -> None:
    world = World()
    node = Node(ObjectMeta(name="n1", resource_version="1"))
    world.put(WEB)
    world.put(node)
    world.take_changes()
    world.put(replace(WEB, metadata=replace(WEB.metadata, resource_version="2", generation=7)))
    world.put(replace(node, metadata=replace(node.metadata, resource_version="9")))
    assert not world.take_changes()
    assert world.services["d/web"].metadata.resource_version == "2"


def test_node_changes_are_seen() -> None:
    world = World()
    node = Node(ObjectMeta(name="n1"))
    world.put(node)
    assert world.take_changes() == Changes(nodes=frozenset({"n1"}))
    for changed in (
        replace(node, status=NodeStatus([NodeCondition("NetworkUnavailable", "True")])),
        replace(node, metadata=replace(node.metadata, labels={"a": "b"})),
    ):
        world.put(changed)
        assert world.take_changes() == Changes(nodes=frozenset({"n1"}))
    world.remove(node)
    assert world.take_changes() == Changes(nodes=frozenset({"n1"}))


def test_slices_belong_to_their_service() -> None:
    world = World()
    second, first = endpoint_slice("web-2", "web", "n2"), endpoint_slice("web-1", "web", "n1")
    world.put(second)
    world.put(first)
    world.put(endpoint_slice("other-1", "other"))
    world.put(endpoint_slice("nobody", None))
    assert world.take_changes() == services("d/web", "d/other")
    assert world.slices("d/web") == (first, second)
    assert world.slices("d/none") == ()
    world.put(endpoint_slice("web-1", "web", "n3"))
    assert world.take_changes() == services("d/web")
    world.remove(second)
    assert world.take_changes() == services("d/web")
    assert [found.metadata.name for found in world.slices("d/web")] == ["web-1"]


def test_slice_that_changes_service_concerns_both() -> None:
    world = World()
    world.put(endpoint_slice("s", "web", "n1"))
    world.take_changes()
    world.put(endpoint_slice("s", "other", "n1"))
    assert world.take_changes() == services("d/web", "d/other")
    assert world.slices("d/web") == ()
    world.put(endpoint_slice("s", None))
    assert world.take_changes() == services("d/other")
    world.remove(endpoint_slice("s", None))
    assert not world.take_changes()


def test_snapshot_stays_as_it_is() -> None:
    world = World()
    world.put(WEB)
    world.put(endpoint_slice("web-1", "web", "n1"))
    snapshot = world.snapshot()
    world.remove(WEB)
    world.remove(endpoint_slice("web-1", "web"))
    assert set(snapshot.services) == {"d/web"}
    assert len(snapshot.slices["d/web"]) == 1
    assert not world.snapshot().slices
