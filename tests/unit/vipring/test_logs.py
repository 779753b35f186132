"""The form of log lines."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
import structlog

from vipring.logs import configure, rfc3339


@pytest.fixture
def out() -> Iterator[io.BytesIO]:
    stream = io.BytesIO()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure(stream, node="n1")
    yield stream
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers[:], root.level = handlers, level


def lines(stream: io.BytesIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_line(out: io.BytesIO) -> None:
    structlog.get_logger().info("announced", ip=ip_address("198.18.1.1"), interface="eth0")
    (line,) = lines(out)
    assert list(line)[:4] == ["ts", "level", "caller", "event"]
    assert line["event"] == "announced"
    assert line["ip"] == "198.18.1.1"
    assert line["node"] == "n1"
    assert str(line["caller"]).startswith("test_logs.py:")
    assert len(str(line["ts"])) == len("2026-11-22T22:53:23.511645695Z")


def test_an_operation_has_a_message_and_no_event(out: io.BytesIO) -> None:
    structlog.get_logger().error("no available IPs", op="allocateIP")
    (line,) = lines(out)
    assert (line["op"], line["msg"], line["level"]) == ("allocateIP", "no available IPs", "error")
    assert "event" not in line


def test_libraries_and_tracebacks_are_json_too(out: io.BytesIO) -> None:
    logging.getLogger("uvicorn.error").warning("slow %s", "client")
    logging.getLogger("httpx2").info("one line a request would be too many")
    try:
        int("broken\nin two")
    except ValueError:
        structlog.get_logger().exception("crashed", op="run")
    library, crash = lines(out)
    assert (library["component"], library["msg"]) == ("uvicorn.error", "slow client")
    assert "ValueError" in str(crash["exception"])


def test_rfc3339() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00.000000000Z"
    assert rfc3339(1_795_387_999_000_000_001) == "2026-11-22T22:53:19.000000001Z"


def test_a_line_that_nobody_reads_is_lost_without_harm(out: io.BytesIO) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as broken:
        configure(broken, node="n1")
        structlog.get_logger().info("lost")
    configure(out, node="n1")
    structlog.get_logger().info("read")
    assert [line["event"] for line in lines(out)] == ["read"]
