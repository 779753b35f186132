"""Reads the protobuf bodies that kubectl's typed subcommands send, into the same documents as JSON.

The frame is that of apimachinery's runtime/serializer/protobuf: four magic bytes, then runtime.Unknown
(typeMeta 1: apiVersion 1, kind 2; raw 2). Field tables: wire_fields.txt. Answers are always JSON.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any

from chaos.lab.apiserver.errors import Obj, StatusError, bad_request

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_PACKAGES = {
    "v1": "core",
    "apps/v1": "apps",
    "rbac.authorization.k8s.io/v1": "rbac",
    "policy/v1": "policy",
    "scheduling.k8s.io/v1": "scheduling",
}
_MAX_DEPTH = 32
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

Wire = int | bytes
Fields = dict[int, tuple[str, str]]


@cache
def _tables() -> dict[str, Fields]:
    tables: dict[str, Fields] = {}
    text = files("chaos.lab.apiserver").joinpath("wire_fields.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        message, _, fields = line.partition(": ")
        entries = (field.split() for field in fields.split(", "))
        tables[message] = {int(number): (name, kind) for number, name, kind in entries}
    return tables


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise bad_request("protobuf: a number is cut off or too long")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at


def _wire(data: bytes) -> list[tuple[int, Wire]]:
    """(field number, value) in order; fixed-width values come as their bytes."""
    found: list[tuple[int, Wire]] = []
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            found.append((number, value))
            continue
        if kind == _BYTES:
            length, at = _varint(data, at)
        elif kind in (_FIXED32, _FIXED64):
            length = 4 if kind == _FIXED32 else 8
        else:
            raise bad_request(f"protobuf: unknown wire type {kind}")
        if at + length > len(data):
            raise bad_request("protobuf: a field is cut off")
        found.append((number, data[at : at + length]))
        at += length
    return found


def _bytes(value: Wire) -> bytes:
    if not isinstance(value, bytes):
        raise bad_request("protobuf: a number where bytes are expected")
    return value


def _int(value: Wire) -> int:
    if isinstance(value, bytes):
        raise bad_request("protobuf: bytes where a number is expected")
    return value - (1 << 64) if value >> 63 else value


def _text(value: Wire) -> str:
    try:
        return _bytes(value).decode()
    except UnicodeDecodeError as error:
        raise bad_request("protobuf: a string is not UTF-8") from error


def _time(value: Wire) -> str | None:
    seconds = next((_int(v) for number, v in _wire(_bytes(value)) if number == 1), None)
    if seconds is None or not 0 <= seconds < 1 << 36:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _int_or_string(value: Wire) -> int | str:
    fields = dict(_wire(_bytes(value)))
    return _text(fields.get(3, b"")) if fields.get(1) else _int(fields.get(2, 0))


def _value(kind: str, value: Wire, depth: int) -> Any:
    match kind:
        case "s":
            return _text(value)
        case "b":
            return base64.b64encode(_bytes(value)).decode()
        case "i":
            return _int(value)
        case "?":
            return bool(_int(value))
        case "T":
            return _time(value)
        case "I":
            return _int_or_string(value)
        case "Q":
            return next((_text(v) for number, v in _wire(_bytes(value)) if number == 1), "0")
        case _:
            return _message(kind, _bytes(value), depth + 1)


def _message(name: str, data: bytes, depth: int) -> Obj:
    if depth > _MAX_DEPTH:
        raise bad_request("protobuf: nested too deeply")
    fields = _tables()[name]
    result: Obj = {}
    for number, value in _wire(data):
        if number not in fields:
            raise StatusError(
                415,
                "UnsupportedMediaType",
                f"field {number} of {name} is not understood in protobuf here: send application/json",
            )
        field, kind = fields[number]
        if kind.startswith("[]"):
            result.setdefault(field, []).append(_value(kind[2:], value, depth))
        elif kind.startswith("{}"):
            entry = dict(_wire(_bytes(value)))
            result.setdefault(field, {})[_text(entry.get(1, b""))] = _value(
                kind[2:], entry.get(2, 0 if kind[2:] in "i?" else b""), depth
            )
        else:
            decoded = _value(kind.removeprefix("*"), value, depth)
            if field == "^":
                result.update(decoded)
            elif kind.startswith("*") or decoded not in ("", 0, False, None):
                # Go writes the zero values of plain fields too; in JSON they are left out.
                result[field] = decoded
    return result


def decode(body: bytes) -> Obj:
    """The document in a protobuf body. Raises StatusError 400, or 415 for a kind that is not in the tables."""
    if not body.startswith(_MAGIC):
        raise bad_request("protobuf: the body does not start with the magic bytes k8s\\0")
    unknown = dict(_wire(body[len(_MAGIC) :]))
    meta = dict(_wire(_bytes(unknown.get(1, b""))))
    api_version, kind = _text(meta.get(1, b"")), _text(meta.get(2, b""))
    message = f"meta.{kind}" if kind == "DeleteOptions" else f"{_PACKAGES.get(api_version, '')}.{kind}"
    if message not in _tables():
        raise StatusError(
            415,
            "UnsupportedMediaType",
            f"{kind} of {api_version} is not understood in protobuf here: send application/json",
        )
    return {"apiVersion": api_version, "kind": kind, **_message(message, _bytes(unknown.get(2, b"")), 0)}
