"""What clients see: datagrams of hosts over their neighbour tables, and the promises to them.

Every host sends to every address there is. A datagram is taken by the kernel of the node that the host's entry leads to,
whoever announces the address; it is served if that node does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final, NamedTuple, TypeAlias

from announcer.layer2.claimbook import GATEWAY_BACK_ALONE_S
from announcer.layer2.gratuitous import ROUNDS_S
from announcer.layer2.neighbours import GATEWAY_SILENT
from tests.simulation.announcer.api import Web
from tests.simulation.announcer.hosts import Host, State
from tests.simulation.announcer.node import Node
from tests.simulation.announcer.segment import EVERY_S, HOST_MAC, SAMPLE_S, Segment

PERIOD_S: Final = EVERY_S[1] + 2 * SAMPLE_S
"""Longest time between two datagrams of a host."""
LEARNS_S: Final = 0.1 + PERIOD_S
"""Until a host's datagrams go to whoever announces an address: the second gratuitous request."""
LEARNS_LOST_S: Final = 1.1 + PERIOD_S
"""The same where frames are lost: the fourth. Where the segment is or was cut: the next one, as what an owner announced behind
the cut was not heard on this side."""
NOTICED_S: Final = 0.5
"""Until the nodes on the two sides of a cut that is over know of each other."""
ASKED_S: Final = 1.0 + GATEWAY_BACK_ALONE_S
"""Until every node has asked a gateway that is back, and one that is alone has said so."""
REPLUGGED_S: Final = 1.0 + PERIOD_S
"""A node at another port of the switch is found there: it asks a neighbour every second."""
Of: TypeAlias = tuple[str, IPv4Address]


class BrokenPromiseError(AssertionError):
    """A promise was not kept."""


class Promised(NamedTuple):
    """How long an address may be without an owner that has had none since a moment, and how much of the time since then
    does not count."""

    none_s: Callable[[float], float]
    lost_s: Callable[[float, float], float]


@dataclass(slots=True)
class Taking:
    """A node takes datagrams for an address without a pause."""

    since: float
    last: float


