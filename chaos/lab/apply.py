"""Put objects into an API server, as `kubectl apply` would, for places without kubectl."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
import yaml

from chaos.lab.errors import LabError
from cluster.client import ApiClient
from cluster.errors import ApiError, ClusterError


class _Resource(msgspec.Struct, frozen=True):
    name: str
    kind: str
    namespaced: bool = True


class _Resources(msgspec.Struct, frozen=True):
    resources: list[_Resource] = []


class _Meta(msgspec.Struct, frozen=True):
    name: str = ""
    namespace: str = ""


class _Head(msgspec.Struct, frozen=True, rename="camel"):
    """What every object has."""

    api_version: str
    kind: str
    metadata: _Meta = _Meta()


def documents(what: Path | str | Mapping[str, object] | Iterable[Mapping[str, object]]) -> list[object]:
    """Objects of a YAML file, of YAML text or given as they are; empty documents are left out. Raises LabError."""
    if isinstance(what, Mapping):
        return [what]
    try:
        if isinstance(what, Path):
            what = what.read_text(encoding="utf-8")
        if isinstance(what, str):
            return [document for document in yaml.safe_load_all(what) if document is not None]
    except (OSError, yaml.YAMLError) as error:
        raise LabError(f"apply: {' '.join(str(error).split())}") from error
    return list(what)


class Applier:
    """Creates objects, or merges them into those there are. Kinds are looked up in the server's discovery."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self._kinds: dict[tuple[str, str], _Resource] = {}

    async def apply(self, what: Path | str | Mapping[str, object] | Iterable[Mapping[str, object]]) -> None:
        """Put all of it there, in order. Raises LabError naming the object that was refused."""
        for document in documents(what):
            try:
                head = msgspec.convert(document, _Head)
            except msgspec.ValidationError as error:
                raise LabError(
                    f"apply: an object must have apiVersion, kind and metadata: {error}"
                ) from error
            try:
                await self._one(head, document)
            except ClusterError as error:
                raise LabError(f"apply {head.kind}/{head.metadata.name}: {error}") from error

    async def _one(self, head: _Head, document: object) -> None:
        collection = await self._collection(head)
        try:
            await self._api.create(collection, document, msgspec.Raw)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            await self._api.patch(f"{collection}/{head.metadata.name}", document, msgspec.Raw)

    async def _collection(self, head: _Head) -> str:
        root = f"/apis/{head.api_version}" if "/" in head.api_version else f"/api/{head.api_version}"
        known = self._kinds.get((head.api_version, head.kind))
        if known is None:
            found = await self._api.get(root, _Resources)
            for resource in found.resources:
                if "/" not in resource.name:
                    self._kinds[head.api_version, resource.kind] = resource
            known = self._kinds.get((head.api_version, head.kind))
        if known is None:
            raise LabError(f"apply: the server knows no kind {head.kind!r} in {head.api_version!r}")
        if not known.namespaced:
            return f"{root}/{known.name}"
        return f"{root}/namespaces/{head.metadata.namespace or 'default'}/{known.name}"
