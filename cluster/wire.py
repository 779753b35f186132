"""JSON of the Kubernetes API to Structs: list pages, watch events, v1.Status.

Pure, and bounded in what it repeats of its input.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

import msgspec

from cluster.errors import BadResponseError
from cluster.objects import Object, ObjectMeta


class KubeObject(Protocol):
    """Anything with metadata."""

    @property
    def metadata(self) -> ObjectMeta:
        """metadata of the object."""
        ...


T = TypeVar("T")
# A million objects at 250 a page: a list that goes on longer never ends.
MAX_PAGES = 4000
_MAX_TEXT = 500
_UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Skipped(msgspec.Struct, frozen=True):
    """An object that did not decode: `namespace/name`, if it has one, and what is wrong with it."""

    key: str
    error: str


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list; `skipped` are the objects that did not decode."""

    items: list[T]
    resource_version: str = ""
    continue_token: str = ""
    skipped: tuple[Skipped, ...] = ()


class _ListMeta(Object, frozen=True):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _List(msgspec.Struct, frozen=True):
    metadata: _ListMeta = _ListMeta()
    items: list[msgspec.Raw] | None = None


class _Named(msgspec.Struct, frozen=True):
    metadata: ObjectMeta = ObjectMeta()


class Status(Object, frozen=True):
    """A v1.Status: how the API server explains a refusal."""

    code: int = 0
    reason: str = ""
    message: str = ""


class WatchEvent(msgspec.Struct, frozen=True):
    """One line of a watch; `object` stays undecoded, since its kind depends on `type`."""

    type: str
    object: msgspec.Raw = msgspec.Raw(b"null")


def decoded(data: bytes | msgspec.Raw, model: type[T], what: str) -> T:
    """The JSON value as a `model`. Raises BadResponseError, whatever the bytes are."""
    return decoded_by(msgspec.json.Decoder(model), data, what)


def decoded_by(decoder: msgspec.json.Decoder[T], data: bytes | msgspec.Raw, what: str) -> T:
    """The same with a decoder made before, which saves half the time on small values."""
    try:
        return decoder.decode(data)
    except _UNDECODABLE as error:
        raise BadResponseError(f"{what}: {one_line(str(error))}") from error


def decode_page(data: bytes, item: type[T], what: str) -> Page[T]:
    """A page of a list whose items are `item`.

    An object that does not decode is named in `skipped`, so that one bad object never hides the others.
    Raises BadResponseError when the list itself is no list.
    """
    page = decoded(data, _List, what)
    items: list[T] = []
    skipped: list[Skipped] = []
    decoder = msgspec.json.Decoder(item)
    for raw in page.items or ():
        try:
            items.append(decoder.decode(raw))
        except _UNDECODABLE as error:
            metadata = metadata_of(raw)
            text = f"{name_of(raw)}: {one_line(str(error))}"
            skipped.append(Skipped(metadata.key if metadata else "", text))
    return Page(items, page.metadata.resource_version, page.metadata.continue_, tuple(skipped))


def decode_status(data: bytes) -> tuple[str, str]:
    """Reason and message of a v1.Status; of anything else, no reason and the beginning of the text."""
    try:
        status = msgspec.json.decode(data, type=Status)
    except _UNDECODABLE:
        return "", one_line(data[: 2 * _MAX_TEXT].decode("utf-8", "replace"))
    return one_line(status.reason), one_line(status.message)


_NAMED = msgspec.json.Decoder(_Named)
WATCH_EVENT = msgspec.json.Decoder(WatchEvent)


def metadata_of(raw: msgspec.Raw) -> ObjectMeta | None:
    """The metadata of an object of which nothing else need make sense."""
    try:
        return _NAMED.decode(raw).metadata
    except _UNDECODABLE:
        return None


def name_of(raw: msgspec.Raw) -> str:
    """What to call an object that did not decode."""
    metadata = metadata_of(raw)
    return one_line(metadata.key) if metadata and metadata.name else "object without a name"


def one_line(text: str) -> str:
    """The text in one printable line of at most 500 characters."""
    line = " ".join(text[: 2 * _MAX_TEXT].split())
    return "".join(c if c.isprintable() else "?" for c in line)[:_MAX_TEXT]
