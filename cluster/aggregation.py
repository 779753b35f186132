"""Which v1 Events to post, and when: repeats become counts, floods are cut. Pure; time is monotonic seconds.

Wall-clock text comes in as an argument, since the API wants RFC 3339 time stamps.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, TypeAlias

from cluster.objects import Object, ObjectMeta

MAX_PENDING: Final = 256
MAX_KNOWN: Final = 1024
# The API server forgets an Event after an hour by default; a repeat after that is a first time again.
KNOWN_FOR_S: Final = 3600.0
MAX_MESSAGE: Final = 1024


class ObjectReference(Object, frozen=True, omit_defaults=False):
    """The object an Event is about."""

    kind: str
    name: str
    namespace: str = ""
    uid: str = ""
    api_version: str = "v1"
    resource_version: str = ""


def reference(kind: str, metadata: ObjectMeta, api_version: str = "v1") -> ObjectReference:
    """The reference to an object with this metadata."""
    return ObjectReference(
        kind, metadata.name, metadata.namespace, metadata.uid, api_version, metadata.resource_version
    )


class EventSource(Object, frozen=True):
    """Who reports: the component and the node it runs on."""

    component: str
    host: str = ""


class Event(Object, frozen=True, omit_defaults=False):
    """A v1 Event as posted."""

    metadata: ObjectMeta
    involved_object: ObjectReference
    type: str
    reason: str
    message: str
    source: EventSource
    first_timestamp: str
    last_timestamp: str
    count: int
    reporting_component: str
    reporting_instance: str
    api_version: str = "v1"
    kind: str = "Event"


class Repeat(Object, frozen=True):
    """What a repetition changes of an Event."""

    count: int
    last_timestamp: str


Key: TypeAlias = tuple[str, str, str, str, str, str, str]


@dataclass(frozen=True, slots=True)
class Create:
    """POST this Event."""

    key: Key
    event: Event


@dataclass(frozen=True, slots=True)
class Patch:
    """PATCH the Event of this name with a new count."""

    key: Key
    namespace: str
    name: str
    repeat: Repeat


class TokenBucket:
    """Permits `burst` at once and `rate` per second after that."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = now

    def take(self, now: float) -> bool:
        """Use one permit if there is one."""
        if now > self._at:
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
            self._at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def ready_in(self) -> float:
        """Seconds from the last `take` to the next permit."""
        return max(0.0, (1.0 - self._tokens) / self._rate)


@dataclass(slots=True)
class _Pending:
    ref: ObjectReference
    type: str
    reason: str
    message: str
    first: str
    last: str
    count: int


@dataclass(slots=True)
class _Known:
    name: str
    count: int
    since: float


class _Share:
    """All that is kept of the occurrences of one reason."""

    __slots__ = ("known", "objects", "pending")

    def __init__(self) -> None:
        self.pending: OrderedDict[Key, _Pending] = OrderedDict()
        self.known: OrderedDict[Key, _Known] = OrderedDict()
        self.objects: OrderedDict[tuple[str, str, str, str], TokenBucket] = OrderedDict()


