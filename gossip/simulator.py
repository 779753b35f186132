"""Whole rings in virtual time: production nodes, a heap of events, a network that delays, loses and splits.

Everything follows from the seed; the transcript of a run is the same text each time.
"""

import heapq
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from gossip.address import Endpoint
from gossip.config import SwimConfig
from gossip.keyring import Keyring
from gossip.node import SwimNode
from gossip.outputs import (
    CloseStream,
    ExchangeEnded,
    LeaveDone,
    MemberAlive,
    MemberDead,
    MemberJoined,
    MemberLeft,
    MemberSuspect,
    MemberUpdated,
    OpenStream,
    Output,
    PeerRejected,
    Refuted,
    SendDatagram,
    WriteStream,
)

PORT: Final = 7946


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """How packets fare. Streams are as slow and as cut as datagrams, but lose nothing."""

    latency_s: tuple[float, float] = (0.0003, 0.0007)
    """Least and greatest delay of one way, evenly drawn."""
    loss: float = 0.0
    """Share of the datagrams that vanish."""
    duplicate: float = 0.0
    """Share of the datagrams that arrive twice."""


@dataclass(frozen=True, slots=True)
class Happening:
    """One output worth telling: when, at which member, what."""

    at: float
    member: str
    what: Output

    def line(self) -> str:
        """The happening as one line of a transcript."""
        return f"{self.at:.6f} {self.member} {describe(self.what)}"


class _Station:
    """One host: its address, its node while it runs, and the ends of its streams."""

    def __init__(self, name: str, endpoint: Endpoint, side: int) -> None:
        self.name = name
        self.endpoint = endpoint
        self.side = side
        self.node: SwimNode | None = None
        self.life = 0
        self.wake_at = float("inf")
        self.far_ends: dict[int, tuple[_Station, int, int]] = {}
        """Station, life and number at the other end of each of our streams."""


