"""Figures from the record of chaos/neighbour.py: when the client knew the right owner."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from chaos.records import events


class NeighbourStart(msgspec.Struct, frozen=True, tag="neighbour", array_like=True):
    """First line of a record: which entry is watched, and both clocks read together."""

    interface: str
    vip: str
    monotonic: float
    wall: float


class Entry(msgspec.Struct, frozen=True, tag="n", array_like=True):
    """From `at` (monotonic seconds) on the entry had this MAC address, empty for none."""

    mac: str
    at: float


class Deleted(msgspec.Struct, frozen=True, tag="d", array_like=True):
    """The entry was deleted."""

    at: float


class End(msgspec.Struct, frozen=True, tag="end", array_like=True):
    """The watcher ended by itself: the record is whole."""

    at: float


_LINE: msgspec.json.Decoder[NeighbourStart | Entry | Deleted | End] = msgspec.json.Decoder(
    NeighbourStart | Entry | Deleted | End
)


@dataclass(frozen=True, slots=True)
class NeighbourRecord:
    """What the client's entry for the VIP was, in order, and how often it was deleted."""

    entries: tuple[Entry, ...]
    deleted: int


def parse(lines: Iterable[str]) -> NeighbourRecord:
    """Read a watcher's record; a last line that is still being written is left out.

    Raises MeasurementError where a line is no record of a watcher.
    """
    entries: list[Entry] = []
    deleted = 0
    for event in events(lines, _LINE, "neighbour"):
        if isinstance(event, Entry):
            entries.append(event)
        deleted += isinstance(event, Deleted)
    return NeighbourRecord(tuple(entries), deleted)


def right_s(record: NeighbourRecord, mac: str, *, since: float) -> float | None:
    """How long after `since` the entry had last another MAC address than `mac`, seconds; None when it still has.

    A time without an entry is no wrong one: the client asks then.
    """
    right = since
    for entry, following in itertools.zip_longest(record.entries, record.entries[1:]):
        if entry.mac in ("", mac):
            continue
        if following is None:
            return None
        right = max(right, following.at)
    return right - since
