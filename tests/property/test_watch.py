"""Whatever an API server sends, the list-and-watch machine neither raises nor grows nor stops."""

from __future__ import annotations

import random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import BadResponseError
from cluster.objects import Service
from cluster.watch import MAX_LINE_BYTES, ListWatch, OpenWatch, RequestPage, Synced
from cluster.wire import Page, decode_page, decode_status

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["metadata", "name", "resourceVersion", "spec", "ports", "items", "continue", "code", "type"]
            )
            | st.text(),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
OBJECTS = JSON | st.fixed_dictionaries(
    {"metadata": st.fixed_dictionaries({"name": st.sampled_from("ab"), "resourceVersion": st.sampled_from("123") | JSON})},
    optional={"spec": JSON, "status": JSON},
)  # fmt: skip
EVENTS = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR", "?"]) | JSON,
        "object": OBJECTS,
    }
).map(lambda event: msgspec.json.encode(event) + b"\n")


def back_to_an_open_watch(core: ListWatch[Service], now: float) -> float:
    """Answer what the machine asks for; the time when it watches again."""
    for _ in range(6):
        requests = [output for output in core.take_outputs() if isinstance(output, RequestPage | OpenWatch)]
        deadline = core.next_deadline()
        if requests and isinstance(requests[-1], RequestPage):
            core.receive_page(Page([], "1"), now)
        elif requests:
            core.watch_opened(now)
        elif deadline is not None and deadline - now > 100:
            return now
        else:
            assert deadline is not None, "stopped"
            now = deadline
            core.handle_timer(now)
    raise AssertionError("never watches again")


@given(st.lists(st.binary() | EVENTS, max_size=15), st.integers(1, 400))
def test_any_watch(stream: list[bytes], size: int) -> None:
    core = ListWatch(Service, rng=random.Random(1))
    core.start()
    now = back_to_an_open_watch(core, 50.0)
    data = b"".join(stream)
    for start in range(0, len(data), size):
        core.receive_data(data[start : start + size], now)
        now = back_to_an_open_watch(core, now)
        assert len(core._buffer) <= MAX_LINE_BYTES
    assert core.last_error is None


@given(JSON | st.fixed_dictionaries({"metadata": JSON, "items": st.lists(OBJECTS, max_size=4)}))
def test_any_page(value: object) -> None:
    try:
        page = decode_page(msgspec.json.encode(value), Service, "services")
    except BadResponseError:
        return
    core = ListWatch(Service, rng=random.Random(1))
    core.start()
    core.take_outputs()
    core.receive_page(page, 50.0)
    outputs = core.take_outputs()
    finished = bool(page.resource_version) and not page.continue_token
    assert any(isinstance(output, Synced) for output in outputs) is finished


@given(st.binary())
def test_any_bytes(data: bytes) -> None:
    reason, message = decode_status(data)
    assert (reason + message).isprintable()
    assert len(message) <= 500
    try:
        outcome = repr(decode_page(data, Service, "services"))
    except BadResponseError as error:
        outcome = str(error)
    assert outcome.startswith(("Page(", "services: "))
