"""List and watch as a sans-IO machine: what to ask the API server next, and what truly changed.

The shell (`reflector.py`) performs the outputs RequestPage, OpenWatch and CloseWatch one at a time and feeds
back what came; the other outputs are the news for the application. Time is monotonic seconds.

The rules of the Kubernetes API that this encodes (kubernetes.io/docs/reference/using-api/api-concepts): a
list gives a resourceVersion, a watch from it gives every later change, bookmarks move the version without a
change, 410 (as an HTTP status or as an ERROR event) means that the version is too old and the list must be
read again.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType
from typing import Generic, TypeAlias, TypeVar

import msgspec

from cluster.backoff import Backoff
from cluster.errors import BadResponseError, ClusterError
from cluster.wire import (
    MAX_PAGES,
    WATCH_EVENT,
    KubeObject,
    Page,
    Status,
    decoded,
    decoded_by,
    metadata_of,
    one_line,
)

T = TypeVar("T", bound=KubeObject)

# The API server refuses objects over 3 MiB on the wire; a longer line is not one event.
MAX_LINE_BYTES = 4 * 2**20
WATCH_TIMEOUT_S = (240, 320)
READ_GRACE_S = 15.0
# A watch that lived this long proves that the server works, events or not.
PROVEN_AFTER_S = 5.0
_MAX_RETRY_AFTER_S = 60.0


@dataclass(frozen=True, slots=True)
class RequestPage:
    """Ask for a page of the list; the answer goes to `receive_page` or `request_failed`."""

    limit: int
    continue_token: str


@dataclass(frozen=True, slots=True)
class OpenWatch:
    """Open a watch; the answer goes to `watch_opened` and `receive_data`, or to `request_failed`."""

    resource_version: str
    timeout_s: int

    def params(self) -> dict[str, str]:
        """The query parameters that say so."""
        return {
            "resourceVersion": self.resource_version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(self.timeout_s),
        }


@dataclass(frozen=True, slots=True)
class CloseWatch:
    """Close the open watch; nothing more of it may be fed in."""


@dataclass(frozen=True, slots=True)
class Synced:
    """The first full list has been handed over. Comes once."""


@dataclass(frozen=True, slots=True)
class Upserted(Generic[T]):
    """The object is there in this version; `old` is the version known before."""

    obj: T
    old: T | None


@dataclass(frozen=True, slots=True)
class Deleted(Generic[T]):
    """The object is gone; this is its last known version."""

    obj: T


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something went wrong and will be tried again after `retry_s` seconds (0: at once). One line of text."""

    error: str
    retry_s: float


@dataclass(frozen=True, slots=True)
class Recovered:
    """The API server answers again after a Trouble."""


@dataclass(frozen=True, slots=True)
class ObjectSkipped:
    """An object could not be read and was passed over; the version known before, if any, stays."""

    error: str


Change: TypeAlias = Synced | Upserted[T] | Deleted[T]
Request: TypeAlias = RequestPage | OpenWatch | CloseWatch
Output: TypeAlias = Request | Change[T] | Trouble | Recovered | ObjectSkipped


class _State(Enum):
    IDLE = auto()
    LISTING = auto()
    OPENING = auto()
    WATCHING = auto()
    WAITING = auto()


