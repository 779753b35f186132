"""Lists: selectors, pages, versions."""

from __future__ import annotations

import pytest

from tests.contract.client import CORE, Api, Obj, config_map, service


def _names(found: Obj) -> list[str]:
    return [item["metadata"]["name"] for item in found["items"]]


@pytest.fixture(scope="module", autouse=True)
def objects(api: Api, namespace: str) -> None:
    path = f"{CORE}/namespaces/{namespace}"
    for at in range(10):
        labels = {"suite": "lists", "parity": "even" if at % 2 == 0 else "odd", "n": str(at)}
        api.post(f"{path}/configmaps", config_map(f"item-{at}", labels=labels))
    api.post(f"{path}/secrets", {"metadata": {"name": "plain"}, "type": "example.com/plain"})
    api.post(f"{path}/secrets", {"metadata": {"name": "opaque"}})


def test_a_list_has_a_version_and_comes_in_order(api: Api, ns: str) -> None:
    found = api.get(f"{ns}/configmaps", labelSelector="suite=lists")
    assert (found["kind"], found["apiVersion"]) == ("ConfigMapList", "v1")
    assert int(found["metadata"]["resourceVersion"]) > 0
    assert _names(found) == [f"item-{at}" for at in range(10)]


def test_a_list_over_all_namespaces_holds_each(api: Api, ns: str) -> None:
    found = api.get(f"{CORE}/configmaps", labelSelector="suite=lists")
    assert _names(found) == [f"item-{at}" for at in range(10)]
    assert {item["metadata"]["namespace"] for item in found["items"]} == {ns.rpartition("/")[2]}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("parity=even", [0, 2, 4, 6, 8]),
        ("parity==odd", [1, 3, 5, 7, 9]),
        ("parity!=odd", [0, 2, 4, 6, 8]),
        ("n in (1, 3)", [1, 3]),
        ("parity=even,n notin (0,2)", [4, 6, 8]),
        ("suite,!absent,n=7", [7]),
        ("absent", []),
        ("n>7", [8, 9]),
    ],
)
def test_label_selectors(api: Api, ns: str, selector: str, expected: list[int]) -> None:
    found = api.get(f"{ns}/configmaps", labelSelector=f"suite=lists,{selector}")
    assert _names(found) == [f"item-{at}" for at in expected]


def test_field_selectors(api: Api, ns: str) -> None:
    assert _names(api.get(f"{ns}/configmaps", fieldSelector="metadata.name=item-3")) == ["item-3"]
    others = api.get(f"{ns}/configmaps", fieldSelector="metadata.name!=item-3", labelSelector="suite=lists")
    assert len(others["items"]) == 9
    assert _names(api.get(f"{ns}/secrets", fieldSelector="type=example.com/plain")) == ["plain"]
    api.refused("GET", f"{ns}/configmaps", code=400, reason="BadRequest", fieldSelector="data.a=1")


@pytest.mark.parametrize("selector", ["a in (", "a==b=c", "=b", "a in b", "a,,b", "-a b"])
def test_a_selector_that_is_none_is_refused(api: Api, ns: str, selector: str) -> None:
    api.refused("GET", f"{ns}/configmaps", code=400, reason="BadRequest", labelSelector=selector)


def test_pages_hold_everything_once(api: Api, ns: str) -> None:
    names: list[str] = []
    token = ""
    sizes = []
    while True:
        params = {"continue": token} if token else {}
        found = api.get(f"{ns}/configmaps", limit=4, labelSelector="suite=lists", **params)
        names += _names(found)
        sizes.append(len(found["items"]))
        token = found["metadata"].get("continue", "")
        if not token:
            break
    assert names == [f"item-{at}" for at in range(10)]
    assert sizes == [4, 4, 2]


def test_a_page_tells_how_many_remain(api: Api, ns: str) -> None:
    total = len(api.get(f"{ns}/configmaps")["items"])
    found = api.get(f"{ns}/configmaps", limit=3)
    assert found["metadata"]["remainingItemCount"] == total - 3


def test_later_pages_show_the_moment_of_the_first(api: Api, ns: str) -> None:
    for at in range(4):
        api.post(f"{ns}/configmaps", config_map(f"moment-{at}", {"v": "1"}, {"suite": "moment"}))
    first = api.get(f"{ns}/configmaps", limit=2, labelSelector="suite=moment")
    assert _names(first) == ["moment-0", "moment-1"]
    api.delete(f"{ns}/configmaps/moment-2")
    api.patch(f"{ns}/configmaps/moment-3", {"data": {"v": "2"}})
    api.post(f"{ns}/configmaps", config_map("moment-9", labels={"suite": "moment"}))
    rest = api.get(
        f"{ns}/configmaps",
        limit=2,
        labelSelector="suite=moment",
        **{"continue": first["metadata"]["continue"]},
    )
    assert _names(rest) == ["moment-2", "moment-3"]
    assert rest["items"][1]["data"] == {"v": "1"}
    assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert _names(api.get(f"{ns}/configmaps", labelSelector="suite=moment")) == [
        "moment-0",
        "moment-1",
        "moment-3",
        "moment-9",
    ]


def test_a_continue_token_that_is_none_is_refused(api: Api, ns: str) -> None:
    api.refused("GET", f"{ns}/configmaps", code=400, reason="BadRequest", limit=1, **{"continue": "nonsense"})


def test_versions_of_lists(api: Api, ns: str) -> None:
    now = api.get(f"{ns}/configmaps")["metadata"]["resourceVersion"]
    api.post(f"{ns}/configmaps", config_map("after-the-version"))
    exact = api.get(f"{ns}/configmaps", resourceVersion=now, resourceVersionMatch="Exact", limit=500)
    assert "after-the-version" not in _names(exact)
    assert exact["metadata"]["resourceVersion"] == now
    later = api.get(f"{ns}/configmaps", resourceVersion=now, resourceVersionMatch="NotOlderThan")
    assert "after-the-version" in _names(later)
    assert api.get(f"{ns}/configmaps", resourceVersion="0")["kind"] == "ConfigMapList"
    assert api.call("GET", f"{ns}/configmaps", expect=(400, 422), resourceVersionMatch="Exact")
    future = int(now) + 1_000_000
    api.refused("GET", f"{ns}/configmaps", code=504, reason="Timeout", resourceVersion=future)


def test_metadata_only(api: Api, ns: str) -> None:
    accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
    found = api.call("GET", f"{ns}/configmaps", accept=accept, labelSelector="suite=lists")
    assert found["kind"] == "PartialObjectMetadataList"
    assert _names(found) == [f"item-{at}" for at in range(10)]
    assert all("data" not in item for item in found["items"])


def test_services_by_field(api: Api, ns: str) -> None:
    made = api.post(f"{ns}/services", service("found"))
    found = api.get(f"{ns}/services", fieldSelector=f"spec.clusterIP={made['spec']['clusterIP']}")
    assert _names(found) == ["found"]
