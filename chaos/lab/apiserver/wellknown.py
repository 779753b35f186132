"""The paths that are the same for every cluster: version, discovery, OpenAPI."""

from __future__ import annotations

import msgspec

from chaos.lab.apiserver import discovery, openapi
from chaos.lab.apiserver.errors import Obj, no_such_path
from chaos.lab.apiserver.kinds import KindTable

_JSON = "application/json"


def answer(kinds: KindTable, path: str, accept: str) -> tuple[bytes, str]:
    """Body and media type for a GET. Raises StatusError 404."""
    parts = path.strip("/").split("/")
    match parts:
        case [("api" | "apis") as root] if discovery.AGGREGATED in accept.replace(" ", ""):
            return msgspec.json.encode(discovery.aggregated(kinds, core=root == "api")), discovery.AGGREGATED
        case ["openapi", "v2"] if "protobuf" in accept:
            return openapi.v2_protobuf(kinds), openapi.V2_PROTOBUF
        case ["openapi", *rest]:
            found = _openapi(kinds, rest)
        case _:
            found = _discovery(kinds, parts)
    if found is None:
        raise no_such_path()
    return msgspec.json.encode(found), _JSON


def _discovery(kinds: KindTable, parts: list[str]) -> Obj | None:
    match parts:
        case ["version"]:
            return discovery.version()
        case ["api"]:
            return discovery.api_versions()
        case ["api", version]:
            return discovery.resources(kinds, "", version)
        case ["apis"]:
            return discovery.groups(kinds)
        case ["apis", group]:
            return discovery.group(kinds, group)
        case ["apis", group, version]:
            return discovery.resources(kinds, group, version)
        case _:
            return None


def _openapi(kinds: KindTable, parts: list[str]) -> Obj | None:
    match parts:
        case ["v2"]:
            return openapi.v2_json()
        case ["v3"]:
            return openapi.v3_index(kinds)
        case ["v3", "api", version]:
            return openapi.v3(kinds, "", version)
        case ["v3", "apis", group, version]:
            return openapi.v3(kinds, group, version)
        case _:
            return None