class Clients:
    """The hosts of a segment. `lossy`: frames are lost; `two_s`: longest time in which two nodes take datagrams."""

    def __init__(self, segment: Segment, promised: Promised, *, lossy: bool, two_s: float) -> None:
        self._segment, self._promised = segment, promised
        self._lossy = lossy
        self._two_s = two_s + PERIOD_S
        self.quiet = segment.now
        """The last beginning or end of a fault."""
        self.cut = float("-inf")
        """When some of the nodes were last cut off."""
        self.replugged = float("-inf")
        """When a node was found at another port of the switch."""
        self._unserved: dict[Of, float] = {}
        self._missed: dict[Of, float] = {}
        """Since when no datagram has been served, though one must be; and though somebody announces the address."""
        self._severed = float("-inf")
        """When an owner may have been one that the hosts have not heard, and that nothing tells so but the gateway's answer."""
        self._waits = False
        """Whether the gateway, whose answer it is, is away itself."""
        self._unaware: set[IPv4Address] = set()
        """Addresses of owners behind a cut that have not missed the gateway long enough to take its answer for the end."""
        self._astray: set[Of] = set()
        """What no datagram has reached since such an owner was the only one to tell (docs/claims.md, limits)."""
        self._owners: dict[IPv4Address, tuple[list[str], float]] = {}
        self._taking: dict[IPv4Address, dict[str, Taking]] = {}
        self.worst_unserved = self.worst_missed = self.worst_two = 0.0

    def send(self, may_want: Callable[[Web], bool]) -> None:
        """Let the hosts send whose time it is. `may_want`: whether somebody must answer for an address.

        Raises BrokenPromiseError.
        """
        segment = self._segment
        if any(node.side for node in segment.nodes):
            self._taking.clear()
            self.cut = segment.now
        away = [node.side or node.deaf for node in segment.nodes]
        sound = [
            not (gone or node.stalled) and node.up for node, gone in zip(segment.nodes, away, strict=True)
        ]
        if any(away):
            self._unaware = {web.address for web in segment.api.webs if self._is_unaware(web.address)}
        if any(away) and not any(sound):
            self._severed = segment.now
            self._astray = self._of(self._unaware)
        elif any(away) and segment.now - self._severed < 2 * SAMPLE_S:
            # The owner may be among those that are not back yet.
            self._severed = segment.now
        self._waits = not segment.gateway.carries and segment.now - self._severed < ASKED_S
        if self._waits:
            # Whoever owns an address by now may not have found the gateway there in between.
            self.cut = self._severed = segment.now
        for host in segment.hosts:
            if host.due > segment.now:
                continue
            host.due = max(host.due + host.every_s, segment.now)
            for web in segment.api.webs:
                self._send(host, web, may_want)

    def fault_begins(self) -> None:
        """A fault befalls a node. If that took over from one behind a cut that has just ended, that one may not know of it."""
        if self._segment.now - self.cut < NOTICED_S and not any(other.side for other in self._segment.nodes):
            self._severed = self._segment.now
            self._astray |= self._of(self._unaware)

    def heard_again(self, after_s: float) -> None:
        """A node was deaf and dumb for so long: if it was put at another port since or just before, the switch learns of it from now on."""
        if self._segment.now - self.replugged < after_s + REPLUGGED_S:
            self.replugged = self._segment.now

    def _of(self, addresses: Iterable[IPv4Address]) -> set[Of]:
        return {(host.name, address) for host in self._segment.hosts for address in addresses}

    def _is_unaware(self, address: IPv4Address) -> bool:
        misses, seconds = GATEWAY_SILENT
        return any(
            (node.side or node.deaf)
            and node.answers(address)
            and (len(node.asked_gateway) < misses or self._segment.now - node.asked_gateway[0] < seconds)
            for node in self._segment.nodes
        )

    def _send(self, host: Host, web: Web, may_want: Callable[[Web], bool]) -> None:
        segment, address = self._segment, web.address
        took = segment.datagram(host, address)
        of = (host.name, address)
        served = isinstance(took, Node) and took.answers(address)
        if served:
            self._astray.discard(of)
        astray = self._waits or of in self._astray
        if isinstance(took, Node) and not astray and (served or segment.owners(address)):
            # While nobody announces it no host can know better.
            self._take(address, took)
        if served or not host.carries or took == HOST_MAC or astray:
            # A host that answers everything and was first holds the entry for as long as it proves itself.
            self._unserved.pop(of, None)
            self._missed.pop(of, None)
            return
        owners = segment.owners(address)
        known = self._owners.get(address)
        if known is None or known[0] != owners:
            self._owners[address] = known = (owners, segment.now)
        if not owners:
            self._missed.pop(of, None)
        else:
            self._judge_missed(host, address, max(self._missed.setdefault(of, segment.now), known[1]))
        if not may_want(web):
            self._unserved.pop(of, None)
        else:
            self._judge_unserved(host, address, self._unserved.setdefault(of, segment.now))

    def _judge_missed(self, host: Host, address: IPv4Address, since: float) -> None:
        now = self._segment.now
        since = max(since, self.quiet)
        lasts = now - since - self._promised.lost_s(since, now)
        self.worst_missed = max(self.worst_missed, lasts)
        bound = self._learns_s(host, address)
        if lasts > bound:
            owners = " and ".join(self._segment.owners(address))
            raise BrokenPromiseError(
                f"the {host.name} host sends to {address} for {lasts:.2f} s without reaching {owners}:"
                f" it has {self.entry(host, address)}"
            )

    def _judge_unserved(self, host: Host, address: IPv4Address, since: float) -> None:
        now = self._segment.now
        since = max(since, self.quiet)
        lasts = now - since - self._promised.lost_s(since, now)
        self.worst_unserved = max(self.worst_unserved, lasts)
        bound = self._promised.none_s(since) + self._learns_s(host, address)
        if lasts > bound:
            raise BrokenPromiseError(
                f"nobody serves the {host.name} host at {address} for {lasts:.2f} s where {bound:.2f} s are"
                " promised"
            )

    def _learns_s(self, host: Host, address: IPv4Address) -> float:
        """How long the host's table and the switch's may take."""
        learns = LEARNS_LOST_S if self._lossy else LEARNS_S
        if self._segment.now - self.cut < ROUNDS_S[-1]:
            learns = learns + LEARNS_LOST_S - LEARNS_S
        if self._segment.now - self.replugged < learns + REPLUGGED_S:
            # A burst may take its question before the switch has it.
            learns = max(learns, (2 if self._lossy else 1) * REPLUGGED_S)
        entry = host.table.entry(address.packed)
        if entry is not None and entry.state is State.INCOMPLETE:
            # It asks by broadcast, for what may have been announced long before; where frames are lost, three times.
            learns = max(learns, (2 if self._lossy else 1) * host.table.times.again_s + PERIOD_S)
        return learns

    def _severed_s(self, now: float) -> float:
        """How much longer hosts may have been using different nodes, where the gateway is to tell of the end of a cut: one that
        has to ask reaches the owner at once."""
        if now - self._severed >= ROUNDS_S[-1]:
            return 0.0
        return (2 if self._lossy else 1) * ASKED_S

    def _take(self, address: IPv4Address, node: Node) -> None:
        """A node takes a datagram; two that do so by turns for too long are two owners to the clients."""
        now, taking = self._segment.now, self._taking.setdefault(address, {})
        ours = taking.get(node.name)
        if ours is None or now - ours.last > PERIOD_S or self._promised.lost_s(ours.last, now):
            ours = taking[node.name] = Taking(now, now)
        ours.last = now
        for name, theirs in taking.items():
            if theirs is not ours:
                since = max(ours.since, theirs.since, self.quiet)
                lasts = theirs.last - since - self._promised.lost_s(since, theirs.last)
                self.worst_two = max(self.worst_two, lasts)
                if lasts > self._two_s + self._severed_s(theirs.last):
                    raise BrokenPromiseError(
                        f"{node.name} and {name} both took datagrams for {address} for {lasts:.2f} s"
                    )

    def judge_end(self, host_ended: float) -> None:
        """In the end every entry leads to an owner. `host_ended`: when a host that answers everything was last there; an
        entry may be its own until the table finds out. Raises BrokenPromiseError."""
        segment = self._segment
        macs = {node.name: node.view.mac for node in segment.nodes}
        for web in segment.api.webs:
            wanted = [macs[name] for name in segment.owners(web.address)]
            for host in segment.hosts if wanted else ():
                entry = host.table.entry(web.address.packed)
                mac = entry.mac if entry is not None else b""
                if mac == HOST_MAC and segment.now - host_ended < host.table.times.heals_s + PERIOD_S:
                    continue
                if (host.name, web.address) in self._astray:
                    continue
                if mac not in wanted:
                    raise BrokenPromiseError(
                        f"in the end the {host.name} host has {self.entry(host, web.address)} for {web.address}"
                    )

    def entry(self, host: Host, address: IPv4Address) -> str:
        """What a host knows of an address, for a report."""
        entry = host.table.entry(address.packed)
        if entry is None:
            return "no entry"
        return f"{entry.mac.hex(':') or 'no MAC'} ({entry.state.value})"
