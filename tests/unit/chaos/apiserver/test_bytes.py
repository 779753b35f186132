"""Whatever comes in is answered or refused: bodies, selectors, patches, objects of any shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.lab.apiserver import protobuf
from chaos.lab.apiserver.errors import StatusError
from chaos.lab.apiserver.kinds import BUILT_IN, KindTable
from chaos.lab.apiserver.patch import json_patch, merge_patch
from chaos.lab.apiserver.selectors import field_selector, label_selector
from chaos.lab.apiserver.strategic import strategic_merge
from chaos.lab.apiserver.table import table
from tests.unit.chaos.apiserver.builders import kind, make_store

_FIELDS = st.sampled_from(
    [
        "metadata",
        "spec",
        "status",
        "name",
        "labels",
        "ports",
        "port",
        "nodePort",
        "type",
        "clusterIP",
        "clusterIPs",
        "ipFamilies",
        "template",
        "containers",
        "image",
        "selector",
        "matchLabels",
        "data",
        "stringData",
        "finalizers",
        "ownerReferences",
        "uid",
        "loadBalancer",
        "ingress",
        "conditions",
        "versions",
        "names",
        "plural",
        "group",
        "subsets",
        "endpoints",
        "addresses",
        "involvedObject",
        "$patch",
        "$retainKeys",
    ]
)
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 70000),
    st.text(max_size=5),
    st.sampled_from(["None", "LoadBalancer", "NodePort", "merge", "delete", "IPv4", "2001:2::1"]),
)
_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_FIELDS, inner, max_size=4)),
    max_leaves=12,
)
_OBJECTS = st.dictionaries(_FIELDS, _JSON, max_size=5)


def _refusal(call: Callable[[], object]) -> int:
    """Status of the refusal, 0 where the call went through. Any other exception is a defect."""
    try:
        call()
    except StatusError as refusal:
        return refusal.code
    return 0


@given(kind_=st.sampled_from(BUILT_IN), fields=_OBJECTS, meta=_OBJECTS, status=_JSON)
@settings(max_examples=150, deadline=None)
def test_objects_of_any_shape_are_stored_or_refused(kind_: Any, fields: Any, meta: Any, status: Any) -> None:
    store = make_store()
    namespace = "ns" if kind_.namespaced else ""
    body = {**fields, "metadata": {**meta, "name": "n"}}
    code = _refusal(lambda: store.create(kind_, namespace, body))
    assert code in (0, 400, 422)
    assert (store.revisions.get(kind_.resource, (namespace, "n")) is None) is (code != 0)
    if code:
        return
    if kind_.status:
        changed = {"metadata": {"name": "n"}, "status": status}
        assert _refusal(lambda: store.update(kind_, namespace, "n", changed, status=True)) in (0, 400, 422)
    record = store.get(kind_, namespace, "n")
    assert msgspec.json.decode(record.raw) == record.obj
    shown = table(kind_, [record], {}, 0.0)
    assert len(shown["rows"][0]["cells"]) == len(shown["columnDefinitions"])
    store.delete(kind_, namespace, "n")


@given(target=_OBJECTS, patch=_JSON)
@settings(deadline=None)
def test_patches_of_any_shape_leave_the_object_alone(target: Any, patch: Any) -> None:
    before = msgspec.json.encode(target)
    deployment = KindTable().by_resource("deployments.apps")
    assert _refusal(lambda: json_patch(target, patch)) in (0, 400, 422)
    assert _refusal(lambda: merge_patch(target, patch)) == 0
    assert _refusal(lambda: strategic_merge(deployment, target, patch)) in (0, 400)
    assert msgspec.json.encode(target) == before


@given(text=st.text(alphabet="ab=!,()<> innotin.-/", max_size=20))
def test_selectors_of_any_text_parse_or_are_refused(text: str) -> None:
    pods = KindTable().by_resource("pods")
    obj = {"metadata": {"name": "n", "labels": {"a": "b"}}}
    for parse in (label_selector, lambda t: field_selector(pods, t)):
        chosen: list[Any] = []
        code = _refusal(lambda p=parse, c=chosen: c.append(p(text)))  # type: ignore[misc]
        assert code == 400 or chosen[0] is None or chosen[0](obj) in (True, False)


@given(data=st.binary(max_size=200), framed=st.booleans())
def test_protobuf_of_any_bytes_decodes_or_is_refused(data: bytes, framed: bool) -> None:
    body = b"k8s\x00" + data if framed else data
    assert _refusal(lambda: protobuf.decode(body)) in (0, 400, 415)


def _field(number: int, data: bytes) -> bytes:
    assert len(data) < 128
    return bytes([number << 3 | 2, len(data)]) + data


def _secret() -> bytes:
    meta = _field(1, b"memberlist") + _field(3, b"metallb-system") + _field(8, b"")
    entry = _field(1, b"secretkey") + _field(2, b"x")
    raw = _field(1, meta) + _field(2, entry) + _field(3, b"Opaque")
    unknown = _field(1, _field(1, b"v1") + _field(2, b"Secret")) + _field(2, raw) + _field(3, b"")
    return b"k8s\x00" + unknown


def test_what_kubectl_sends_for_a_secret() -> None:
    assert protobuf.decode(_secret()) == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "memberlist", "namespace": "metallb-system"},
        "data": {"secretkey": "eA=="},
        "type": "Opaque",
    }


@given(cut=st.integers(5, len(_secret()) - 1), bad=st.binary(min_size=1, max_size=3))
def test_a_damaged_body_decodes_or_is_refused(cut: int, bad: bytes) -> None:
    for damaged in (_secret()[:cut], _secret()[:cut] + bad + _secret()[cut + len(bad) :]):
        assert _refusal(lambda body=damaged: protobuf.decode(body)) in (0, 400, 415)  # type: ignore[misc]


# RFC 7396, appendix A.
@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_examples(target: Any, patch: Any, result: Any) -> None:
    assert merge_patch(target, patch) == result


def test_every_built_in_kind_can_be_found_by_its_names() -> None:
    store = make_store()
    for found in BUILT_IN:
        assert kind(store, found.resource) is found
        assert store.kinds.by_kind(found.api_version, found.kind) is found
