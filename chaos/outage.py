"""What a client noticed: figures from the record of chaos/probe.py.

The outage is the longest gap between the arrivals of two consecutive answers that ends after the fault.
The probe's own interval is not subtracted, so a run without any disturbance reads one interval (4 ms at
250 a second) plus jitter, and the figure compares directly with one taken from a packet capture.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from chaos.errors import MeasurementError
from chaos.records import events


class ProbeStart(msgspec.Struct, frozen=True, tag="probe", array_like=True):
    """First line of a record: what is asked, and both clocks read together."""

    mode: str
    target: str
    port: int
    interval_s: float
    monotonic: float
    wall: float


class Sent(msgspec.Struct, frozen=True, tag="sent", array_like=True):
    """A question left at `at` (monotonic seconds)."""

    number: int
    at: float


class Answered(msgspec.Struct, frozen=True, tag="answered", array_like=True):
    """The answer to question `number` arrived at `at`; `by` names the server (udp) or the status (http)."""

    number: int
    at: float
    by: str


class Late(msgspec.Struct, frozen=True, tag="late", array_like=True):
    """The probing process itself was held up for `seconds` until `at`."""

    at: float
    seconds: float


class End(msgspec.Struct, frozen=True, tag="end", array_like=True):
    """The probe ended by itself: the record is whole."""

    at: float


_LINE: msgspec.json.Decoder[ProbeStart | Sent | Answered | Late | End] = msgspec.json.Decoder(
    ProbeStart | Sent | Answered | Late | End
)


@dataclass(frozen=True, slots=True)
class ProbeRecord:
    """One probe's record. All times are monotonic seconds of the machine."""

    start: ProbeStart
    sent: tuple[Sent, ...]
    answered: tuple[Answered, ...]
    late: tuple[Late, ...]
    complete: bool


@dataclass(frozen=True, slots=True)
class Gap:
    """No answer arrived between `start` and `end` (monotonic seconds); `by` answered at `end`."""

    start: float
    end: float
    by: str

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.end - self.start


def parse(lines: Iterable[str]) -> ProbeRecord:
    """Read a probe's record; a last line that is still being written is left out.

    Raises MeasurementError where a line is no record of a probe.
    """
    start: ProbeStart | None = None
    sent: list[Sent] = []
    answered: list[Answered] = []
    late: list[Late] = []
    complete = False
    for event in events(lines, _LINE, "probe"):
        match event:
            case ProbeStart():
                start = event
            case Sent():
                sent.append(event)
            case Answered():
                answered.append(event)
            case Late():
                late.append(event)
            case End():
                complete = True
    if start is None:
        raise MeasurementError("probe record: the first line is missing")
    return ProbeRecord(start, tuple(sent), tuple(answered), tuple(late), complete)


def longest_gap(record: ProbeRecord, *, fault: float) -> Gap:
    """The longest gap between consecutive answers that ends after `fault` (monotonic seconds).

    Raises MeasurementError when no answer came before the fault, or none after it.
    """
    arrivals = sorted(record.answered, key=lambda answer: answer.at)
    if not arrivals or arrivals[0].at > fault:
        raise MeasurementError("no answer came before the fault: there is nothing to compare with")
    gaps = [
        Gap(before.at, after.at, after.by)
        for before, after in itertools.pairwise(arrivals)
        if after.at > fault
    ]
    if not gaps:
        raise MeasurementError("no answer came after the fault: the address did not come back")
    return max(gaps, key=lambda gap: gap.seconds)


def noise_s(record: ProbeRecord) -> float:
    """Gaps up to this length are not told apart from scheduling: five intervals, at least 50 ms."""
    return max(0.05, 5 * record.start.interval_s)


def held_up_s(record: ProbeRecord, gap: Gap) -> float:
    """For how long the probing process itself was not running at either edge of the gap, seconds.

    So much too long the gap may be; delays in its middle change nothing.
    """
    noise = noise_s(record)
    return sum(
        late.seconds
        for late in record.late
        if late.at - late.seconds <= gap.start + noise <= late.at + noise or abs(gap.end - late.at) <= noise
    )


def sent_and_lost(record: ProbeRecord, *, since: float) -> tuple[int, int]:
    """Questions sent at or after `since`, and how many of them were never answered."""
    numbers = {question.number for question in record.sent if question.at >= since}
    return len(numbers), len(numbers - {answer.number for answer in record.answered})


def longest_wait_s(record: ProbeRecord, *, since: float) -> float | None:
    """The longest time from a question sent at or after `since` to its answer, seconds; None when none was answered."""
    sent = {question.number: question.at for question in record.sent if question.at >= since}
    return max(
        (answer.at - sent[answer.number] for answer in record.answered if answer.number in sent), default=None
    )


def whole_s(record: ProbeRecord, *, since: float) -> float:
    """How long after `since` the last question was sent that was never answered, seconds; 0 when there was none."""
    answered = {answer.number for answer in record.answered}
    return max(
        (
            question.at - since
            for question in record.sent
            if question.at >= since and question.number not in answered
        ),
        default=0.0,
    )


def steady(record: ProbeRecord, *, since: float, until: float) -> bool:
    """True when between `since` and `until` no answer was missing for longer than noise."""
    arrivals = sorted(answer.at for answer in record.answered if since <= answer.at <= until)
    return all(
        after - before <= noise_s(record) for before, after in itertools.pairwise([since, *arrivals, until])
    )
