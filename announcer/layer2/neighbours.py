"""Who else is on the segments of this node, and whether our own link to them works. Sans-IO.

A segment is the set of members whose signed frames are heard on an interface; a prefix does not define it. Members say
hello when an interface comes up and every HELLO_S, so their MACs are known before they are needed.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Final, NamedTuple

from announcer.layer2 import arp
from announcer.layer2.arp import REPLY, REQUEST, ArpFrame
from announcer.layer2.gateways import Gateway
from announcer.layer2.interfaces import MAX_INTERFACES, InterfaceView
from announcer.layer2.signed import FLAG_GO, Kind, Signer

HELLO_S: Final = 30.0
MEET_S: Final = 0.5
"""How long a member that the ring holds alive may take to say hello by itself before it is asked to. Asked again after
twice that, and so on: it may be on another segment."""
KEPT_S: Final = 86_400.0
"""How long the MAC of a member is remembered: past its death, to recognise answers of caches."""
MAX_NEIGHBOURS: Final = 4_096
"""Members remembered on one interface."""
MAX_HOMES: Final = 65_536
"""Addresses whose interfaces are kept worked out."""
WITNESSES: Final = 2
"""Members asked beside a question to prove that our own link works; the gateway is asked too."""
_ASK_AGAIN_S: Final = 0.02
_ASKED_MEMBERS: Final = 64
"""Members asked last on an interface whose answers prove its link: those of more than half a second."""
GATEWAY_MISSES: Final = 4
"""Questions without an answer after which a gateway is not expected to answer any more, until it does."""
GATEWAY_MOVED: Final = 2, 0.3
"""Questions without an answer, and seconds of that, after which a gateway may have another MAC: it is asked for by broadcast
then, once in so many seconds. Both, because several are asked before an answer of a busy router can be there."""
GATEWAY_SILENT: Final = 2, 1.0
"""Questions without an answer, and seconds of that, after which a gateway's answer ends a silence. Several are asked within a
few hundredths of a second, so that it takes time to tell a silence from a slow router, or from one that answers sparingly."""
GATEWAY_SOUGHT_S: Final = 600.0
"""How long a gateway that answers no longer is asked every time, and not in its turn only."""
GATEWAY_SELDOM_S: Final = 60.0, 10.0
"""After how long a silence it is asked less often than that, and how often: switches have forgotten its MAC by then, and flood."""
_GATEWAY_CANDIDATES: Final = 4
"""MACs that answered one such broadcast, asked themselves."""
_NOWHERE: Final = b"\x00" * 6

Outgoing = tuple[int, bytes]
"""Index of an interface and a frame to send on it."""


class Neighbour(NamedTuple):
    """A member as heard on one interface."""

    mac: bytes
    address: bytes
    heard: float


class _Gateway:
    """A default gateway: `mac` is where it answered from when it was asked there, empty before it did, and `hint` where the
    kernel holds it to be; `unanswered` counts questions since the last answer, the first of them asked at `silent`.

    `called` is when it was asked for by broadcast. Who answers that may be a cache, or a host that answers everything, so it
    is asked at its own MAC: `asked`, where an answer counts.
    """

    __slots__ = ("address", "asked", "called", "calling", "hint", "mac", "silent", "sought", "unanswered")

    def __init__(self, gateway: Gateway) -> None:
        self.address = gateway.address
        self.hint = gateway.mac
        self.mac = b""
        self.unanswered = 0
        self.silent = 0.0
        self.sought = float("-inf")
        self.called = float("-inf")
        self.calling = False
        self.asked: list[bytes] = []

    def ask(self, now: float) -> bytes | None:
        """The MAC to ask it at now, BROADCAST where it may have any; None while nobody has answered the last broadcast, nor was
        it asked again where it was."""
        misses, seconds = GATEWAY_MOVED
        if not self.unanswered:
            self.silent = now
        moved = self.unanswered >= misses and now - self.silent >= seconds
        if not moved and (expected := self.mac or self.hint):
            self.unanswered += 1
            self.calling, self.asked = False, [expected]
            return expected
        if now - self.called >= seconds:
            self.unanswered += 1
            self.calling, self.called, self.asked = True, now, []
            return arp.BROADCAST
        return self.asked[0] if self.asked else None

    def ask_again(self, now: float) -> bytes | None:
        """The MAC to ask it at out of its turn; None unless it owes an answer there, and has not for too long."""
        long_s, seldom_s = GATEWAY_SELDOM_S
        silence = now - self.silent
        if not self.unanswered or not self.mac or silence > GATEWAY_SOUGHT_S:
            return None
        if silence > long_s and now - self.sought < seldom_s:
            return None
        self.sought = now
        self.unanswered += 1
        if self.mac not in self.asked:
            self.asked.append(self.mac)
        return self.mac

    def is_silent(self, now: float) -> bool:
        """Whether an answer that comes now ends a silence: one question before it may have been lost, more were not."""
        misses, seconds = GATEWAY_SILENT
        return self.unanswered > misses and now - self.silent >= seconds

    def answered(self, mac: bytes) -> bool:
        """It, or whoever else, answered; True where it was asked there."""
        if mac not in self.asked:
            return False
        self.mac, self.unanswered = mac, 0
        self.calling, self.asked = False, [mac]
        return True

    def answered_broadcast(self, mac: bytes) -> bool:
        """Somebody answered the broadcast; True where that is to be asked itself. It then counts as asked there."""
        if not self.calling or sum(one != self.mac for one in self.asked) >= _GATEWAY_CANDIDATES:
            return False
        self.asked.append(mac)
        return True


class Neighbours:
    """Members heard on each interface and the proof that the link works. Names are hashed (signed.name_hash).

    Frames to send pile up in `frames`; who drives this takes them.
    """

    def __init__(self) -> None:
        self.signer: Signer | None = None
        self.frames: list[Outgoing] = []
        self.interfaces: dict[int, InterfaceView] = {}
        self._heard: dict[int, dict[bytes, Neighbour]] = {}
        self._prefixes: dict[str, tuple[IPv4Network, ...]] = {}
        self._homes: dict[bytes, tuple[int, ...]] = {}
        self._same_homes: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._alive: set[bytes] = set()
        self._gateways: dict[int, _Gateway] = {}
        self._proved: dict[int, float] = {}
        self._answered: dict[int, float] = {}
        self._asked: dict[int, float] = {}
        self._witnesses: dict[int, deque[tuple[bytes, bytes]]] = {}
        self._noticed: dict[int, float] = {}
        self._hello_at: float | None = None
        self._meet_s = HELLO_S
        self._turn = 0

    # What is there

    def set_interfaces(self, interfaces: Mapping[int, InterfaceView], now: float) -> None:
        """Take note of the interfaces in use; on those that came up or changed, say hello."""
        before, self.interfaces = self.interfaces, dict(interfaces)
        for index in before.keys() - interfaces.keys():
            for known in (
                self._heard,
                self._proved,
                self._answered,
                self._asked,
                self._witnesses,
                self._noticed,
            ):
                known.pop(index, None)
        self._homes.clear()
        self._same_homes.clear()
        for index, view in interfaces.items():
            if before.get(index) != view:
                self._remember_prefixes(view)
                self._say_hello(index, welcome=True)
                self._ask_gateway(index, now)
        if self._hello_at is None and interfaces:
            self._hello_at = now + HELLO_S

    def home(self, address: bytes) -> tuple[int, ...]:
        """The interfaces in use on whose segment an address belongs, none where its segment is down here.

        Those with a prefix that holds the address; all of them where no interface, up or down, has such a prefix.
        """
        home = self._homes.get(address)
        if home is None:
            if len(self._homes) >= MAX_HOMES:
                self._homes.clear()
            # Most addresses share their home: one tuple for all of them.
            home = self._work_out_home(address)
            home = self._homes[address] = self._same_homes.setdefault(home, home)
        return home

    def is_home(self, interface: int, address: bytes) -> bool:
        """Whether an address that was heard of belongs on the interface. Not kept: others say many."""
        return interface in (self._homes.get(address) or self._work_out_home(address))

    def _work_out_home(self, address: bytes) -> tuple[int, ...]:
        known = IPv4Address(address)
        names = {name for name, prefixes in self._prefixes.items() if any(known in p for p in prefixes)}
        # Of a list: a tuple of a generator leaves one of another size behind, thousands of times.
        return tuple([i for i, view in self.interfaces.items() if view.name in names or not names])

    def _remember_prefixes(self, view: InterfaceView) -> None:
        """Prefixes outlive a link that goes down: its addresses have not moved to another segment."""
        prefixes = tuple(a.network for a in view.addresses if isinstance(a, IPv4Interface))
        self._prefixes.pop(view.name, None)
        if prefixes:
            self._prefixes[view.name] = prefixes
        while len(self._prefixes) > MAX_INTERFACES:
            del self._prefixes[next(iter(self._prefixes))]

    def set_gateways(self, gateways: Mapping[int, Gateway], now: float) -> None:
        """Take note of the default gateway of each interface that has one, and ask those that are new where they are: the
        sooner that is known, the less often anybody else is asked."""
        before, self._gateways = self._gateways, {}
        for index, gateway in gateways.items():
            known = before.get(index)
            if known is not None and known.address == gateway.address:
                self._gateways[index] = known
                known.hint = gateway.mac
            else:
                self._gateways[index] = _Gateway(gateway)
                if index in self.interfaces:
                    self._ask_gateway(index, now)

    def introduce(self, signer: Signer, now: float) -> None:
        """Be this member from now on and say hello."""
        self.signer = signer
        for index in self.interfaces:
            self._say_hello(index, welcome=True)
        self._hello_at = now + HELLO_S

    def greet(self, interface: int) -> None:
        """Say hello to everybody on the interface, some of whom may have come while nothing was heard there."""
        self._say_hello(interface, welcome=True)

    def set_alive(self, names: Iterable[bytes], *, alive: bool) -> None:
        """Take note of which members the ring holds alive."""
        if alive:
            self._alive.update(names)
        else:
            self._alive.difference_update(names)

    def meet(self, names: Iterable[bytes], now: float) -> None:
        """These members are there (again). Where one was never heard, its hello or ours was lost, in a cut perhaps."""
        if self._hello_at is not None and any(not self.find(name) for name in names):
            self._hello_at = min(self._hello_at, now + MEET_S)
            self._meet_s = MEET_S

    def is_alive(self, name: bytes) -> bool:
        """Whether the ring holds a member alive."""
        return name in self._alive

    # What is heard

    def notice(self, interface: int, frame: ArpFrame, now: float) -> None:
        """Take note that somebody was heard at `now`, whatever it was: frames come in."""
        if not self.is_mine(frame.sender_mac):
            self._noticed[interface] = now

    def hear(self, interface: int, frame: ArpFrame, now: float) -> bool:
        """Take note of a reply: it proves the link where a member that was asked, or the gateway, is heard from its own place.
        True where that is the gateway after a silence.

        No other does: a switch that answers from its cache is heard also where everything behind it is cut off, and whoever
        else answers for an address says nothing of those who were asked.
        """
        if frame.operation != REPLY or self.is_mine(frame.sender_mac):
            return False
        gateway = self._gateways.get(interface)
        if gateway is not None and gateway.address == frame.sender_ip:
            silent = gateway.is_silent(now)
            if gateway.answered(frame.sender_mac):
                self.prove(interface, frame, now)
                return silent
            if gateway.answered_broadcast(frame.sender_mac):
                self._ask_for(interface, gateway.address, frame.sender_mac)
        elif (frame.sender_mac, frame.sender_ip) in self._witnesses.get(interface, ()):
            self.prove(interface, frame, now)
        return False

    def prove(self, interface: int, frame: ArpFrame, now: float) -> None:
        """Take note that a member or the gateway was heard; where it answered us, frames go both ways."""
        view = self.interfaces.get(interface)
        if view is not None:
            self._proved[interface] = now
            if frame.destination == view.mac:
                self._answered[interface] = now

    def hello(self, interface: int, name: bytes, frame: ArpFrame, *, welcome: bool, now: float) -> None:
        """Take note of where a member is; greet it where it asks for that. The caller has verified the frame."""
        members = self._heard.setdefault(interface, {})
        if name not in members and len(members) >= MAX_NEIGHBOURS:
            members = self._heard[interface] = {
                known: neighbour
                for known, neighbour in members.items()
                if known in self._alive or now - neighbour.heard < HELLO_S * 2
            }
            if len(members) >= MAX_NEIGHBOURS:
                return
        members[name] = Neighbour(frame.sender_mac, frame.sender_ip, now)
        self._proved[interface] = now
        if welcome:
            self._say_hello(interface, welcome=False, to=frame.sender_mac)

    def is_mine(self, mac: bytes) -> bool:
        """Whether a MAC is one of this node's."""
        return any(view.mac == mac for view in self.interfaces.values())

    def member_with(self, mac: bytes, now: float) -> bytes | None:
        """The member (hashed name) that has or had this MAC."""
        for members in self._heard.values():
            for name, neighbour in members.items():
                if neighbour.mac == mac and now - neighbour.heard < KEPT_S:
                    return name
        return None

    def is_at(self, interface: int, name: bytes, mac: bytes) -> bool:
        """Whether a member was heard last from this MAC on the interface."""
        known = self._heard.get(interface, {}).get(name)
        return known is not None and known.mac == mac

    def find(self, name: bytes, ring_address: bytes | None = None) -> list[tuple[int, Neighbour]]:
        """The interfaces on which a member was heard, with where it is there; where it is there with the address that it
        has in the ring, only that one."""
        places = [(index, members[name]) for index, members in self._heard.items() if name in members]
        return [place for place in places if place[1].address == ring_address] or places

    # Whether our own link works

    def witnesses(self, interface: int, but: bytes | None = None) -> list[Neighbour]:
        """Living members on the interface, in the order of their names."""
        members = self._heard.get(interface, {})
        return [members[name] for name in sorted(members.keys() & self._alive) if name != but]

    def has_witness(self, interface: int, but: bytes | None = None) -> bool:
        """Whether anybody on the interface can prove that the link works: a living member, or a gateway that answers."""
        return self._expects_gateway(interface) or self.has_members(interface, but)

    def has_members(self, interface: int, but: bytes | None = None) -> bool:
        """Whether a member that lives was heard on the interface."""
        members = self._heard.get(interface, {})
        return any(name != but for name in members.keys() & self._alive)

    def members_on(self, interface: int) -> int:
        """How many living members were heard on the interface."""
        return len(self._heard.get(interface, {}).keys() & self._alive)

    def gateway_answers(self, interface: int) -> bool:
        """Whether the interface has a gateway that answered when it was asked lately."""
        gateway = self._gateways.get(interface)
        return gateway is not None and bool(gateway.mac) and gateway.unanswered < GATEWAY_MISSES

    def gateway_at(self, interface: int) -> tuple[bytes, bytes] | None:
        """MAC and address of the interface's gateway, None where there is none or nobody knows where. One that answers
        broadcasts only is where the kernel holds it to be."""
        gateway = self._gateways.get(interface)
        if gateway is None or not (mac := gateway.mac or gateway.hint):
            return None
        return mac, gateway.address

    def _expects_gateway(self, interface: int) -> bool:
        gateway = self._gateways.get(interface)
        return gateway is not None and bool(gateway.mac)

    def proved_since(self, interface: int, moment: float) -> bool:
        """Whether a member or the gateway was heard on the interface since then."""
        return self._proved.get(interface, float("-inf")) >= moment

    def noticed_since(self, interface: int, moment: float) -> bool:
        """Whether any frame of anybody has come in on the interface since then."""
        return self._noticed.get(interface, float("-inf")) >= moment

    def answered_since(self, interface: int, moment: float) -> bool:
        """Whether a member or the gateway has answered us on the interface since then: frames go both ways."""
        return self._answered.get(interface, float("-inf")) >= moment

    def ask_witnesses(self, interface: int, nonce: bytes, now: float, *, but: bytes | None = None) -> None:
        """Ask the gateway and some members where they are; their answers prove the link. Costs nothing when repeated."""
        if now - self._asked.get(interface, float("-inf")) < _ASK_AGAIN_S:
            return
        self._asked[interface] = now
        self._ask_gateway(interface, now)
        witnesses = self.witnesses(interface, but)
        self._turn += 1
        for step in range(min(WITNESSES, len(witnesses))):
            self._ask_member(interface, witnesses[(self._turn + step) % len(witnesses)], nonce)

    def ask_one(self, interface: int, nonce: bytes, now: float) -> None:
        """Ask a single neighbour where it is, the gateway or a member, another one each time; and a gateway that owes an answer,
        so that the end of its silence is noticed."""
        witnesses = self.witnesses(interface)
        gateway = self._gateways.get(interface)
        self._turn += 1
        turn = self._turn % (len(witnesses) + (gateway is not None) or 1)
        if turn >= len(witnesses):
            self._ask_gateway(interface, now)
            return
        self._ask_member(interface, witnesses[turn], nonce)
        if gateway is not None and (to := gateway.ask_again(now)) is not None:
            self._ask_for(interface, gateway.address, to)

    def _ask_member(self, interface: int, witness: Neighbour, nonce: bytes) -> None:
        """Ask a member at its own MAC, where no cache answers for it. Its kernel may, which proves the link as well."""
        asked = self._witnesses.setdefault(interface, deque(maxlen=_ASKED_MEMBERS))
        asked.append((witness.mac, witness.address))
        self.question(interface, witness.address, nonce, to=witness.mac)

    def _ask_gateway(self, interface: int, now: float) -> None:
        """Ask the gateway at its own MAC where that is known: whatever answers to a broadcast would end up in the
        kernel's neighbour table of this node, and the last answer wins there."""
        gateway = self._gateways.get(interface)
        if gateway is None:
            return
        to = gateway.ask(now)
        if to is not None:
            self._ask_for(interface, gateway.address, to)

    def _ask_for(self, interface: int, target: bytes, to: bytes) -> None:
        """Ask who is no member: without a nonce, and whether or not we are introduced."""
        self.frames.append((interface, self._where_is(interface, target, to).encode()))

    # What is said

    def question(
        self, interface: int, target: bytes, nonce: bytes, *, to: bytes = arp.BROADCAST, probe: bool = False
    ) -> None:
        """Ask who is at `target`. A `probe` (RFC 5227) tells nothing of ourselves that a host could learn wrongly."""
        if self.signer is None:
            return
        request = self._where_is(interface, target, to, probe=probe)
        self.frames.append((interface, self.signer.question(request, nonce)))

    def announce(self, address: bytes) -> None:
        """Tell the members on the segment of an address that it is answered for here."""
        if self.signer is None:
            return
        for index in self.home(address):
            frame = arp.gratuitous(REQUEST, mac=self.interfaces[index].mac, address=address)
            self.frames.append((index, self.signer.sign(frame, Kind.ANNOUNCEMENT)))

    def offer(self, address: bytes, to: bytes) -> None:
        """Tell a member that it should take an address over, on the segment of that address."""
        if self.signer is None:
            return
        for index, neighbour in self.find(to):
            if index not in self.home(address):
                continue
            view = self.interfaces[index]
            frame = ArpFrame(
                neighbour.mac, view.mac, REPLY, view.mac, address, neighbour.mac, neighbour.address
            )
            self.frames.append((index, self.signer.sign(frame, Kind.OFFER)))

    def next_deadline(self) -> float | None:
        """When the next hello is due (monotonic seconds)."""
        return self._hello_at if self.signer is not None else None

    def handle_timer(self, now: float) -> None:
        """Say hello where it is due."""
        if self._hello_at is not None and now >= self._hello_at and self.signer is not None:
            strangers = self._meet_s < HELLO_S and any(not self.find(name) for name in self._alive)
            self._meet_s = min(self._meet_s * 2, HELLO_S) if strangers else HELLO_S
            self._hello_at = now + self._meet_s
            for index in self.interfaces:
                self._say_hello(index, welcome=strangers)

    def _say_hello(self, interface: int, *, welcome: bool, to: bytes = arp.BROADCAST) -> None:
        if self.signer is None:
            return
        view = self.interfaces[interface]
        own = self._own_address(interface)
        frame = ArpFrame(to, view.mac, REQUEST, view.mac, own, _NOWHERE, own)
        flags = FLAG_GO if welcome else 0
        self.frames.append((interface, self.signer.sign(frame, Kind.HELLO, flags=flags)))

    def _where_is(self, interface: int, target: bytes, to: bytes, *, probe: bool = False) -> ArpFrame:
        view = self.interfaces[interface]
        sender = arp.ANY if probe else self._own_address(interface)
        return ArpFrame(to, view.mac, REQUEST, view.mac, sender, _NOWHERE, target)

    def _own_address(self, interface: int) -> bytes:
        addresses = self.interfaces[interface].addresses
        return next((address.packed for address in addresses if address.version == 4), arp.ANY)