class EventQueue:
    """Occurrences in, posts out, within bounds whatever happens.

    Equal occurrences wait as one. Each object may cause 25 posts at once for a reason, and one in 5 minutes after that
    (client-go's spam filter, tools/record/events_cache.go); all together 50 at once and 10 a second, of the reasons in
    turn. No reason takes another's place, however much happens: whoever calls has few of them. `dropped` counts
    occurrences that were cut or did not fit.
    """

    def __init__(self, source: EventSource, *, rng: random.Random, now: float) -> None:
        self.dropped = 0
        self._source = source
        self._rng = rng
        self._shares: OrderedDict[str, _Share] = OrderedDict()
        """By reason; the one that had its turn last comes last."""
        self._all = TokenBucket(rate=10.0, burst=50.0, now=now)

    def __len__(self) -> int:
        return sum(len(share.pending) for share in self._shares.values())

    def add(
        self, ref: ObjectReference, event_type: str, reason: str, message: str, *, wall: str, now: float
    ) -> bool:
        """Something happened to the object of `ref`; `wall` is the RFC 3339 time. False where it is dropped."""
        message = message[:MAX_MESSAGE]
        key = (ref.kind, ref.namespace, ref.name, ref.uid, event_type, reason, message)
        share = self._shares.setdefault(reason, _Share())
        if (waiting := share.pending.get(key)) is not None:
            waiting.count += 1
            waiting.last = wall
        elif len(share.pending) >= MAX_PENDING or not _bucket(share, key[:4], now).take(now):
            self.dropped += 1
            return False
        else:
            share.pending[key] = _Pending(ref, event_type, reason, message, wall, wall, 1)
        return True

    def take(self, now: float) -> Create | Patch | None:
        """The next post, queued until `done` or `refused`; None when there is none or it is too early."""
        if not len(self) or not self._all.take(now):
            return None
        reason, share = next((reason, share) for reason, share in self._shares.items() if share.pending)
        self._shares.move_to_end(reason)
        key, waiting = next(iter(share.pending.items()))
        known = share.known.get(key)
        if known is not None and now - known.since < KNOWN_FOR_S:
            repeat = Repeat(known.count + waiting.count, waiting.last)
            return Patch(key, _namespace(waiting.ref), known.name, repeat)
        return Create(key, self._event(waiting))

    def ready_in(self) -> float:
        """Seconds after a `take` that gave None, with something queued, to try again."""
        return self._all.ready_in()

    def done(self, post: Create | Patch, now: float) -> None:
        """The post is on the server."""
        share = self._share(post.key)
        known = share.known
        if isinstance(post, Create):
            name, count, since = post.event.metadata.name, post.event.count, now
        else:
            name, count, since = post.name, post.repeat.count, known[post.key].since
        _settle(share, post.key, count - known[post.key].count if isinstance(post, Patch) else count)
        known[post.key] = _Known(name, count, since)
        known.move_to_end(post.key)
        while len(known) > MAX_KNOWN:
            known.popitem(last=False)

    def refused(self, post: Create | Patch) -> None:
        """The server will never take the post: drop it. A patch is tried again as a creation."""
        share = self._share(post.key)
        if isinstance(post, Patch):
            share.known.pop(post.key, None)
        elif (waiting := share.pending.pop(post.key, None)) is not None:
            self.dropped += waiting.count

    def _share(self, key: Key) -> _Share:
        _, _, _, _, _, reason, _ = key
        return self._shares[reason]

    def _event(self, waiting: _Pending) -> Event:
        ref = waiting.ref
        name = f"{ref.name[:200]}.{self._rng.getrandbits(64):016x}"
        return Event(
            metadata=ObjectMeta(name=name, namespace=_namespace(ref)),
            involved_object=ref,
            type=waiting.type,
            reason=waiting.reason,
            message=waiting.message,
            source=self._source,
            first_timestamp=waiting.first,
            last_timestamp=waiting.last,
            count=waiting.count,
            reporting_component=self._source.component,
            reporting_instance=self._source.host,
        )


def _settle(share: _Share, key: Key, posted: int) -> None:
    """Keep what was added to a pending occurrence while its post was under way."""
    waiting = share.pending.pop(key)
    if waiting.count > posted:
        waiting.count -= posted
        share.pending[key] = waiting


def _bucket(share: _Share, key: tuple[str, str, str, str], now: float) -> TokenBucket:
    bucket = share.objects.get(key)
    if bucket is None:
        bucket = share.objects[key] = TokenBucket(rate=1 / 300, burst=25, now=now)
        while len(share.objects) > MAX_KNOWN:
            share.objects.popitem(last=False)
    share.objects.move_to_end(key)
    return bucket


def _namespace(ref: ObjectReference) -> str:
    """Events about objects without a namespace live in `default`."""
    return ref.namespace or "default"