class Simulation:
    """N members, one virtual clock, one seeded generator.

    Args:
        seed: the same seed gives the same run.
        config: settings of every member.
        network: delays and losses; may be replaced while it runs.
        keyring: keys of the ring; None runs faster.
    """

    def __init__(
        self,
        seed: int,
        *,
        config: SwimConfig | None = None,
        network: Network | None = None,
        keyring: Keyring | None = None,
    ) -> None:
        self._rng = random.Random(seed)  # noqa: S311 - chance, not secrets
        self._config = config or SwimConfig.lan()
        self.network = network or Network()
        self._keyring = keyring
        # An odd start shows code that mixes clocks.
        self.start: Final = 1000.0 + self._rng.random() * 1e6
        self.now = self.start
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._stations: dict[str, _Station] = {}
        self._by_endpoint: dict[Endpoint, _Station] = {}
        self.happenings: list[Happening] = []
        self.datagrams = 0

    @property
    def elapsed(self) -> float:
        """Simulated seconds since the start."""
        return self.now - self.start

    def node(self, name: str) -> SwimNode:
        """The running node of a member."""
        node = self._stations[name].node
        assert node is not None, f"{name} does not run"
        return node

    def running(self) -> list[str]:
        """Names of the members that run, in the order of their first start."""
        return [name for name, station in self._stations.items() if station.node is not None]

    def launch(self, name: str, *, join: Iterable[str] = (), meta: bytes = b"") -> None:
        """Start a member, also again after a crash at its old address, and let it join others."""
        station = self._stations.get(name)
        if station is None:
            number = len(self._stations) + 10
            endpoint = Endpoint(f"198.18.{number >> 8}.{number & 255}", PORT)
            station = _Station(name, endpoint, 0)
            self._stations[name] = station
            self._by_endpoint[endpoint] = station
        assert station.node is None, f"{name} runs already"
        station.life += 1
        station.wake_at = float("inf")
        station.far_ends.clear()
        rng = random.Random(self._rng.getrandbits(64))  # noqa: S311 - and repeatable
        station.node = SwimNode(
            name=name,
            advertise=station.endpoint,
            config=self._config,
            keyring=self._keyring,
            meta=meta,
            rng=rng,
            entropy=rng.randbytes,
            now=self.now,
        )
        self.join(name, join)

    def join(self, name: str, seeds: Iterable[str]) -> None:
        """Let a running member join others by their addresses."""
        self.node(name).join([self._stations[seed].endpoint for seed in seeds], now=self.now)
        self._settle(self._stations[name])

    def leave(self, name: str) -> None:
        """Let a member say goodbye; it runs on until it is crashed."""
        self.node(name).leave(now=self.now)
        self._settle(self._stations[name])

    def set_meta(self, name: str, meta: bytes) -> None:
        """Let a member announce another meta."""
        self.node(name).set_meta(meta, now=self.now)
        self._settle(self._stations[name])

    def crash(self, name: str) -> None:
        """Cut a member's power: nothing is sent any more, nothing is answered."""
        self._stations[name].node = None

    def partition(self, *groups: Iterable[str]) -> None:
        """Cut the network; who is in no group is alone with the other such."""
        for station in self._stations.values():
            station.side = 0
        for side, group in enumerate(groups, 1):
            for name in group:
                self._stations[name].side = side

    def heal(self) -> None:
        """Undo the partition."""
        self.partition()

    def run(self, seconds: float) -> None:
        """Let this much virtual time pass."""
        self._run(self.now + seconds, lambda: False)

    def run_until(self, reached: Callable[[], bool], *, within_s: float) -> bool:
        """Let time pass until `reached` holds (asked after each happening); False if it does not in that time."""
        return self._run(self.now + within_s, reached)

    def views(self) -> Mapping[str, frozenset[str]]:
        """Whom each running member takes for living."""
        return {
            name: frozenset(other for other, view in self.node(name).members().items() if view.state.present)
            for name in self.running()
        }

    def agreed(self, names: Iterable[str]) -> bool:
        """Whether each running member takes exactly these for living."""
        wanted = frozenset(names)
        return all(view == wanted for view in self.views().values())

    def transcript(self) -> list[str]:
        """All happenings as text; times count from the start."""
        return [happening.line() for happening in self.happenings]

    def _run(self, end: float, reached: Callable[[], bool]) -> bool:
        while self._events and self._events[0][0] <= end:
            at, _, action = heapq.heappop(self._events)
            self.now = at
            before = len(self.happenings)
            action()
            if len(self.happenings) != before and reached():
                return True
        self.now = end
        return reached()

    def _at(self, at: float, action: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (at, self._number, action))

    def _settle(self, station: _Station) -> None:
        """Perform what a node wants after an input, and arm its one deadline."""
        node = station.node
        if node is None:
            return
        for output in node.take_outputs():
            if type(output) is SendDatagram:
                self._send(station, output)
            elif isinstance(output, OpenStream):
                self._open(station, output)
            elif isinstance(output, WriteStream):
                self._write(station, output.stream, output.data, close=True)
            elif isinstance(output, CloseStream):
                self._close(station, output.stream)
            else:
                self.happenings.append(Happening(self.elapsed, station.name, output))
        deadline = node.next_deadline()
        if deadline is not None and deadline < station.wake_at:
            station.wake_at = deadline
            life = station.life
            self._at(max(deadline, self.now), lambda: self._wake(station, life))

    def _wake(self, station: _Station, life: int) -> None:
        if station.node is None or station.life != life:
            return
        deadline = station.node.next_deadline()
        station.wake_at = float("inf")
        if deadline is not None and deadline <= self.now:
            station.node.handle_timer(self.now)
        self._settle(station)

    def _delay(self) -> float:
        low, high = self.network.latency_s
        return low + (high - low) * self._rng.random()

    def _send(self, station: _Station, output: SendDatagram) -> None:
        self.datagrams += 1
        copies = 1
        if self.network.loss and self._rng.random() < self.network.loss:
            copies = 0
        elif self.network.duplicate and self._rng.random() < self.network.duplicate:
            copies = 2
        target = self._by_endpoint.get(output.to)
        if target is None:
            return
        for _ in range(copies):
            self._at(self.now + self._delay(), partial(self._deliver, station, target, output.data))

    def _deliver(self, source: _Station, target: _Station, data: bytes) -> None:
        if target.node is not None and target.side == source.side:
            target.node.receive_datagram(data, source=source.endpoint, now=self.now)
            self._settle(target)

    def _open(self, station: _Station, output: OpenStream) -> None:
        target = self._by_endpoint.get(output.to)
        if target is None:
            return
        life, number = station.life, output.stream

        def connected() -> None:
            if target.node is None or station.life != life or station.side != target.side:
                return
            source = Endpoint(station.endpoint.host, 40_000 + number % 20_000)
            accepted = target.node.accept_stream(source=source, now=self.now)
            if accepted is not None:
                station.far_ends[number] = (target, target.life, accepted)
                target.far_ends[accepted] = (station, life, number)
                self._write(station, number, output.data, close=False)
            self._settle(target)

        # The handshake takes a way and back before data can follow.
        self._at(self.now + self._delay() + self._delay(), connected)

    def _write(self, station: _Station, number: int, data: bytes, *, close: bool) -> None:
        far = station.far_ends.get(number)
        if far is None:
            return
        target, life, theirs = far

        def arrived() -> None:
            if target.node is None or target.life != life or target.side != station.side:
                return
            target.node.receive_stream(theirs, data, now=self.now)
            self._settle(target)

        self._at(self.now + self._delay(), arrived)
        if close:
            self._close(station, number)

    def _close(self, station: _Station, number: int) -> None:
        far = station.far_ends.pop(number, None)
        if far is None:
            return
        target, life, theirs = far

        def closed() -> None:
            target.far_ends.pop(theirs, None)
            if target.node is not None and target.life == life and target.side == station.side:
                target.node.stream_ended(theirs, error=None, now=self.now)
                self._settle(target)

        # An end never overtakes the data before it.
        self._at(self.now + self.network.latency_s[1], closed)


def describe(output: Output) -> str:
    """One output in a few words, as the transcript shows it."""
    match output:
        case MemberJoined(view) | MemberAlive(view) | MemberLeft(view) | MemberUpdated(view):
            return f"{type(output).__name__} {view.name} incarnation={view.incarnation}"
        case MemberSuspect(view, by) | MemberDead(view, by):
            return f"{type(output).__name__} {view.name} incarnation={view.incarnation} by={by}"
        case Refuted(incarnation, accuser):
            return f"Refuted incarnation={incarnation} accuser={accuser}"
        case PeerRejected(source, reason, detail):
            return f"PeerRejected {source.text} {reason} {detail}"
        case ExchangeEnded(_, to, purpose, error):
            return f"ExchangeEnded {purpose} {to.text} {error or 'done'}"
        case LeaveDone():
            return "LeaveDone"
        case SendDatagram() | OpenStream() | WriteStream() | CloseStream():
            return type(output).__name__
