"""A segment under virtual time: real responder cores, and the speaker's own decisions and claims; everything around them
is simulated.

Ring and API server are models: each node learns after a delay of its own who lives, and what there is. Frames take a
moment and may be lost, one by one or in bursts.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from functools import partial
from ipaddress import IPv4Address
from typing import cast

from announcer.layer2 import arp, signed
from announcer.layer2.arp import REPLY, ArpFrame
from announcer.layer2.claims import State
from speaker.decide import Address
from tests.simulation.announcer.api import Api
from tests.simulation.announcer.hosts import BRISK, USUAL, Host, NeighbourTable, Times
from tests.simulation.announcer.node import GATEWAY, GATEWAY_MAC, Node, Plain
from tests.simulation.announcer.switch import USUAL_AGEING_S, Switch

HOST_MAC = bytes.fromhex("0200000000fd")
SAMPLE_S = 0.01
LATENCY_S = (0.0001, 0.001)
"""Until a process has read a frame. A host's kernel takes it as soon as the switch has it, so that an answer to a frame never
overtakes it."""
EVERY_S = (0.05, 0.1)
"""Between two datagrams of a host."""
ANSWERING = (State.ANNOUNCING, State.HANDING_OVER)


class Segment:
    """Nodes, hosts, gateway and switch. `loss` is the probability that a frame is lost on its way to one receiver."""

    def __init__(
        self,
        *,
        nodes: int,
        plain: int,
        rng: random.Random,
        loss: float = 0.0,
        suppressing: bool = False,
        ageing_s: float = USUAL_AGEING_S,
    ) -> None:
        self.rng = rng
        self.now = 1_000.0
        self.loss = loss
        self._ports = 0
        self.switches = [Switch(ageing_s=ageing_s, suppressing=suppressing), Switch(ageing_s=ageing_s)]
        """What is on either side of a cut has a switch."""
        self.bursts = 0
        """How many bursts the whole segment is in."""
        self.host_since: float | None = None
        """Since when a host is there that answers everything."""
        self.able_changed: Callable[[Node], None] = lambda _: None
        self.conflicted: Callable[[Node, IPv4Address], None] = lambda *_: None
        self.given_up: Callable[[Address], None] = lambda _: None
        """Called when a node finds that nobody may own an address."""
        self.plain = [Plain(number) for number in range(1, plain + 1)]
        names = [f"n{number}" for number in range(1, nodes + 1)]
        self.api = Api(names, [member.name for member in self.plain])
        self.story: list[str] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0
        self.happened = 0
        """How many events have happened; between two of them nothing changes."""
        self.gateway = self._host("gateway", GATEWAY_MAC, GATEWAY, USUAL)
        self.hosts = [
            self.gateway,
            self._host("usual", bytes.fromhex("0200000000e1"), bytes([198, 18, 0, 201]), USUAL),
            self._host("brisk", bytes.fromhex("0200000000e2"), bytes([198, 18, 0, 202]), BRISK),
        ]
        self.nodes: list[Node] = []
        for number in range(1, nodes + 1):
            self.nodes.append(Node(self, number))

    def _host(self, name: str, mac: bytes, address: bytes, times: Times) -> Host:
        table = NeighbourTable(mac, address, times, self.rng)
        return Host(name, table, port=self.new_port(), every_s=self.rng.uniform(*EVERY_S))

    def new_port(self) -> int:
        """A port of the switch that nobody is at."""
        self._ports += 1
        return self._ports

    def at(self, delay: float, call: Callable[[], None]) -> None:
        """Call something `delay` seconds from now."""
        self._serial += 1
        heapq.heappush(self._events, (self.now + delay, self._serial, call))

    def note(self, who: str, what: object) -> None:
        """Remember what happened, for the report of a failure."""
        self.story.append(f"{self.now - 1_000:9.4f} {who} {what}")

    def send(self, sender: Node | Host, frame: bytes) -> None:
        """A frame leaves a node or a host."""
        said = arp.parse(frame)
        if isinstance(sender, Node) and isinstance(said, ArpFrame):
            sender.asks(said)
        if not sender.carries or self.bursts or not isinstance(said, ArpFrame):
            return
        asks = said.operation == arp.REQUEST and said.sender_ip != said.target_ip
        if self.host_since is not None and asks and said.destination == arp.BROADCAST:
            self._answer(sender, said, HOST_MAC)
        switch = self.switches[sender.side]
        cached = switch.answer_for(said)
        if cached is not None:
            self._answer(sender, said, cached)
            return
        switch.learn(said, sender.port, self.now)
        out = switch.port_of(said.destination, self.now)
        for node in self.nodes:
            if node is not sender and said.destination in (arp.BROADCAST, node.view.mac):
                self._deliver(sender, node, out, frame)
        for host in self.hosts:
            # A question without a sender says nothing to a host that is not asked.
            meant = said.sender_ip != arp.ANY or said.target_ip == host.table.address
            if meant and host is not sender and said.destination in (arp.BROADCAST, host.table.mac):
                self._deliver(sender, host, out, frame)

    def _answer(self, asker: Node | Host, asked: ArpFrame, mac: bytes) -> None:
        """Something that is no node answers; it is on the gateway's side."""
        to = asked.source
        answer = ArpFrame(to, mac, REPLY, mac, asked.target_ip, asked.sender_mac, asked.sender_ip).encode()
        if asker.side == 0:
            self._later(asker, partial(self._arrive, None, asker, None, answer))

    def _deliver(self, sender: Node | Host, to: Node | Host, out: int | None, frame: bytes) -> None:
        self._later(to, partial(self._arrive, sender, to, out, frame))

    def _arrive(self, sender: Node | Host | None, to: Node | Host, out: int | None, frame: bytes) -> None:
        """A frame comes out of the switch, at one port or at all."""
        side = sender.side if sender is not None else 0
        if side != to.side or self.bursts or not to.carries or out not in (None, to.port):
            return
        if isinstance(to, Host):
            to.table.receive(cast("ArpFrame", arp.parse(frame)), self.now)
            self.send_for(to)
        else:
            if sender is self.gateway and frame[:6] == to.view.mac:
                to.asked_gateway.clear()
            to.receive(frame)

    def send_for(self, host: Host) -> None:
        """What a host's neighbour table has to say leaves."""
        for frame in host.table.take_frames():
            self.send(host, frame.encode())

    def datagram(self, host: Host, address: IPv4Address) -> bytes | Node | None:
        """A host sends a datagram. Returns the node that takes it; the MAC where that is no node's; None where it gets lost
        or has to wait. Its kernel does so whoever announces the address."""
        mac = host.table.use(address.packed, self.now)
        self.send_for(host)
        if mac is None or self.bursts or not host.carries:
            return None
        switch = self.switches[host.side]
        switch.learn_source(host.table.mac, host.port, self.now)
        out = switch.port_of(mac, self.now)
        for node in self.nodes:
            if node.view.mac == mac:
                there = node.up and node.carries and node.side == host.side and out in (None, node.port)
                return node if there else None
        return mac

    def _later(self, to: Node | Host, arrive: Callable[[], None]) -> None:
        if self.rng.random() >= self.loss:
            self.at(LATENCY_S[0] if isinstance(to, Host) else self.rng.uniform(*LATENCY_S), arrive)

    def run(self, seconds: float, watch: Callable[[], None] | None = None) -> None:
        """Let time pass; `watch` is called every SAMPLE_S."""
        end = self.now + seconds
        sample = self.now
        while self.now < end:
            due = self._events[0][0] if self._events else end
            if watch is not None and sample <= min(due, end):
                self.now = max(self.now, sample)
                watch()
                sample += SAMPLE_S
                continue
            if due > end:
                self.now = end
                break
            self.now, _, call = heapq.heappop(self._events)
            self.happened += 1
            call()

    def held_in_vain(self, address: IPv4Address) -> list[str]:
        """Whose claims are held although the member that they name does not announce the address."""
        announcing = {
            signed.name_hash(node.name)
            for node in self.nodes
            if node.up and node.states.get(address, (State.IDLE, b""))[0] in ANSWERING
        }
        return [
            node.name
            for node in self.nodes
            if node.up and not node.stalled
            for state, holder in [node.states.get(address, (State.IDLE, b""))]
            if state is State.HELD and holder not in announcing
        ]

    def owners(self, address: IPv4Address, side: int = 0) -> list[str]:
        """Whose answers for an address are heard on one side of the cut (0: that of the gateway)."""
        return [
            node.name for node in self.nodes if node.side == side and not node.deaf and node.answers(address)
        ]
