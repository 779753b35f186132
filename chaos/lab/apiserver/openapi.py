"""As much OpenAPI as makes kubectl's create and apply work; there are no schemas, so `kubectl explain` has none.

kubectl reads two things here: a v2 document (protobuf for every version so far) in which a kind that is not
described is not validated and is merged by kubectl's own tables; and, from 1.27 on, per group and version a
v3 document whose PATCH operations say that the server takes `fieldValidation` and `dryRun` itself.
"""

from __future__ import annotations

import hashlib
import json

from chaos.lab.apiserver.errors import Obj
from chaos.lab.apiserver.kinds import Kind, KindTable

# Clients ask for it with "@" where this has a dot; they cannot parse their own spelling in an answer.
V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_GVK = "x-kubernetes-group-version-kind"
_INFO = {"title": "Kubernetes", "version": "v1.32.0"}


_PATCH_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation")


def _field(number: int, data: bytes) -> bytes:
    """One length-delimited protobuf field; field numbers here are below 16."""
    length = bytearray()
    rest = len(data)
    while rest > 0x7F:
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([number << 3 | 2, *length, rest]) + data


def _v2_operation(kind: Kind) -> bytes:
    """Operation: parameters (8: 1: non-body 2: query 3: in 2, name 4), vendor extension (13: name 1, value 2: yaml 2)."""
    out = b""
    for name in _PATCH_PARAMETERS:
        query = _field(2, b"query") + _field(4, name.encode())
        out += _field(8, _field(1, _field(2, _field(3, query))))
    gvk = f"group: {json.dumps(kind.group)}\nversion: {kind.version}\nkind: {kind.kind}\n"
    extension = _field(1, _GVK.encode()) + _field(2, _field(2, gvk.encode()))
    return out + _field(13, extension)


def v2_protobuf(kinds: KindTable) -> bytes:
    """gnostic's openapi.v2.Document: swagger (1), info (2: title 1, version 2), paths (8: path 2: name 1, item 2: patch 8).

    kubectl before 1.27 looks here whether a kind's PATCH takes dryRun.
    """
    info = _field(1, _INFO["title"].encode()) + _field(2, _INFO["version"].encode())
    paths = b""
    for kind in kinds.all():
        item = _field(8, _v2_operation(kind))
        paths += _field(2, _field(1, _path(kind).encode()) + _field(2, item))
    return _field(1, b"2.0") + _field(2, info) + _field(8, paths)


def v2_json() -> Obj:
    """The same for clients that read JSON."""
    return {"swagger": "2.0", "info": _INFO, "paths": {}, "definitions": {}}


def v3_index(kinds: KindTable) -> Obj:
    """GET /openapi/v3: where the document of each group and version is."""
    paths: Obj = {}
    for group, versions in kinds.group_versions().items():
        for version in versions:
            path = f"apis/{group}/{version}" if group else f"api/{version}"
            names = ",".join(kind.plural for kind in kinds.of_version(group, version))
            digest = hashlib.sha256(names.encode()).hexdigest()[:32]
            paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
    return {"paths": paths}


def _path(kind: Kind) -> str:
    prefix = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    return f"{prefix}/{'namespaces/{namespace}/' if kind.namespaced else ''}{kind.plural}/{{name}}"


def _operation(kind: Kind) -> Obj:
    parameters = [
        {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
        for name in _PATCH_PARAMETERS
    ]
    gvk = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    return {
        "parameters": parameters,
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": "patch",
        _GVK: gvk,
    }


def v3(kinds: KindTable, group: str, version: str) -> Obj | None:
    """GET /openapi/v3/api/v1 or /openapi/v3/apis/GROUP/VERSION."""
    served = list(kinds.of_version(group, version))
    if not served:
        return None
    paths = {_path(kind): {"patch": _operation(kind)} for kind in served}
    return {"openapi": "3.0.0", "info": _INFO, "paths": paths, "components": {"schemas": {}}}
