"""Objects under one global revision counter, with a bounded history of changes for each resource.

The history serves watches that start from a version, and lists as of an earlier version (every event
carries what was there before it, so the past is found by undoing). Pure: no clock, no IO.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from chaos.lab.apiserver.errors import Obj, expired

Key = tuple[str, str]
"""(namespace or "", name)."""

EventType = Literal["ADDED", "MODIFIED", "DELETED"]


@dataclass(frozen=True, slots=True)
class Record:
    """One version of one object. `obj` must not be changed; `raw` is its JSON."""

    obj: Obj
    raw: bytes

    @property
    def key(self) -> Key:
        """Where the object is kept."""
        meta = self.obj["metadata"]
        return meta.get("namespace", ""), meta["name"]

    @property
    def version(self) -> str:
        """metadata.resourceVersion."""
        version: str = self.obj["metadata"]["resourceVersion"]
        return version


@dataclass(frozen=True, slots=True)
class Event:
    """One change; `previous` is None for an ADDED."""

    revision: int
    type: EventType
    record: Record
    previous: Record | None


@dataclass(slots=True)
class _Shelf:
    records: dict[Key, Record] = field(default_factory=dict)
    keys: list[Key] = field(default_factory=list)
    log: list[Event] = field(default_factory=list)
    floor: int = 0
    listeners: list[Callable[[], None]] = field(default_factory=list)


def encode(obj: Obj) -> Record:
    """An object with its JSON."""
    return Record(obj, msgspec.json.encode(obj))


class Revisions:
    """The keeper of objects.

    `history` is how many events of a resource are kept at least; versions before `first` never existed, so
    a watch from one of them is too old, as on a server whose history was compacted.
    """

    def __init__(self, *, history: int = 4096, first: int = 100) -> None:
        self.revision = first
        self._first = first
        self._history = history
        self._shelves: dict[str, _Shelf] = {}

    def _shelf(self, resource: str) -> _Shelf:
        shelf = self._shelves.get(resource)
        if shelf is None:
            shelf = self._shelves[resource] = _Shelf(floor=self._first)
        return shelf

    def get(self, resource: str, key: Key) -> Record | None:
        """The present version of an object."""
        return self._shelf(resource).records.get(key)

    def put(self, resource: str, obj: Obj) -> Record:
        """Store a version of an object under the next revision. `obj` becomes the store's."""
        shelf = self._shelf(resource)
        self.revision += 1
        obj["metadata"]["resourceVersion"] = str(self.revision)
        record = encode(obj)
        previous = shelf.records.get(record.key)
        shelf.records[record.key] = record
        if previous is None:
            insort(shelf.keys, record.key)
        self._log(shelf, Event(self.revision, "MODIFIED" if previous else "ADDED", record, previous))
        return record

    def remove(self, resource: str, key: Key) -> Record:
        """Take an object away; the returned last version carries the revision of the removal."""
        shelf = self._shelf(resource)
        previous = shelf.records.pop(key)
        del shelf.keys[bisect_left(shelf.keys, key)]
        self.revision += 1
        last = {
            **previous.obj,
            "metadata": {**previous.obj["metadata"], "resourceVersion": str(self.revision)},
        }
        record = encode(last)
        self._log(shelf, Event(self.revision, "DELETED", record, previous))
        return record

    def _log(self, shelf: _Shelf, event: Event) -> None:
        shelf.log.append(event)
        if len(shelf.log) > 2 * self._history:
            shelf.floor = shelf.log[self._history - 1].revision
            del shelf.log[: self._history]
        for listener in tuple(shelf.listeners):
            listener()

    def forget(self, resource: str | None = None) -> None:
        """Drop the history, as a compaction does: every version but the present is too old from here on."""
        for name, shelf in self._shelves.items():
            if resource in (None, name):
                shelf.log.clear()
                shelf.floor = self.revision

    def keys(self, resource: str, namespace: str | None = None) -> list[Key]:
        """Present keys in order, of one namespace or of all."""
        keys = self._shelf(resource).keys
        if namespace is None:
            return list(keys)
        return keys[bisect_left(keys, (namespace, "")) : bisect_left(keys, (namespace + "\0", ""))]

    def records(self, resource: str, namespace: str | None = None, at: int | None = None) -> list[Record]:
        """Objects in order of their keys, now or as of revision `at`.

        Raises StatusError 410 when the history does not reach back that far.
        """
        shelf = self._shelf(resource)
        if at is None or at >= self.revision:
            return [shelf.records[key] for key in self.keys(resource, namespace)]
        then: dict[Key, Record] = dict(shelf.records)
        for event in reversed(self.events_after(resource, at)):
            if event.previous is None:
                del then[event.record.key]
            else:
                then[event.record.key] = event.previous
        return [then[key] for key in sorted(then) if namespace in (None, key[0])]

    def events_after(self, resource: str, revision: int) -> list[Event]:
        """What happened after a revision. Raises StatusError 410 for one before the history."""
        shelf = self._shelf(resource)
        if revision < shelf.floor:
            raise expired(f"too old resource version: {revision} ({shelf.floor})")
        return shelf.log[bisect_right(shelf.log, revision, key=lambda event: event.revision) :]

    def subscribe(self, resource: str, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after each change of a resource; returns what ends the subscription."""
        listeners = self._shelf(resource).listeners
        listeners.append(listener)
        return lambda: listeners.remove(listener)
