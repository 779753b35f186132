"""Who was alive when, seen by whom: rebuilt from the JSON log lines of one or many speakers. Pure.

A line counts when it is a JSON object with `ts` and one of the membership events. Text before the first
brace is taken as the name of the source (`kubectl logs --prefix` writes one).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

STATE_OF_EVENT = {
    "memberJoined": "alive",
    "memberAlive": "alive",
    "memberUpdated": "alive",
    "memberSuspect": "suspect",
    "memberDead": "dead",
    "memberLeft": "left",
}

MAX_LINE_BYTES = 256 * 1024


class Sighting(msgspec.Struct, frozen=True):
    """One speaker's log line about one member. `ts` is RFC 3339 in UTC, as logged."""

    ts: str
    observer: str
    member: str
    event: str
    state: str
    address: str = ""
    incarnation: int | None = None
    by: str | None = None


class Phase(msgspec.Struct):
    """A stretch of one member's life. `start` is when the first observer saw it, `end` when the next phase began."""

    state: str
    incarnation: int | None
    start: str
    end: str | None = None
    seen_by: dict[str, str] = {}


class Timeline(msgspec.Struct):
    """Everything that the lines tell. `skipped` counts lines that looked like JSON and could not be read."""

    observers: list[str]
    members: dict[str, list[Phase]]
    sightings: list[Sighting]
    skipped: int = 0


class _Line(msgspec.Struct):
    ts: str = ""
    event: str = ""
    node: str = ""
    member: str = ""
    address: str = ""
    incarnation: int | None = None
    by: str | list[str] | None = None


@dataclass(slots=True)
class _Reader:
    sightings: list[Sighting] = field(default_factory=list)
    observers: set[str] = field(default_factory=set)
    skipped: int = 0

    def feed(self, source: str, text: str) -> None:
        brace = text.find("{")
        if brace < 0:
            return
        prefix = text[:brace].strip().strip("[]")
        if len(text) > MAX_LINE_BYTES:
            self.skipped += 1
            return
        try:
            line = msgspec.json.decode(text[brace:], type=_Line)
        except (msgspec.DecodeError, UnicodeError):
            self.skipped += 1
            return
        observer = line.node or prefix or source
        if line.ts:
            self.observers.add(observer)
        state = STATE_OF_EVENT.get(line.event)
        if state is None or not line.member or not line.ts:
            return
        by = ",".join(line.by) if isinstance(line.by, list) else line.by
        self.sightings.append(
            Sighting(line.ts, observer, line.member, line.event, state, line.address, line.incarnation, by)
        )


def rebuild(sources: Iterable[tuple[str, Iterable[str]]]) -> Timeline:
    """The timeline of (name of source, lines) pairs; never raises for what the lines hold."""
    reader = _Reader()
    for source, lines in sources:
        for text in lines:
            reader.feed(source, text)
    sightings = sorted(reader.sightings, key=lambda seen: (_moment(seen.ts), seen.observer))
    members: dict[str, list[Phase]] = {}
    for seen in sightings:
        _add(members.setdefault(seen.member, []), seen)
    return Timeline(
        observers=sorted(reader.observers),
        members={name: members[name] for name in sorted(members)},
        sightings=sightings,
        skipped=reader.skipped,
    )


def at(timeline: Timeline, ts: str) -> dict[str, dict[str, str]]:
    """What each observer held of each member at a moment: member -> observer -> state."""
    limit = _moment(ts)
    held: dict[str, dict[str, str]] = {}
    for seen in timeline.sightings:
        if _moment(seen.ts) > limit:
            break
        held.setdefault(seen.member, {})[seen.observer] = seen.state
    return held


def _add(phases: list[Phase], seen: Sighting) -> None:
    """Append to a member's life: late observers of a known phase join it, everything else begins the next one.

    An observer that lags behind (it reports what others have seen pass) belongs to the latest phase of that
    state and incarnation which it has not reported yet.
    """
    for phase in reversed(phases):
        if phase.state == seen.state and phase.incarnation == seen.incarnation:
            if phase is phases[-1] or seen.observer not in phase.seen_by:
                phase.seen_by.setdefault(seen.observer, seen.ts)
                return
            break
    if phases:
        phases[-1].end = seen.ts
    phases.append(Phase(seen.state, seen.incarnation, seen.ts, None, {seen.observer: seen.ts}))


def _moment(ts: str) -> tuple[str, str]:
    """RFC 3339 in UTC as something that sorts: `…:05Z` and `…:05.1Z` differ in length, not in order."""
    seconds, _, fraction = ts.rstrip("Zz").partition(".")
    return seconds, fraction.ljust(9, "0")
