"""Who had a VIP, and when: figures from the record of chaos/observer.py alone.

The owners of a VIP from one question to the next are the MAC addresses that answered that question. So
the resolution is the time between two questions (50 ms), and an owner that is asked but answers after the
whole round of senders (200 ms) counts as silent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import msgspec

from chaos.errors import MeasurementError
from chaos.records import events


class ObserverStart(msgspec.Struct, frozen=True, tag="observer", array_like=True):
    """First line of a record: where and how often is asked, and both clocks read together."""

    interface: str
    interval_s: float
    rounds: int
    monotonic: float
    wall: float


class Question(msgspec.Struct, frozen=True, tag="q", array_like=True):
    """Question `number` for `vip` left at `at` (monotonic seconds)."""

    number: int
    vip: str
    at: float


class Answer(msgspec.Struct, frozen=True, tag="a", array_like=True):
    """`mac` answered question `number` for `vip`; the answer arrived at `at`."""

    number: int
    vip: str
    mac: str
    at: float


class Gratuitous(msgspec.Struct, frozen=True, tag="g", array_like=True):
    """`mac` announced `vip` at `at` without being asked; `form` is `request` or `reply`."""

    vip: str
    mac: str
    form: str
    at: float


class End(msgspec.Struct, frozen=True, tag="end", array_like=True):
    """The observer ended by itself: the record is whole."""

    at: float


_LINE: msgspec.json.Decoder[ObserverStart | Question | Answer | Gratuitous | End] = msgspec.json.Decoder(
    ObserverStart | Question | Answer | Gratuitous | End
)


@dataclass(frozen=True, slots=True)
class ObserverRecord:
    """One observer's record. All times are monotonic seconds of the machine."""

    start: ObserverStart
    questions: tuple[Question, ...]
    answers: tuple[Answer, ...]
    gratuitous: tuple[Gratuitous, ...]
    end: float | None

    @property
    def vips(self) -> tuple[str, ...]:
        """The addresses that were asked for, in the order of the first question."""
        return tuple(dict.fromkeys(question.vip for question in self.questions))


@dataclass(frozen=True, slots=True)
class Interval:
    """From `start` to `end` (monotonic seconds) exactly the MAC addresses in `owners` answered."""

    start: float
    end: float
    owners: frozenset[str]


def parse(lines: Iterable[str], *, among: Collection[str] | None = None) -> ObserverRecord:
    """Read an observer's record; a last line that is still being written is left out.

    `among`: the MAC addresses that may be owners, where others answer as well; the answers of those are left out.

    Raises MeasurementError where a line is no record of an observer.
    """
    start: ObserverStart | None = None
    questions: list[Question] = []
    answers: list[Answer] = []
    gratuitous: list[Gratuitous] = []
    end: float | None = None
    for event in events(lines, _LINE, "observer"):
        match event:
            case ObserverStart():
                start = event
            case Question():
                questions.append(event)
            case Answer():
                if among is None or event.mac in among:
                    answers.append(event)
            case Gratuitous():
                gratuitous.append(event)
            case End():
                end = event.at
    if start is None:
        raise MeasurementError("observer record: the first line is missing")
    return ObserverRecord(start, tuple(questions), tuple(answers), tuple(gratuitous), end)


def intervals(record: ObserverRecord, vip: str) -> tuple[Interval, ...]:
    """Who had `vip` when, neighbours with the same owners joined.

    The last question of a record that still grows is left out, since its answers may be under way.
    """
    answered: dict[int, set[str]] = {}
    for answer in record.answers:
        if answer.vip == vip:
            answered.setdefault(answer.number, set()).add(answer.mac)
    asked = [question for question in record.questions if question.vip == vip]
    ends = [question.at for question in asked[1:]] + ([record.end] if record.end is not None else [])
    found: list[Interval] = []
    for question, end in zip(asked, ends, strict=False):
        owners = frozenset(answered.get(question.number, ()))
        if found and found[-1].owners == owners:
            found[-1] = Interval(found[-1].start, end, owners)
        else:
            found.append(Interval(question.at, end, owners))
    return tuple(found)


def _union_s(
    record: ObserverRecord, since: float, until: float, wanted: Callable[[frozenset[str]], bool]
) -> float:
    """Seconds between `since` and `until` in which at least one VIP was in a wanted state."""
    spans = sorted(
        (max(interval.start, since), min(interval.end, until))
        for vip in record.vips
        for interval in intervals(record, vip)
        if wanted(interval.owners) and interval.end > since and interval.start < until
    )
    total, reached = 0.0, since
    for start, end in spans:
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def two_owners_s(record: ObserverRecord, *, since: float, until: float) -> float:
    """Seconds between `since` and `until` in which two or more MAC addresses answered for a VIP."""
    return _union_s(record, since, until, lambda owners: len(owners) >= 2)


def no_owner_s(record: ObserverRecord, *, since: float, until: float) -> float:
    """Seconds between `since` and `until` in which nobody answered for a VIP."""
    return _union_s(record, since, until, lambda owners: not owners)


def longest_silence_s(
    record: ObserverRecord, *, since: float, until: float, vips: Iterable[str] | None = None
) -> float:
    """The longest time between `since` and `until` in which nobody answered for one VIP (of `vips`, else of all), seconds."""
    return max(
        (
            min(interval.end, until) - max(interval.start, since)
            for vip in (record.vips if vips is None else vips)
            for interval in intervals(record, vip)
            if not interval.owners and interval.end > since and interval.start < until
        ),
        default=0.0,
    )


def owner_at(record: ObserverRecord, vip: str, at: float) -> frozenset[str]:
    """The MAC addresses that answered for `vip` at that time; empty when nobody did or nobody asked."""
    for interval in intervals(record, vip):
        if interval.start <= at < interval.end:
            return interval.owners
    return frozenset()


def alone_since(record: ObserverRecord, vip: str, mac: str) -> float | None:
    """Since when `mac` alone has answered for `vip` without a break, monotonic seconds; None when it does not."""
    seen = intervals(record, vip)
    return seen[-1].start if seen and seen[-1].owners == {mac} else None


def first_announcement(record: ObserverRecord, vip: str, mac: str, *, since: float) -> float | None:
    """When `mac` first announced `vip` by a gratuitous frame at or after `since`, monotonic seconds."""
    return min(
        (
            frame.at
            for frame in record.gratuitous
            if (frame.vip, frame.mac) == (vip, mac) and frame.at >= since
        ),
        default=None,
    )


def last_word(record: ObserverRecord, vip: str, mac: str, *, since: float) -> float | None:
    """When `mac` first announced `vip` after every other one that did at or after `since`, monotonic seconds."""
    others = [frame.at for frame in record.gratuitous if frame.vip == vip and frame.mac != mac]
    return first_announcement(record, vip, mac, since=max([since, *others]))


def settled(record: ObserverRecord, *, since: float) -> dict[str, str]:
    """The VIPs that one and the same MAC address alone has answered for from `since` on, with that address."""
    found: dict[str, str] = {}
    for vip in record.vips:
        seen = intervals(record, vip)
        if seen and seen[-1].start <= since and len(seen[-1].owners) == 1:
            (found[vip],) = seen[-1].owners
    return found
