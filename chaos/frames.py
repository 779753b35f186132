"""Figures from the packet record of chaos/recorder.py: who announced what, and who spoke out of turn."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import msgspec

from chaos.records import events


class RecorderStart(msgspec.Struct, frozen=True, tag="recorder", array_like=True):
    """First line of a record: where was listened, and both clocks read together."""

    interface: str
    monotonic: float
    wall: float


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


def back_s(record: FrameRecord, vips: Iterable[str], gone: Collection[str], *, since: float) -> float | None:
    """How long after `since` each of the VIPs had been announced by a MAC address that is not `gone`, seconds.

    None when one was not. A VIP that nobody of `gone` owned is not to be asked for.
    """
    first: dict[str, float] = {}
    for frame in record.frames:
        if frame.kind == "announcement" and frame.at >= since and frame.mac not in gone:
            first.setdefault(frame.sender, frame.at)
    wanted = list(vips)
    if any(vip not in first for vip in wanted):
        return None
    return max((first[vip] - since for vip in wanted), default=0.0)


def moved(
    record: FrameRecord, owners: Mapping[str, str], *, since: float, until: float = float("inf")
) -> tuple[str, ...]:
    """The VIPs that a MAC address other than their owner's announced between two times."""
    return tuple(
        vip for vip, mac in owners.items() if announcers(record, vip, since=since, until=until) - {mac}
    )


def strays(record: FrameRecord, owners: Mapping[str, str], *, since: float) -> int:
    """Frames that said of a VIP that its former owner has it, after another announced it and before that one asked again
    or was offered it."""
    count = 0
    taken: set[str] = set()
    settled: set[str] = set()
    for frame in record.frames:
        vip = frame.target if frame.kind == "probe" else frame.sender
        if frame.at < since or vip not in owners or vip in settled:
            continue
        mine = frame.mac == owners[vip]
        if not mine and frame.kind == "announcement":
            taken.add(vip)
        elif vip in taken and (
            frame.kind == "probe" if mine else (frame.kind, frame.to) == ("offer", owners[vip])
        ):
            settled.add(vip)
        elif mine and vip in taken:
            count += 1
    return count
