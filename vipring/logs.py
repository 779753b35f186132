"""Logs of the resident processes: one JSON object a line on standard output, MetalLB's keys.

Keys: ts (RFC 3339 with nanoseconds, UTC), level, caller (file.py:line), event or op, msg, then the fields.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import time
from collections.abc import MutableMapping
from typing import Any, BinaryIO, cast

import msgspec

# structlog colours tracebacks with rich when it finds it, which costs a resident process 6 MB for nothing.
sys.modules.setdefault("rich", None)  # type: ignore[arg-type]

import structlog  # noqa: E402
from typing_extensions import override  # noqa: E402

EventDict = MutableMapping[str, Any]

_FIRST = ("ts", "level", "caller", "event", "op", "msg")


def rfc3339(wall_ns: int) -> str:
    """Nanoseconds since the epoch as RFC 3339 in UTC with nine decimals."""
    seconds, fraction = divmod(wall_ns, 1_000_000_000)
    moment = time.gmtime(seconds)
    return (
        f"{moment.tm_year:04d}-{moment.tm_mon:02d}-{moment.tm_mday:02d}T"
        f"{moment.tm_hour:02d}:{moment.tm_min:02d}:{moment.tm_sec:02d}.{fraction:09d}Z"
    )


def _stamp(_logger: object, _method: str, line: EventDict) -> EventDict:
    line["ts"] = rfc3339(time.time_ns())
    return line


def _caller(_logger: object, _method: str, line: EventDict) -> EventDict:
    line["caller"] = f"{line.pop('filename', '?')}:{line.pop('lineno', 0)}"
    return line


def _operation(_logger: object, _method: str, line: EventDict) -> EventDict:
    """A line with `op` reports an operation: its text is a message, not the name of an event."""
    if "op" in line and "event" in line:
        line.setdefault("msg", line.pop("event"))
    return line


def _plain(value: object) -> object:
    """What JSON has no form for is written as its text (addresses, paths, exceptions)."""
    return str(value)


def _encode(line: EventDict, **_: object) -> bytes:
    ordered = {key: line[key] for key in _FIRST if key in line}
    ordered.update((key, value) for key, value in line.items() if key not in ordered)
    return _ENCODER.encode(ordered)


_ENCODER = msgspec.json.Encoder(enc_hook=_plain)


class _Library(logging.Handler):
    """Lines of libraries (uvicorn, asyncio) in the same form."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger().bind(component=record.name)
        if record.exc_info and record.exc_info[1]:
            log = log.bind(error=repr(record.exc_info[1]))
        log.log(record.levelno, "library", msg=record.getMessage())


class _Lenient(io.RawIOBase):
    """A stream of lines nobody may be reading any more: a lost line must not end the process that wrote it."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    @override
    def writable(self) -> bool:
        return True

    @override
    def write(self, line: Any) -> int:
        with contextlib.suppress(OSError):
            self._out.write(line)
        return len(line)

    @override
    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._out.flush()


def configure(out: BinaryIO | None = None, **fields: object) -> None:
    """Set up structlog for this process; `fields` are put on every line (the node's name).

    Call it once, before the first line. Library loggers are heard from warning on.
    """
    structlog.contextvars.bind_contextvars(**fields)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.CallsiteParameterAdder(
                {
                    structlog.processors.CallsiteParameter.FILENAME,
                    structlog.processors.CallsiteParameter.LINENO,
                },
                additional_ignores=["vipring.logs", "logging"],
            ),
            structlog.processors.format_exc_info,
            _stamp,
            _caller,
            _operation,
            structlog.processors.JSONRenderer(serializer=_encode),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.BytesLoggerFactory(cast("BinaryIO", _Lenient(out or sys.stdout.buffer))),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_Library()], force=True)
