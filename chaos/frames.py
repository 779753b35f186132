"""Figures from the packet record of chaos/recorder.py: who announced what, and who spoke out of turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from chaos.records import events


class RecorderStart(msgspec.Struct, frozen=True, tag="recorder", array_like=True):
    """First line of a record: where was listened, and both clocks read together."""

    interface: str
    monotonic: float
    wall: float


ASKED_S: Final = 0.05
"""How long after its last question the answer of the others is waited for, and some: 20 ms (announcer/layer2/evidence.py)."""


class Frame(msgspec.Struct, frozen=True, tag="f", array_like=True):
    """One ARP frame of `mac` for `to` passed at `at` (monotonic seconds); kinds as in chaos/recorder.py."""

    kind: str
    mac: str
    to: str
    sender: str
    target: str
    at: float


class End(msgspec.Struct, frozen=True, tag="end", array_like=True):
    """The recorder ended by itself: the record is whole."""

    at: float


_LINE: msgspec.json.Decoder[RecorderStart | Frame | End] = msgspec.json.Decoder(RecorderStart | Frame | End)


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """Frames in the order in which they passed."""

    frames: tuple[Frame, ...] = ()

    def after(self, at: float) -> FrameRecord:
        """What passed at or after a time, monotonic seconds."""
        return FrameRecord(tuple(frame for frame in self.frames if frame.at >= at))


def parse(lines: Iterable[str]) -> FrameRecord:
    """Read a recorder's record; a last line that is still being written is left out.

    Raises MeasurementError where a line is no record of a recorder.
    """
    return FrameRecord(tuple(one for one in events(lines, _LINE, "packet") if isinstance(one, Frame)))


def announcers(record: FrameRecord, vip: str, *, since: float, until: float = float("inf")) -> frozenset[str]:
    """The MAC addresses that announced `vip` between two times."""
    return frozenset(
        frame.mac
        for frame in record.frames
        if frame.kind == "announcement" and frame.sender == vip and since <= frame.at <= until
    )


def back_s(record: FrameRecord, owners: Mapping[str, str], *, since: float) -> float | None:
    """How long after `since` each of the VIPs had been announced, seconds; None when one was not.

    `owners` are those at `since`. What a VIP's own owner announces counts once it has asked for it again: till then it may
    say what it said before.
    """
    first: dict[str, float] = {}
    asked: set[str] = set()
    for frame in record.frames:
        if frame.at < since:
            continue
        if frame.kind == "probe" and frame.mac == owners.get(frame.target):
            asked.add(frame.target)
        elif frame.kind == "announcement" and (
            frame.sender in asked or frame.mac != owners.get(frame.sender)
        ):
            first.setdefault(frame.sender, frame.at)
    if any(vip not in first for vip in owners):
        return None
    return max((first[vip] - since for vip in owners), default=0.0)


def moved(
    record: FrameRecord, owners: Mapping[str, str], *, since: float, until: float = float("inf")
) -> tuple[str, ...]:
    """The VIPs that a MAC address other than their owner's announced between two times."""
    return tuple(
        vip for vip, mac in owners.items() if announcers(record, vip, since=since, until=until) - {mac}
    )


def misplaced(
    record: FrameRecord, right: Mapping[str, str], before: Mapping[str, str], *, until: float
) -> tuple[str, ...]:
    """The VIPs that another MAC address than the right one announced last; `before` had those that nobody announced."""
    last = dict(before)
    for frame in record.frames:
        if frame.kind == "announcement" and frame.at <= until:
            last[frame.sender] = frame.mac
    return tuple(vip for vip, mac in right.items() if last.get(vip) != mac)


def strays(
    record: FrameRecord, owners: Mapping[str, str], *, since: float, stalls: Iterable[float] = ()
) -> int:
    """Frames that said of a VIP that its former owner has it, after another announced it and before that one asked again
    or was offered it.

    After each of the `stalls` (when they began) it has to ask for what another announced last, whatever it asked before.
    """
    count = 0
    taken: set[str] = set()
    settled: set[str] = set()
    later = deque(sorted(stalls))
    for frame in record.frames:
        while later and later[0] <= frame.at:
            later.popleft()
            settled.clear()
        vip = frame.target if frame.kind == "probe" else frame.sender
        if frame.at < since or vip not in owners:
            continue
        mine = frame.mac == owners[vip]
        if not mine and frame.kind == "announcement":
            taken.add(vip)
        elif vip in taken and (
            frame.kind == "probe" if mine else (frame.kind, frame.to) == ("offer", owners[vip])
        ):
            settled.add(vip)
        elif mine and vip in settled:
            if frame.kind == "announcement":
                taken.discard(vip)
        elif mine and vip in taken:
            count += 1
    return count


def out_of_turn(
    record: FrameRecord, vips: Collection[str], *, since: float, until: float = float("inf")
) -> int:
    """Announcements from `since` on by which a MAC address repeated one of the VIPs while the first one of another was due:
    of those that it announces until `until`, each from ASKED_S after it asked for that VIP last."""
    said: list[Frame] = []
    asked: dict[tuple[str, str], float] = {}
    due: dict[str, dict[str, float]] = {}
    for frame in record.frames:
        if frame.kind == "probe":
            asked[frame.mac, frame.target] = frame.at
        elif frame.kind == "announcement" and frame.sender in vips and since <= frame.at <= until:
            said.append(frame)
            at = asked.get((frame.mac, frame.sender), float("-inf")) + ASKED_S
            due.setdefault(frame.mac, {}).setdefault(frame.sender, at)
    count = 0
    for frame in said:
        waiting = due[frame.mac]
        count += frame.sender not in waiting and any(at <= frame.at for at in waiting.values())
        waiting.pop(frame.sender, None)
    return count


def most_in_a_second(record: FrameRecord, vips: Collection[str], *, since: float) -> int:
    """The most frames that one MAC address sent of its own accord within a second, from `since` on: announcements of
    the VIPs, and requests with one of them as sender."""
    most = 0
    recent: dict[str, deque[float]] = {}
    for frame in record.frames:
        if frame.kind in ("announcement", "request") and frame.sender in vips and frame.at >= since:
            times = recent.setdefault(frame.mac, deque())
            times.append(frame.at)
            while times[0] <= frame.at - 1.0:
                times.popleft()
            most = max(most, len(times))
    return most
