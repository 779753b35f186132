"""As much OpenAPI as makes kubectl's create and apply work; there are no schemas, so `kubectl explain` has none.

kubectl reads two things here: a v2 document (protobuf for every version so far) in which a kind that is not
described is not validated and is merged by kubectl's own tables; and, from 1.27 on, per group and version a
v3 document whose PATCH operations say that the server takes `fieldValidation` and `dryRun` itself.
"""

from __future__ import annotations

import hashlib

from chaos.lab.apiserver.errors import Obj
from chaos.lab.apiserver.kinds import Kind, KindTable

# Clients ask for it with "@" where this has a dot; they cannot parse their own spelling in an answer.
V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_INFO = {"title": "Kubernetes", "version": "v1.32.0"}


def _field(number: int, data: bytes) -> bytes:
    """One length-delimited protobuf field; all lengths here are below 128."""
    return bytes([number << 3 | 2, len(data)]) + data


def v2_protobuf() -> bytes:
    """gnostic's openapi.v2.Document with `swagger` (1), `info` (2: title 1, version 2) and empty `paths` (8)."""
    info = _field(1, _INFO["title"].encode()) + _field(2, _INFO["version"].encode())
    return _field(1, b"2.0") + _field(2, info) + _field(8, b"")


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
        for name in ("dryRun", "fieldManager", "fieldValidation")
    ]
    gvk = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    return {
        "parameters": parameters,
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": "patch",
        "x-kubernetes-group-version-kind": gvk,
    }


def v3(kinds: KindTable, group: str, version: str) -> Obj | None:
    """GET /openapi/v3/api/v1 or /openapi/v3/apis/GROUP/VERSION."""
    served = list(kinds.of_version(group, version))
    if not served:
        return None
    paths = {_path(kind): {"patch": _operation(kind)} for kind in served}
    return {"openapi": "3.0.0", "info": _INFO, "paths": paths, "components": {"schemas": {}}}
