"""The heap of events: hosts act, packets travel, time jumps from one event to the next.

Everything follows from the seed; the transcript of a run is the same text each time.
"""

import heapq
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from gossip.address import Endpoint, packed
from gossip.config import SwimConfig
from gossip.keyring import Keyring
from gossip.messages import NodeState
from gossip.meta import Meta
from gossip.node import SwimNode
from gossip.outputs import (
    CloseStream,
    MemberDead,
    MemberDoubtful,
    MemberJoined,
    MemberLeft,
    OpenStream,
    Output,
    SendDatagram,
    WriteStream,
)
from gossip.simulator.happening import Happening
from gossip.simulator.host import NEVER, SOCKET_QUEUE, Host
from gossip.simulator.network import Link, Network
from gossip.simulator.streams import Streams
from gossip.simulator.wire import Wire
from gossip.watch import WireAnswer

PORT: Final = 7946

_REJOIN_PEERS: Final = 3
"""Missing members that an application dials at once."""

_NEIGHBOURS: Final = 3
"""Neighbours that prove a port by answering on the wire; a gateway that always answers is not counted on."""

_HAIR_S: Final = 1e-6


class Simulation:
    """N members, one virtual clock, one seeded generator.

    Args:
        seed: the same seed gives the same run.
        config: settings of every member.
        network: delays and losses; may be replaced while it runs.
        keyring: keys of the ring; None runs faster.
        cpu_s: what each datagram, in or out, costs the process that handles it.
        rejoin_s: how often each member's application dials members that it misses; 0 for never.
        wire: whether applications can ask on the wire for members that the fast lane doubts.
        gateway: whether a router answers on the wire; without it only other members prove a port.
    """

    def __init__(
        self,
        seed: int,
        *,
        config: SwimConfig | None = None,
        network: Network | None = None,
        keyring: Keyring | None = None,
        cpu_s: float = 0.0,
        rejoin_s: float = 0.0,
        wire: bool = False,
        gateway: bool = False,
    ) -> None:
        self._rng = random.Random(seed)  # noqa: S311 - chance, not secrets
        self.config: Final = config or SwimConfig.lan()
        self._plain_config = replace(self.config, fast_lane=None)
        self._keyring = keyring
        self._streams = Streams(self)
        self._wire = Wire(self, self._rng, gateway=gateway) if wire else None
        self._cpu_s = cpu_s
        self._rejoin_s = rejoin_s
        # An odd start shows code that mixes clocks.
        self.start: Final = 1000.0 + self._rng.random() * 1e6
        self.now = self.start
        self.network = network or Network()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._addresses = 10
        self._hosts: dict[str, Host] = {}
        self._by_endpoint: dict[Endpoint, Host] = {}
        self._running = 0
        self._counted_at = self.now
        self._member_s = 0.0
        self.happenings: list[Happening] = []
        self.listeners: list[Callable[[Happening], None]] = []
        """Called with each happening as it happens."""
        self.datagrams = 0
        self.datagram_bytes = 0
        self.largest_datagram = 0
        self.dropped = 0
        """Datagrams lost because the socket of a busy process was full."""

    @property
    def network(self) -> Network:
        """How packets fare at present."""
        return self._network

    @network.setter
    def network(self, network: Network) -> None:
        self._network = network
        self._delay = network.latency.sampler(self._rng)

    @property
    def elapsed(self) -> float:
        """Simulated seconds since the start."""
        return self.now - self.start

    @property
    def member_seconds(self) -> float:
        """Simulated seconds times members that ran."""
        return self._member_s + self._running * (self.now - self._counted_at)

    def host(self, name: str) -> Host:
        """The machine of a member, running or not."""
        return self._hosts[name]

    def node(self, name: str) -> SwimNode:
        """The running node of a member."""
        node = self._hosts[name].node
        assert node is not None, f"{name} does not run"
        return node

    def config_of(self, host: Host) -> SwimConfig:
        """The settings of the node on a host."""
        return self._plain_config if host.plain else self.config

    def running(self) -> list[str]:
        """Names of the members that run, in the order of their first start."""
        return [name for name, host in self._hosts.items() if host.node is not None]

    def names(self) -> list[str]:
        """All members that were ever started, in the order of their first start."""
        return list(self._hosts)

    def form(self, names: Sequence[str], *, plain: int = 0) -> None:
        """Start a ring whose members know each other already, as after a long time; the last `plain` of them are
        members of memberlist, without our meta and without a fast lane."""
        hosts = [self._new_host(name) for name in names]
        for host in hosts[len(hosts) - plain :]:
            host.plain = True
        versions = self.config.versions.encode()
        for host in hosts:
            host.meta = self._usual_meta(host)
        states = [
            NodeState(host.name, packed(host.endpoint.host), host.endpoint.port, host.meta, 1, 0, versions)
            for host in hosts
        ]
        for host in hosts:
            node = self._start(host)
            node.assume(states, now=host.clock(self.now))
            self.settle(host)

    def launch(
        self, name: str, *, join: Iterable[str] = (), meta: bytes | None = None, move: bool = False
    ) -> None:
        """Start a member, also again after a crash (at another address with `move`), and let it join others. With
        `meta` None it is our own where the ring has a fast lane, else empty."""
        host = self._hosts.get(name)
        if host is None:
            host = self._new_host(name)
            for other in self._hosts.values():
                other.absent.add(name)
        assert host.node is None, f"{name} runs already"
        host.moved = move
        if move:
            del self._by_endpoint[host.endpoint]
            host.endpoint = self._new_endpoint()
            self._by_endpoint[host.endpoint] = host
        host.meta = self._usual_meta(host) if meta is None else meta
        host.absent = set(self._hosts) - {name}
        self._start(host)
        self.join(name, join)

    def join(self, name: str, seeds: Iterable[str]) -> None:
        """Let a running member join others by their addresses."""
        host = self._hosts[name]
        self.node(name).join([self._hosts[seed].endpoint for seed in seeds], now=host.clock(self.now))
        self.settle(host)

    def leave(self, name: str) -> None:
        """Let a member say goodbye; it runs on until it is crashed."""
        host = self._hosts[name]
        self.node(name).leave(now=host.clock(self.now))
        self.settle(host)

    def come_back(self, name: str) -> None:
        """Let a member that said goodbye be one again."""
        host = self._hosts[name]
        self.node(name).come_back(now=host.clock(self.now))
        self.settle(host)

    def set_meta(self, name: str, meta: bytes) -> None:
        """Let a member announce another meta."""
        host = self._hosts[name]
        self.node(name).set_meta(meta, now=host.clock(self.now))
        self.settle(host)

    def crash(self, name: str) -> None:
        """Cut a member's power: nothing is sent any more, nothing is answered."""
        host = self._hosts[name]
        if host.node is not None:
            self._count(-1)
        host.node = None
        host.inbox.clear()

    def partition(self, *groups: Iterable[str]) -> None:
        """Cut the network; who is in no group is alone with the other such."""
        sides = dict.fromkeys(self._hosts, 0)
        for side, group in enumerate(groups, 1):
            sides.update(dict.fromkeys(group, side))
        for name, side in sides.items():
            host = self._hosts[name]
            if host.link.side != side:
                host.link.side = side
                host.changed_at = self.now

    def heal(self) -> None:
        """Undo the partition."""
        self.partition()

    def set_loss(self, name: str, *, loss_in: float | None = None, loss_out: float | None = None) -> None:
        """Let a member's link lose this share of what arrives or leaves; None changes nothing."""
        host = self._hosts[name]
        if loss_in is not None:
            host.link.loss_in = loss_in
        if loss_out is not None:
            host.link.loss_out = loss_out
        host.changed_at = self.now

    def set_clock_rate(self, name: str, rate: float) -> None:
        """Let a member's clock run this much faster (above 1) or slower than true time."""
        host = self._hosts[name]
        host.set_rate(rate, self.now)
        host.wake_at = NEVER
        self.settle(host)

    def reach(self, name: str, other: str) -> bool:
        """Whether both run and packets can go both ways between them."""
        one, two = self._hosts[name], self._hosts[other]
        return one.node is not None and two.node is not None and one.link.carries_streams_to(two.link)

    def stall(self, name: str, seconds: float, *, whole: bool = False) -> None:
        """Keep a process from doing anything: what arrives waits in its sockets, then comes before any timer. With
        `whole` the process that answers on the wire stands still too."""
        host = self._hosts[name]
        if whole:
            host.silent_until = max(host.silent_until, self.now + seconds)
        host.free_at = max(host.free_at, self.now + seconds)

    def loses(self, near: Link, far: Link) -> bool:
        """Whether a packet from one port to another falls victim to chance now."""
        network, draw = self._network, self._rng.random
        if network.loss and draw() < network.loss:
            return True
        if (near.loss_out and draw() < near.loss_out) or (far.loss_in and draw() < far.loss_in):
            return True
        bursts = network.bursts
        return bursts is not None and (
            near.loses(bursts, self._rng, self.now) or far.loses(bursts, self._rng, self.now)
        )

    def tell_wire(self, host: Host, life: int, name: str, answer: WireAnswer, proven: bool) -> None:
        """The application of a host has asked on the wire."""

        def tell() -> None:
            if host.node is not None and host.life == life:
                host.node.wire_evidence(name, answer, own_link_proven=proven, now=host.clock(self.now))
                self.settle(host)

        if host.node is not None and host.life == life:
            self.arrive(host, tell)

    def at(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something this many simulated seconds from now."""
        self.schedule(self.now + seconds, action)

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

    def converged(self) -> bool:
        """Whether each running member takes exactly those that run for living; cheap, by what they told."""
        gone = {name for name, host in self._hosts.items() if host.node is None}
        return all(host.absent == gone for host in self._hosts.values() if host.node is not None)

    def transcript(self) -> list[str]:
        """All happenings as text; times count from the start."""
        return [happening.line() for happening in self.happenings]

    def _run(self, end: float, reached: Callable[[], bool]) -> bool:
        events, happenings, pop = self._events, self.happenings, heapq.heappop
        while events and events[0][0] <= end:
            self.now, _, action = pop(events)
            before = len(happenings)
            action()
            if len(happenings) != before and reached():
                return True
        self.now = end
        return reached()

    def schedule(self, at: float, action: Callable[[], None]) -> None:
        """Do something at this moment of `now`; of equal moments, the first scheduled comes first."""
        self._number += 1
        heapq.heappush(self._events, (at, self._number, action))

    def _count(self, change: int) -> None:
        self._member_s = self.member_seconds
        self._counted_at = self.now
        self._running += change

    def _new_endpoint(self) -> Endpoint:
        number = self._addresses
        self._addresses += 1
        return Endpoint(f"198.18.{number >> 8}.{number & 255}", PORT)

    def _new_host(self, name: str) -> Host:
        host = self._hosts[name] = Host(name, self._new_endpoint(), self.now)
        self._by_endpoint[host.endpoint] = host
        return host

    def _usual_meta(self, host: Host) -> bytes:
        if self.config.fast_lane is None or host.plain:
            return b""
        return Meta(software="vipring", version="simulated", instance=self._rng.randbytes(8)).encode()

    def _start(self, host: Host) -> SwimNode:
        host.life += 1
        host.wake_at = NEVER
        host.free_at = self.now
        host.changed_at = self.now
        host.working = False
        host.far_ends.clear()
        rng = random.Random(self._rng.getrandbits(64))  # noqa: S311 - and repeatable
        node = host.node = SwimNode(
            name=host.name,
            advertise=host.endpoint,
            config=self.config_of(host),
            keyring=self._keyring,
            meta=host.meta,
            rng=rng,
            entropy=rng.randbytes,
            now=host.clock(self.now),
        )
        self._count(1)
        if self._rejoin_s:
            self.schedule(self.now + self._rejoin_s * rng.random(), partial(self._rejoin, host, host.life))
        return node

    def _rejoin(self, host: Host, life: int) -> None:
        if host.node is None or host.life != life:
            return
        if host.absent and host.free_at <= self.now:
            missing = sorted(host.absent)
            self.join(host.name, self._rng.sample(missing, min(_REJOIN_PEERS, len(missing))))
        self.schedule(
            self.now + self._rejoin_s * self._rng.uniform(0.8, 1.2), partial(self._rejoin, host, life)
        )

    def settle(self, host: Host) -> None:
        """Perform what a node wants after an input, and arm its one deadline."""
        node = host.node
        if node is None:
            return
        for output in node.take_outputs():
            if type(output) is SendDatagram:
                self._send(host, output)
            elif isinstance(output, OpenStream):
                self._streams.open(host, output)
            elif isinstance(output, WriteStream):
                self._streams.write(host, output.stream, output.data, close=True)
            elif isinstance(output, CloseStream):
                self._streams.close(host, output.stream)
            else:
                self._tell(host, output)
        deadline = node.next_deadline()
        if deadline is not None and deadline < host.wake_at:
            host.wake_at = deadline
            self.schedule(
                max(host.moment(deadline), self.now), partial(self._alarm, host, host.life, deadline)
            )

    def _tell(self, host: Host, output: Output) -> None:
        if isinstance(output, MemberJoined):
            host.absent.discard(output.view.name)
        elif isinstance(output, MemberDead | MemberLeft):
            host.absent.add(output.view.name)
        elif isinstance(output, MemberDoubtful) and self._wire is not None:
            others = [
                other for name, other in self._hosts.items() if name not in (host.name, output.view.name)
            ]
            neighbours = self._rng.sample(others, min(_NEIGHBOURS, len(others)))
            self._wire.ask(host, self._hosts[output.view.name], neighbours)
        happening = Happening(self.elapsed, host.name, output)
        self.happenings.append(happening)
        for listener in self.listeners:
            listener(happening)

    def _alarm(self, host: Host, life: int, at: float) -> None:
        """A deadline of a node, by its own clock; of no account if it was moved since."""
        if host.node is None or host.life != life or host.wake_at != at:
            return
        host.wake_at = NEVER
        if host.inbox or host.free_at > self.now:
            self._come_back(host)
        else:
            self._wake(host, at)

    def _wake(self, host: Host, at: float) -> None:
        node = host.node
        assert node is not None
        deadline, shown = node.next_deadline(), host.clock(self.now)
        if deadline is not None and deadline <= at < shown + _HAIR_S:
            # By way of true time and back, the clock may show a hair less than it was waited for.
            node.handle_timer(max(at, shown))
        self.settle(host)

    def arrive(self, host: Host, job: Callable[[], None]) -> None:
        """Something is in a socket of a host: the process takes it up when it is free."""
        if host.inbox or host.free_at > self.now:
            host.inbox.append(job)
            self._come_back(host)
        else:
            job()

    def charge(self, host: Host) -> None:
        """Let the process of a host be busy with one packet."""
        if self._cpu_s:
            host.free_at = max(host.free_at, self.now) + self._cpu_s * host.slowness

    def host_at(self, endpoint: Endpoint) -> Host | None:
        """The machine at an address."""
        return self._by_endpoint.get(endpoint)

    def delay(self) -> float:
        """How long a packet is on its way now."""
        return self._delay()

    def _come_back(self, host: Host) -> None:
        if not host.working:
            host.working = True
            self.schedule(max(host.free_at, self.now), partial(self._work, host, host.life))

    def _work(self, host: Host, life: int) -> None:
        if host.node is None or host.life != life:
            return
        host.working = False
        while host.inbox and host.free_at <= self.now:
            host.inbox.popleft()()
        if host.inbox or host.free_at > self.now:
            self._come_back(host)
        elif host.wake_at == NEVER:
            self._wake(host, host.clock(self.now))

    def _send(self, host: Host, output: SendDatagram) -> None:
        data, network, draw = output.data, self._network, self._rng.random
        self.datagrams += 1
        self.datagram_bytes += len(data)
        if len(data) > self.largest_datagram:
            self.largest_datagram = len(data)
        leaves = self.now
        if self._cpu_s:
            leaves = host.free_at = max(host.free_at, leaves) + self._cpu_s * host.slowness
        target = self._by_endpoint.get(output.to)
        if target is None or self.loses(host.link, target.link):
            return
        copies = 2 if network.duplicate and draw() < network.duplicate else 1
        for _ in range(copies):
            at = leaves + self._delay()
            if network.reorder and draw() < network.reorder:
                at += network.reorder_s
            self.schedule(at, partial(self._deliver, host, target, data))

    def _deliver(self, source: Host, target: Host, data: bytes) -> None:
        if target.node is None or target.link.side != source.link.side:
            return
        if target.inbox or target.free_at > self.now:
            if len(target.inbox) >= SOCKET_QUEUE:
                self.dropped += 1
                return
            target.inbox.append(partial(self._hear, target, data, source.endpoint))
            self._come_back(target)
        else:
            self._hear(target, data, source.endpoint)

    def _hear(self, host: Host, data: bytes, source: Endpoint) -> None:
        if self._cpu_s:
            host.free_at = self.now + self._cpu_s * host.slowness
        if host.node is not None:
            host.node.receive_datagram(data, source=source, now=host.clock(self.now))
            self.settle(host)
