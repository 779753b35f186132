"""The label at the head of datagrams and streams, by which rings that share a network know their own (memberlist
label.go)."""

from typing import Final, NamedTuple

from gossip.errors import DecodeError, RejectReason
from gossip.messages import MessageType

_HEAD: Final = 2
"""Bytes before the text: magic and length."""


class Labelled(NamedTuple):
    """A label taken off."""

    text: bytes
    size: int
    """Bytes of the header; 0 where there is none."""


_MARK: Final = bytes((MessageType.HAS_LABEL,))
_UNLABELLED: Final = Labelled(b"", 0)


def header(label: bytes) -> bytes:
    """What goes in front; nothing for an empty label."""
    return bytes((MessageType.HAS_LABEL, len(label))) + label if label else b""


def take_label(data: bytes | bytearray) -> Labelled | None:
    """The label at the head of these bytes; None while it is incomplete.

    Raises:
        DecodeError: MALFORMED, an empty label.
    """
    if data[:1] != _MARK:
        return _UNLABELLED
    if len(data) < _HEAD:
        return None
    size = _HEAD + data[1]
    if size == _HEAD:
        raise DecodeError(RejectReason.MALFORMED, "carries an empty label")
    return Labelled(bytes(data[_HEAD:size]), size) if len(data) >= size else None


def check_label(found: bytes, wanted: bytes) -> None:
    """Refuse what belongs to another ring.

    Raises:
        DecodeError: LABELLED.
    """
    if found != wanted:
        raise DecodeError(RejectReason.LABELLED, f"carries {_quoted(found)}; this ring has {_quoted(wanted)}")


def _quoted(label: bytes) -> str:
    return f"label {label.decode(errors='replace')!r}" if label else "no label"
