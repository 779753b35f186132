"""Random faults between random changes: the store ends equal to the server's, and no difference is told twice."""

from __future__ import annotations

import random

from cluster.errors import ApiError, UnreachableError
from cluster.objects import Service
from cluster.watch import Deleted, ListWatch, OpenWatch, RequestPage, Upserted
from tests.unit.cluster.support import bookmark, event, page, seeded, service, status


class Server:
    """The truth, and the log of how it came about: entry n is the change to version n + 1."""

    def __init__(self, rng: random.Random) -> None:
        self.truth: dict[str, int] = {}
        self.log: list[bytes] = []
        self._rng = rng

    def change(self) -> None:
        name, version = f"s{self._rng.randrange(12)}", len(self.log) + 1
        if name in self.truth and self._rng.random() < 0.3:
            del self.truth[name]
            self.log.append(event("DELETED", service(name, version)))
        else:
            self.log.append(event("MODIFIED" if name in self.truth else "ADDED", service(name, version)))
            self.truth[name] = version

    def page(self) -> list[dict[str, object]]:
        return [service(name, version) for name, version in self.truth.items()]

    def since(self, version: int) -> bytes:
        return b"".join(self.log[version:]) + bookmark(len(self.log))


class Follower:
    """Performs what the machine asks for, badly, and keeps its own books from the differences it is told."""

    def __init__(self, seed: int, rng: random.Random, server: Server) -> None:
        self.core = ListWatch(Service, rng=random.Random(seed))
        self.told: dict[str, str] = {}
        self._now = 5e6
        self._rng = rng
        self._server = server
        self._request: RequestPage | OpenWatch | None = None
        self.core.start()
        self._take()

    def step(self, *, calm: bool) -> None:
        request, self._request = self._request, None
        match request:
            case None:
                self._now = self.core.next_deadline() or self._now
                self.core.handle_timer(self._now)
            case RequestPage() if not calm and self._rng.random() < 0.2:
                self.core.request_failed(UnreachableError("list"), self._now)
            case RequestPage():
                self.core.receive_page(page(len(self._server.log), *self._server.page()), self._now)
            case OpenWatch() if not calm and self._rng.random() < 0.1:
                self.core.request_failed(ApiError(410, "Expired", ""), self._now, expired=True)
            case OpenWatch():
                self._watch(request, calm=calm)
        self._take()

    def _watch(self, request: OpenWatch, *, calm: bool) -> None:
        self.core.watch_opened(self._now)
        stream = self._server.since(int(request.resource_version))
        self.core.receive_data(
            stream[: len(stream) if calm else self._rng.randrange(len(stream) + 1)], self._now
        )
        self._now += self._rng.choice([0.1, 300.0])
        match "end" if calm else self._rng.choice(["end", "break", "garbage", "gone"]):
            case "end":
                self.core.watch_ended(self._now)
            case "break":
                self.core.request_failed(UnreachableError("watch"), self._now)
            case "garbage":
                self.core.receive_data(b"\nnonsense\n", self._now)
            case _:
                self.core.receive_data(b"\n" + status(410, "Expired"), self._now)

    def _take(self) -> None:
        for output in self.core.take_outputs():
            match output:
                case Upserted(obj=obj, old=old):
                    name = obj.metadata.name
                    assert self.told.get(name) != obj.metadata.resource_version, "told twice"
                    assert (old.metadata.resource_version if old else None) == self.told.get(name)
                    self.told[name] = obj.metadata.resource_version
                case Deleted(obj=obj):
                    assert self.told.pop(obj.metadata.name) == obj.metadata.resource_version
                case RequestPage() | OpenWatch():
                    self._request = output
                case _:
                    pass


def test_any_history_ends_in_the_same_store() -> None:
    seed, rng = seeded()
    server = Server(rng)
    follower = Follower(seed, rng, server)
    for _ in range(3000):
        server.change()
        follower.step(calm=False)
    assert len(server.truth) > 3
    for _ in range(10):
        follower.step(calm=True)
    known = {obj.metadata.name: int(obj.metadata.resource_version) for obj in follower.core.store.values()}
    assert known == server.truth
    assert {name: int(version) for name, version in follower.told.items()} == server.truth
