"""Who was alive when, seen by whom: rebuilt from the JSON log lines of one or many speakers. Pure.

A line counts when it is a JSON object with `ts` and one of the membership events. Text before the first
brace is taken as the name of the source (`kubectl logs --prefix` writes one).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

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

NEWS_S: Final = 3.0
"""How long news may take to reach everybody. A member passes a message on for 4 * ceil(log10(n + 1)) rounds of 0.2 s
(memberlist's RetransmitMult and GossipInterval), 2.4 s in a ring of 998; the rest is for clocks that differ."""

MOMENTS_ALLOWED: Final = (
    "2026-11-22T10:00:00Z, also with a fraction or an offset such as +02:00; without either it is UTC"
)

_NS: Final = 1_000_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))?", re.ASCII
)
_GONE: Final = ("dead", "left")
_BREAKS: Final = ("startup", "shutdown")


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
    """A stretch of one member's life. `start` is when the first observer saw it, `end` when the next phase began.

    `seen_by` is observer -> when it saw the phase; `disagreeing` is observer -> the other state it still held NEWS_S
    after the start. Phases that were over by then have none.
    """

    state: str
    incarnation: int | None
    start: str
    end: str | None = None
    seen_by: dict[str, str] = {}
    disagreeing: dict[str, str] = {}


class Timeline(msgspec.Struct):
    """Everything that the lines tell. `skipped` counts lines that looked like JSON and could not be read.

    `breaks` is observer -> when its speaker started or ended: what it held before is forgotten there.
    """

    observers: list[str]
    members: dict[str, list[Phase]]
    sightings: list[Sighting]
    skipped: int = 0
    breaks: dict[str, list[str]] = {}


class _Line(msgspec.Struct):
    ts: str = ""
    event: str = ""
    op: str = ""
    node: str = ""
    member: str = ""
    address: str = ""
    incarnation: int | None = None
    by: str | list[str] | None = None


@dataclass(slots=True)
class _Reader:
    """`last` is observer -> its last line of any kind, in nanoseconds."""

    sightings: list[Sighting] = field(default_factory=list)
    last: dict[str, int] = field(default_factory=dict)
    breaks: dict[str, list[str]] = field(default_factory=dict)
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
        if not line.ts:
            return
        now = moment(line.ts)
        if now is None:
            self.skipped += 1
            return
        observer = line.node or prefix or source
        self.last[observer] = max(now, self.last.get(observer, now))
        if line.op in _BREAKS:
            self.breaks.setdefault(observer, []).append(line.ts)
        state = STATE_OF_EVENT.get(line.event)
        if state is None or not line.member:
            return
        by = ",".join(line.by) if isinstance(line.by, list) else line.by
        self.sightings.append(
            Sighting(line.ts, observer, line.member, line.event, state, line.address, line.incarnation, by)
        )


def moment(ts: str) -> int | None:
    """Nanoseconds since the epoch of an RFC 3339 moment, UTC where it names no zone; None for anything else.

    Digits beyond the ninth of a fraction are dropped.
    """
    found = _RFC3339.fullmatch(ts)
    if found is None:
        return None
    day, clock, fraction, sign, hours, minutes = found.groups()
    try:
        wall = datetime.fromisoformat(f"{day}T{clock}+00:00")
    except ValueError:
        return None
    seconds = (wall - _EPOCH) // timedelta(seconds=1)
    if sign is not None:
        offset = int(hours) * 3600 + int(minutes) * 60
        seconds += offset if sign == "-" else -offset
    return seconds * _NS + int((fraction or "")[:9].ljust(9, "0"))


def rebuild(sources: Iterable[tuple[str, Iterable[str]]]) -> Timeline:
    """The timeline of (name of source, lines) pairs; never raises for what the lines hold."""
    reader = _Reader()
    for source, lines in sources:
        for text in lines:
            reader.feed(source, text)
    sightings = sorted(reader.sightings, key=lambda seen: (_moment(seen.ts), seen.observer))
    breaks = {who: sorted(moments, key=_moment) for who, moments in sorted(reader.breaks.items())}
    members: dict[str, list[Phase]] = {}
    for seen in sightings:
        _add(members.setdefault(seen.member, []), seen)
    views = _Views(sightings, breaks)
    for name, phases in members.items():
        for phase in phases:
            phase.disagreeing = _disagreeing(name, phase, views, reader.last)
    return Timeline(
        observers=sorted(reader.last),
        members={name: members[name] for name in sorted(members)},
        sightings=sightings,
        skipped=reader.skipped,
        breaks=breaks,
    )


def at(timeline: Timeline, ts: str) -> dict[str, dict[str, Sighting]]:
    """What each observer held of each member at a moment: member -> observer -> the line that says so.

    Raises ValueError when `ts` is no moment.
    """
    limit = _moment(ts)
    views = _Views(timeline.sightings, timeline.breaks)
    held = {name: views.all_held(name, limit) for name in timeline.members}
    return {name: views_of for name, views_of in held.items() if views_of}


class _Views:
    """What each observer held of each member, and when, by its own lines."""

    def __init__(self, sightings: Sequence[Sighting], breaks: Mapping[str, Sequence[str]]) -> None:
        self._told: dict[str, dict[str, tuple[list[int], list[Sighting]]]] = {}
        for seen in sightings:
            observers = self._told.setdefault(seen.member, {})
            moments, lines = observers.setdefault(seen.observer, ([], []))
            moments.append(_moment(seen.ts))
            lines.append(seen)
        self._breaks = {who: [_moment(ts) for ts in moments] for who, moments in breaks.items()}

    def all_held(self, member: str, now: int) -> dict[str, Sighting]:
        """Observer -> its last line about the member up to `now`, unless its speaker has started anew since."""
        held: dict[str, Sighting] = {}
        for observer, (moments, lines) in self._told.get(member, {}).items():
            index = bisect_right(moments, now) - 1
            if index < 0:
                continue
            breaks = self._breaks.get(observer, [])
            last = bisect_right(breaks, now) - 1
            if last < 0 or breaks[last] <= moments[index]:
                held[observer] = lines[index]
        return held

    def gone(self, observer: str, now: int) -> bool:
        """Whether most of those that know the observer hold it dead or left."""
        states = [seen.state for seen in self.all_held(observer, now).values()]
        return 2 * sum(state in _GONE for state in states) > len(states)


def _disagreeing(member: str, phase: Phase, views: _Views, last: Mapping[str, int]) -> dict[str, str]:
    """Who held another state than the phase's once the news of it had had the time to spread.

    The log of an observer that has died ends with what it held, which is no disagreement.
    """
    now = _moment(phase.start) + int(NEWS_S * _NS)
    if phase.end is not None and _moment(phase.end) <= now:
        return {}
    return {
        observer: seen.state
        for observer, seen in sorted(views.all_held(member, now).items())
        if seen.state != phase.state and not (last[observer] <= now and views.gone(observer, now))
    }


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


def _moment(ts: str) -> int:
    """As `moment`, of text that is one. Raises ValueError."""
    found = moment(ts)
    if found is None:
        raise ValueError(f"{ts!r} is no moment; allowed: {MOMENTS_ALLOWED}")
    return found
