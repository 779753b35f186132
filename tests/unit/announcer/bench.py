"""A responder core on a virtual clock, for the tests of what it answers and of whom it warns."""

from ipaddress import IPv4Address, IPv4Interface

from announcer.layer2 import arp
from announcer.layer2.arp import ArpFrame, DropReason
from announcer.layer2.interfaces import InterfaceView
from announcer.layer2.messages import (
    Add,
    AddressCounters,
    Counters,
    Introduce,
    Renew,
    ResponderEvent,
)
from announcer.layer2.responder import ArpResponder

START = 5_000.0
VIP = bytes([198, 18, 1, 0])
OTHER = bytes([198, 18, 1, 1])
ASKER = bytes.fromhex("0200000000aa")
ETH0 = InterfaceView(2, "eth0", bytes.fromhex("020000000001"))
HOME = InterfaceView(2, "eth0", ETH0.mac, (IPv4Interface("198.18.0.11/16"),))
ETH1 = InterfaceView(3, "eth1", bytes.fromhex("020000000002"))


class Bench:
    """A core with one interface, and a clock that moves in steps in which the process runs."""

    def __init__(self, *addresses: bytes, interfaces: tuple[InterfaceView, ...] = (ETH0,)) -> None:
        self.now = START
        self.core = ArpResponder(entropy=bytes, now=self.now)
        self.core.set_interfaces(interfaces, now=self.now)
        self.events: list[ResponderEvent] = []
        if addresses:
            self.core.receive_command(Add(0, self.now, addresses), now=self.now)
        self.sent: list[ArpFrame] = []
        self.step(0.0)

    def step(self, seconds: float) -> None:
        """One wake-up of the process, with nothing lost in between."""
        self.now += seconds
        self.core.observe(self.now)
        self.core.handle_timer(self.now)
        for due, data in self.core.take_frames(self.now):
            frame = arp.parse(data)
            assert isinstance(frame, ArpFrame)
            self.sent.append(frame)
            self.core.frame_sent(due, success=True, now=self.now)
        self.events += self.core.take_outputs()

    def run(self, seconds: float, *, renew: bool = True, epoch: int = 0) -> None:
        end = self.now + seconds
        while self.now < end:
            if renew:
                self.core.receive_command(Renew(epoch, self.now), now=self.now)
            self.step(min(0.1, end - self.now))

    def ask(
        self, target: bytes = VIP, *, interface: InterfaceView = ETH0, foreign: bool = False
    ) -> bytes | None:
        frame = ArpFrame(
            arp.BROADCAST, ASKER, arp.REQUEST, ASKER, bytes([198, 18, 0, 2]), bytes(6), target
        ).encode()
        reply = self.core.receive_frame(interface.index, frame, foreign=foreign, now=self.now)
        if reply is not None:
            self.core.reply_sent(interface.index, frame, success=True)
        return reply

    def take(self, kind: type[ResponderEvent]) -> list[ResponderEvent]:
        found = [event for event in self.events if isinstance(event, kind)]
        self.events = [event for event in self.events if not isinstance(event, kind)]
        return found

    def counters(self) -> Counters:
        """The totals that the events told so far, added up."""
        self.run(8.0)
        addresses: dict[IPv4Address, AddressCounters] = {}
        drops = dict.fromkeys(DropReason, 0)
        for event in self.events:
            if isinstance(event, Counters):
                addresses.update(event.addresses)
                drops = dict(event.drops)
        return Counters(addresses, drops)

    def say(self, data: bytes) -> bytes | None:
        """A frame arrives at HOME."""
        reply = self.core.receive_frame(HOME.index, data, foreign=False, now=self.now)
        if reply is not None:
            self.core.reply_sent(HOME.index, data, success=True)
        return reply


def owner() -> Bench:
    """A member that announces both addresses, alone."""
    bench = Bench(interfaces=(HOME,))
    bench.core.receive_command(Introduce(0, bench.now, "n1", (b"key",)), now=bench.now)
    bench.core.receive_command(Add(0, bench.now, (VIP, OTHER)), now=bench.now)
    bench.run(6.0)
    assert bench.ask() is not None
    return bench