class ListWatch(Generic[T]):
    """The machine for one kind of object.

    Call `start` once, then drain `take_outputs` after every input. `store` maps `namespace/name` to the
    objects known. Nothing that the server sends raises.
    """

    def __init__(
        self, item: type[T], *, rng: random.Random, backoff: Backoff | None = None, limit: int = 250
    ) -> None:
        self._decoder = msgspec.json.Decoder(item)
        self._rng = rng
        self._backoff = backoff or Backoff(rng)
        self._limit = limit
        self._state = _State.IDLE
        self._store: dict[str, T] = {}
        self._pages: dict[str, T] = {}
        self._page_count = 0
        self._version = ""
        self._must_list = True
        self._expired = False
        self._stuck_at: str | None = None
        self._buffer = bytearray()
        self._opened_at = 0.0
        self._timeout_s = 0
        self._deadline: float | None = None
        self._synced = False
        self._last_error: str | None = None
        self._outputs: list[Output[T]] = []

    @property
    def store(self) -> Mapping[str, T]:
        """The objects known, a live read-only view."""
        return MappingProxyType(self._store)

    @property
    def synced(self) -> bool:
        """Whether a full list was read at least once."""
        return self._synced

    @property
    def last_error(self) -> str | None:
        """What went wrong, until the server answers well again."""
        return self._last_error

    def start(self) -> None:
        """Begin with a list."""
        if self._state is _State.IDLE:
            self._proceed()

    def take_outputs(self) -> list[Output[T]]:
        """What to do and what happened since the last call, in order."""
        outputs, self._outputs = self._outputs, []
        return outputs

    def next_deadline(self) -> float | None:
        """When `handle_timer` is due: the end of a pause or of the patience with a silent watch."""
        return self._deadline

    def handle_timer(self, now: float) -> None:
        """The deadline has come; an early call does nothing."""
        if self._deadline is None or now < self._deadline:
            return
        if self._state is _State.WAITING:
            self._proceed()
        elif self._state is _State.WATCHING:
            # The server ends a watch by itself at its time-out: this one is a connection to nobody.
            self._close()
            self._retry(f"watch silent past its time-out of {self._timeout_s} s", now)

    def receive_page(self, page: Page[T], now: float) -> None:
        """A page of the list has come."""
        if self._state is not _State.LISTING:
            return
        for skipped in page.skipped:
            self._outputs.append(ObjectSkipped(skipped.error))
            if skipped.key in self._store:
                self._pages[skipped.key] = self._store[skipped.key]
        for obj in page.items:
            self._pages[obj.metadata.key] = obj
        self._page_count += 1
        if page.continue_token and self._page_count < MAX_PAGES:
            self._outputs.append(RequestPage(self._limit, page.continue_token))
            return
        if page.continue_token:
            self._retry(f"list: has more than {MAX_PAGES} pages", now)
            return
        if not page.resource_version:
            self._retry("list: the answer has no metadata.resourceVersion", now)
            return
        self._version = page.resource_version
        self._must_list = False
        self._hand_over()
        self._proceed()

    def watch_opened(self, now: float) -> None:
        """The server accepted the watch."""
        if self._state is not _State.OPENING:
            return
        self._state = _State.WATCHING
        self._opened_at = now
        self._deadline = now + self._timeout_s + READ_GRACE_S
        self._recovered()

    def receive_data(self, data: bytes, now: float) -> None:
        """Bytes of the watch, cut anywhere: each line is one event."""
        if not self._watching():
            return
        *ends, rest = data.split(b"\n")
        for end in ends:
            self._buffer += end
            line = bytes(self._buffer)
            self._buffer.clear()
            if line.strip():
                self._receive_line(line, now)
            if not self._watching():
                return
        self._buffer += rest
        if len(self._buffer) > MAX_LINE_BYTES:
            self._garbage(f"an event of more than {MAX_LINE_BYTES} bytes", now)

    def watch_ended(self, now: float) -> None:
        """The server closed the watch in good order, as it does at the time-out."""
        if self._state is not _State.WATCHING:
            return
        if now - self._opened_at >= PROVEN_AFTER_S:
            self._proven()
            self._proceed()
        else:
            self._pause(self._backoff.next_delay(), now)

    def request_failed(
        self, error: ClusterError, now: float, *, expired: bool = False, retry_after_s: float = 0.0
    ) -> None:
        """A page or a watch was refused, got no answer, or broke off. `expired`: it was a 410."""
        if self._state not in {_State.LISTING, _State.OPENING, _State.WATCHING}:
            return
        if self._state is _State.WATCHING and now - self._opened_at >= PROVEN_AFTER_S:
            self._proven()
        if expired:
            self._relist(str(error), now)
        else:
            self._retry(str(error), now, at_least_s=min(retry_after_s, _MAX_RETRY_AFTER_S))

    def _watching(self) -> bool:
        return self._state is _State.WATCHING

    def _proceed(self) -> None:
        """Ask for what is needed now."""
        self._buffer.clear()
        self._deadline = None
        if self._must_list:
            self._state = _State.LISTING
            self._pages = {}
            self._page_count = 0
            self._outputs.append(RequestPage(self._limit, ""))
        else:
            self._state = _State.OPENING
            self._timeout_s = self._rng.randint(*WATCH_TIMEOUT_S)
            self._outputs.append(OpenWatch(self._version, self._timeout_s))

    def _hand_over(self) -> None:
        """Turn a complete list into differences; the vanished go first, so that they free what they held."""
        fresh, self._pages = self._pages, {}
        for key in [key for key in self._store if key not in fresh]:
            self._outputs.append(Deleted(self._store.pop(key)))
        for key, obj in fresh.items():
            self._upsert(key, obj)
        if not self._synced:
            self._synced = True
            self._outputs.append(Synced())

    def _upsert(self, key: str, obj: T) -> None:
        old = self._store.get(key)
        if old is not None and old.metadata.uid != obj.metadata.uid:
            self._outputs.append(Deleted(self._store.pop(key)))
            old = None
        if old is None or old.metadata.resource_version != obj.metadata.resource_version:
            self._store[key] = obj
            self._outputs.append(Upserted(obj, old))

    def _receive_line(self, line: bytes, now: float) -> None:
        try:
            event = decoded_by(WATCH_EVENT, line, "watch event")
            if event.type == "ERROR":
                self._receive_error(decoded(event.object, Status, "watch error"), now)
                return
        except BadResponseError as error:
            self._garbage(str(error), now)
            return
        metadata = metadata_of(event.object)
        if metadata is None or not metadata.resource_version:
            self._garbage(f"a {one_line(event.type)!r} event without metadata.resourceVersion", now)
            return
        if metadata.resource_version != self._version:
            self._version = metadata.resource_version
            self._proven()
        match event.type:
            case "ADDED" | "MODIFIED":
                try:
                    self._upsert(
                        metadata.key, decoded_by(self._decoder, event.object, one_line(metadata.key))
                    )
                except BadResponseError as error:
                    self._outputs.append(ObjectSkipped(str(error)))
            case "DELETED":
                # The event carries the last state, but its version is that of the deletion.
                if (gone := self._store.pop(metadata.key, None)) is not None:
                    self._outputs.append(Deleted(gone))
            case "BOOKMARK":
                pass
            case _:
                self._outputs.append(ObjectSkipped(f"watch event of unknown type {one_line(event.type)!r}"))

    def _receive_error(self, status: Status, now: float) -> None:
        error = f"watch: {status.code} {one_line(status.reason)}: {one_line(status.message)}"
        self._close()
        if status.code == 410 or status.reason in {"Expired", "Gone"}:
            self._relist(error, now)
        else:
            self._retry(error, now)

    def _garbage(self, what: str, now: float) -> None:
        """Resume after a line that is no event; at the same place a second time, list."""
        self._close()
        if self._stuck_at == self._version:
            self._must_list = True
        self._stuck_at = self._version
        self._retry(f"watch: {what}", now)

    def _relist(self, error: str, now: float) -> None:
        """The version is too old: list at once, but with pauses when that alone does not help."""
        self._must_list = True
        if self._expired:
            self._retry(error, now)
        else:
            self._expired = True
            self._proceed()

    def _retry(self, error: str, now: float, *, at_least_s: float = 0.0) -> None:
        delay = max(self._backoff.next_delay(), at_least_s)
        self._last_error = one_line(error)
        self._outputs.append(Trouble(self._last_error, delay))
        self._pause(delay, now)

    def _pause(self, delay_s: float, now: float) -> None:
        self._state = _State.WAITING
        self._buffer.clear()
        self._pages = {}
        self._deadline = now + delay_s

    def _close(self) -> None:
        self._outputs.append(CloseWatch())

    def _proven(self) -> None:
        """The watch works: forget past failures."""
        self._backoff.reset()
        self._expired = False
        self._stuck_at = None

    def _recovered(self) -> None:
        if self._last_error is not None:
            self._last_error = None
            self._outputs.append(Recovered())
