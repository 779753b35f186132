"""Reading what an instrument wrote: one event a line, the last of which may still be under way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import msgspec

from chaos.errors import MeasurementError

T = TypeVar("T")


def events(lines: Iterable[str], decoder: msgspec.json.Decoder[T], what: str) -> Iterator[T]:
    """The events of the whole lines of a record; `what` names it in errors.

    Raises MeasurementError, with the number of the line, where one does not decode.
    """
    for number, line in enumerate(lines, 1):
        if not line.endswith("\n"):
            return
        try:
            yield decoder.decode(line)
        except msgspec.DecodeError as error:
            raise MeasurementError(f"{what} record, line {number}: {error}") from None
