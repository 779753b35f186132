"""Bodies of answers: single objects, lists, watch events; as JSON, as Table or as metadata only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from chaos.lab.apiserver.errors import Obj, StatusError
from chaos.lab.apiserver.kinds import Kind
from chaos.lab.apiserver.listing import Page
from chaos.lab.apiserver.revisions import Record
from chaos.lab.apiserver.table import Include, table

Form = Literal["object", "table", "metadata"]

_JSON = "application/json"


def negotiate(accept: str) -> Form:
    """The form that an Accept header asks for. Raises StatusError 406 where JSON will not do."""
    for item in accept.split(",") if accept else [_JSON]:
        media, *parameters = (part.strip() for part in item.split(";"))
        given = dict(p.split("=", 1) for p in parameters if "=" in p)
        if media not in (_JSON, "*/*", "application/*"):
            continue
        kind = given.get("as", "")
        if kind == "Table" and given.get("v", "v1") in ("v1", "v1beta1"):
            return "table"
        if kind in ("PartialObjectMetadata", "PartialObjectMetadataList"):
            return "metadata"
        if not kind:
            return "object"
    raise StatusError(406, "NotAcceptable", "only the following media types are accepted: application/json")


class Renderer:
    """Writes records of one kind in one form. `now` is wall time in seconds, for the ages in Tables."""

    def __init__(self, kind: Kind, form: Form, include: Include = "Metadata") -> None:
        self._kind = kind
        self._form = form
        self._include = include

    def _raw(self, record: Record) -> bytes:
        if record.obj["apiVersion"] == self._kind.api_version:
            return record.raw
        return msgspec.json.encode({**record.obj, "apiVersion": self._kind.api_version})

    def one(self, record: Record, now: float) -> bytes:
        """A single object."""
        if self._form == "table":
            return self._table([record], record.version, now)
        if self._form == "metadata":
            return msgspec.json.encode(_partial(record.obj))
        return self._raw(record)

    def page(self, page: Page, now: float) -> bytes:
        """A list."""
        meta: Obj = {"resourceVersion": str(page.version)}
        if page.token:
            meta["continue"] = page.token
        if page.remaining is not None:
            meta["remainingItemCount"] = page.remaining
        if self._form == "table":
            return msgspec.json.encode(table(self._kind, page.records, meta, now, self._include))
        if self._form == "metadata":
            head = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": meta}
            items = [msgspec.json.encode(_partial(record.obj)) for record in page.records]
        else:
            head = {"kind": self._kind.list_name, "apiVersion": self._kind.api_version, "metadata": meta}
            items = [self._raw(record) for record in page.records]
        return msgspec.json.encode(head)[:-1] + b',"items":[' + b",".join(items) + b"]}"

    def _table(self, records: Sequence[Record], version: str, now: float) -> bytes:
        return msgspec.json.encode(
            table(self._kind, records, {"resourceVersion": version}, now, self._include)
        )

    def event(self, kind: str, record: Record, now: float) -> bytes:
        """One line of a watch."""
        return b'{"type":"' + kind.encode() + b'","object":' + self.one(record, now) + b"}\n"

    def bookmark(self, version: int, *, initial_end: bool = False) -> bytes:
        """A BOOKMARK event, which carries only a version."""
        meta: Obj = {"resourceVersion": str(version), "creationTimestamp": None}
        if initial_end:
            meta["annotations"] = {"k8s.io/initial-events-end": "true"}
        obj: Obj = {"kind": self._kind.kind, "apiVersion": self._kind.api_version, "metadata": meta}
        if self._form == "table":
            obj = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta, "columnDefinitions": [],
                   "rows": []}  # fmt: skip
        return msgspec.json.encode({"type": "BOOKMARK", "object": obj}) + b"\n"


def error_event(error: StatusError) -> bytes:
    """An ERROR event, the last of a watch."""
    return msgspec.json.encode({"type": "ERROR", "object": error.status()}) + b"\n"


def _partial(obj: Obj) -> Obj:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
