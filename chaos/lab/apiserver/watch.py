"""Watches: the stream of what happens to the objects of one kind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import anyio

from chaos.lab.apiserver.answers import Renderer, error_event
from chaos.lab.apiserver.errors import StatusError, bad_request
from chaos.lab.apiserver.kinds import Kind
from chaos.lab.apiserver.listing import number, selector
from chaos.lab.apiserver.revisions import Event, Record, Revisions, encode
from chaos.lab.apiserver.selectors import Predicate

_DEFAULT_TIMEOUT_S = 1800.0
_LAST_BOOKMARK_S = 2.0  # before the end of a watch, as in the watch cache


class Watch:
    """One watch request. Raises StatusError 400 at construction for parameters that make no sense."""

    def __init__(
        self,
        revisions: Revisions,
        kind: Kind,
        namespace: str | None,
        query: Mapping[str, str],
        renderer: Renderer,
        *,
        wall: Callable[[], float],
        bookmark_s: float,
    ) -> None:
        self._revisions = revisions
        self._kind = kind
        self._namespace = namespace
        self._renderer = renderer
        self._wall = wall
        self._selected = selector(kind, query)
        self._bookmarks = query.get("allowWatchBookmarks", "") in ("true", "1")
        self._bookmark_s = bookmark_s
        self._timeout_s = float(number(query, "timeoutSeconds") or _DEFAULT_TIMEOUT_S)
        version = number(query, "resourceVersion")
        initial = query.get("sendInitialEvents", "")
        if initial and query.get("resourceVersionMatch") != "NotOlderThan":
            raise bad_request("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
        if query.get("resourceVersionMatch") and not initial:
            raise bad_request(
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            )
        self._initial = not version if not initial else initial == "true"
        self._mark_initial_end = initial == "true" and self._bookmarks
        self._cursor = revisions.revision if self._initial else version or revisions.revision

    def check(self) -> None:
        """Raises StatusError 410 when the version asked for has left the history."""
        self._revisions.events_after(self._kind.resource, self._cursor)

    async def stream(self, gate: Callable[[], Awaitable[None]]) -> AsyncIterator[bytes]:
        """The lines of the answer. `gate` is awaited before each piece; while it waits, nothing ends either."""
        changed = anyio.Event()

        def notify() -> None:
            changed.set()

        unsubscribe = self._revisions.subscribe(self._kind.resource, notify)
        try:
            for line in self._first_lines():
                yield line
            start = anyio.current_time()
            end, mark_at = start + self._timeout_s, start + self._bookmark_s
            last_mark = end - _LAST_BOOKMARK_S
            while True:
                try:
                    lines = self._next_lines()
                except StatusError as error:
                    yield error_event(error)
                    return
                now = anyio.current_time()
                if self._bookmarks and (now >= mark_at or now >= last_mark):
                    lines.append(self._renderer.bookmark(self._cursor))
                    mark_at = now + self._bookmark_s
                    last_mark = end if now >= last_mark else last_mark
                await gate()
                if lines:
                    yield b"".join(lines)
                if now >= end:
                    return
                wake = min(end, mark_at, last_mark) if self._bookmarks else end
                with anyio.move_on_after(max(0.0, wake - anyio.current_time())):
                    await changed.wait()
                changed = anyio.Event()
        finally:
            unsubscribe()

    def _first_lines(self) -> list[bytes]:
        """The state as ADDED events, for a watch that does not start from a version."""
        lines: list[bytes] = []
        if self._initial:
            now = self._wall()
            self._cursor = self._revisions.revision
            records = self._revisions.records(self._kind.resource, self._namespace)
            lines += [
                self._renderer.event("ADDED", record, now)
                for record in records
                if self._selected is None or self._selected(record.obj)
            ]
            if self._mark_initial_end:
                lines.append(self._renderer.bookmark(self._cursor, initial_end=True))
        return lines

    def _next_lines(self) -> list[bytes]:
        events = self._revisions.events_after(self._kind.resource, self._cursor)
        # The counter is global, so a bookmark may carry it although other kinds moved it.
        self._cursor = max(self._cursor, self._revisions.revision)
        now = self._wall()
        lines = []
        for event in events:
            if self._namespace not in (None, event.record.key[0]):
                continue
            seen = as_seen(event, self._selected)
            if seen is not None:
                lines.append(self._renderer.event(*seen, now))
        return lines


def as_seen(event: Event, selected: Predicate | None) -> tuple[str, Record] | None:
    """An event as a watch with a selector sees it: an object that stops matching is DELETED for it."""
    if selected is None:
        return event.type, event.record
    before = event.previous is not None and selected(event.previous.obj)
    after = event.type != "DELETED" and selected(event.record.obj)
    if before and after:
        return "MODIFIED", event.record
    if after:
        return "ADDED", event.record
    if before and event.previous is not None:
        meta = {**event.previous.obj["metadata"], "resourceVersion": event.record.version}
        return "DELETED", encode({**event.previous.obj, "metadata": meta})
    return None
