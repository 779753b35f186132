"""When a failover was detected and decided: figures from the speakers' own log lines."""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import msgspec


class LogLine(msgspec.Struct, frozen=True):
    """The fields of a speaker's JSON log line that are read here; an absent field is empty."""

    ts: str = ""
    event: str = ""
    member: str | None = ""
    by: str = ""
    ip: str = ""
    mac: str = ""
    owner: str | None = None
    previous: str | None = None
    msg: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One log line of `node`, `at` in seconds of the wall clock since 1970."""

    node: str
    at: float
    line: LogLine


_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(\.\d+)?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)
_LINE = msgspec.json.Decoder(LogLine)


def seconds_of(text: str) -> float | None:
    """An RFC 3339 time with any number of fractional digits as seconds since 1970, None when it is none."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    whole = calendar.timegm((year, month, day, hour, minute, second, 0, 0, 0))
    sign, hours, minutes = match.group(8, 9, 10)
    offset = (int(hours) * 3600 + int(minutes) * 60) * (-1 if sign == "-" else 1) if sign else 0
    return whole - offset + float(match.group(7) or 0)


def read_log(node: str, text: str) -> list[Entry]:
    """The JSON lines of one speaker's log; other lines (a traceback, half a line) are left out."""
    entries = []
    for raw in text.splitlines():
        try:
            line = _LINE.decode(raw)
        except msgspec.DecodeError:
            continue
        at = seconds_of(line.ts)
        if at is not None:
            entries.append(Entry(node, at, line))
    return entries


def first(
    entries: Iterable[Entry],
    events: Collection[str],
    *,
    since: float,
    node: str | None = None,
    member: str | None = None,
    ip: str | None = None,
    owner: str | None = None,
) -> Entry | None:
    """The earliest line at or after `since` (wall clock) with one of the events and the given fields."""
    found = [
        entry
        for entry in entries
        if entry.at >= since
        and entry.line.event in events
        and (node is None or entry.node == node)
        and (member is None or entry.line.member == member)
        and (ip is None or entry.line.ip == ip)
        and (owner is None or entry.line.owner == owner)
    ]
    return min(found, key=lambda entry: entry.at, default=None)


def wall_clock_offset(monotonic: float, wall: float) -> float:
    """What to add to a monotonic time for the wall clock, from both read together."""
    return wall - monotonic


def rfc3339(at: float) -> str:
    """Seconds since 1970 as text with microseconds, in UTC."""
    whole = int(at // 1)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{int((at - whole) * 1e6):06d}Z"
