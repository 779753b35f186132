"""Lists: versions, selectors, and pages that show one moment however long the reader takes. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from chaos.lab.apiserver.errors import bad_request, expired, too_large_version
from chaos.lab.apiserver.kinds import Kind
from chaos.lab.apiserver.revisions import Key, Record, Revisions
from chaos.lab.apiserver.selectors import Predicate, both, field_selector, label_selector


class _Continue(msgspec.Struct):
    rv: int
    start: Key


@dataclass(frozen=True, slots=True)
class Page:
    """One answer to a list: its records, the version they are of, and where to go on."""

    records: list[Record]
    version: int
    token: str = ""
    remaining: int | None = None


def number(query: Mapping[str, str], name: str) -> int | None:
    """A whole number among the parameters. Raises StatusError 400."""
    text = query.get(name, "")
    if not text:
        return None
    if not text.isdigit():
        raise bad_request(f"{name}: {text!r} must be a whole number, 0 or greater")
    return int(text)


def selector(kind: Kind, query: Mapping[str, str]) -> Predicate | None:
    """The two selectors of a request as one. Raises StatusError 400."""
    return both(
        label_selector(query.get("labelSelector", "")), field_selector(kind, query.get("fieldSelector", ""))
    )


def _decode(token: str) -> _Continue:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(token), type=_Continue)
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise bad_request("continue key is not valid") from error


def _encode(at: _Continue) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(at)).decode()


def _version(revisions: Revisions, query: Mapping[str, str]) -> int | None:
    """The earlier version that a list asks for, None for the present."""
    asked = number(query, "resourceVersion")
    match = query.get("resourceVersionMatch", "")
    if match not in ("", "Exact", "NotOlderThan"):
        raise bad_request(f"resourceVersionMatch: {match!r} must be Exact or NotOlderThan")
    if match and asked is None:
        raise bad_request("resourceVersionMatch is forbidden unless resourceVersion is provided")
    if asked is not None and asked > revisions.revision:
        raise too_large_version(asked, revisions.revision)
    exact = match == "Exact" or (not match and bool(query.get("limit", "")) and bool(asked))
    return asked if exact else None


def page(revisions: Revisions, kind: Kind, namespace: str | None, query: Mapping[str, str]) -> Page:
    """Answer a list request. Raises StatusError 400, 410 or 504."""
    chosen = selector(kind, query)
    limit = number(query, "limit") or 0
    token = query.get("continue", "")
    start: Key | None = None
    if token:
        if query.get("resourceVersion", "") not in ("", "0"):
            raise bad_request("specifying resource version is not allowed when using continue")
        at = _decode(token)
        start, version = at.start, at.rv or revisions.revision
        try:
            records = revisions.records(kind.resource, namespace, version)
        except Exception as error:
            gone = expired("The provided continue parameter is too old to display a consistent list result.")
            raise gone from error
    else:
        asked = _version(revisions, query)
        version = revisions.revision if asked is None else asked
        records = revisions.records(kind.resource, namespace, asked)
    if start is not None:
        records = [record for record in records if record.key >= start]
    if chosen is not None:
        records = [record for record in records if chosen(record.obj)]
    if not limit or len(records) <= limit:
        return Page(records, version)
    left = None if chosen is not None else len(records) - limit
    return Page(records[:limit], version, _encode(_Continue(version, records[limit].key)), left)
