"""A node's claims on a virtual clock, and what tests of them ask of it."""

import random
from ipaddress import IPv4Interface

from announcer.layer2 import arp, signed
from announcer.layer2.arp import REPLY, ArpFrame
from announcer.layer2.claimbook import ClaimBook
from announcer.layer2.claims import (
    Announce,
    Changed,
    ClaimOutput,
    Reannounce,
    Silence,
    State,
)
from announcer.layer2.interfaces import InterfaceView
from announcer.layer2.neighbours import Neighbours
from announcer.layer2.signed import Kind, Signer, Trailer, name_hash
from announcer.layer2.turns import Turns

VIP = bytes([198, 18, 1, 0])
ETH0 = InterfaceView(2, "eth0", bytes.fromhex("020000000001"), (IPv4Interface("198.18.0.11/16"),))
OTHER_MAC = bytes.fromhex("020000000002")
STRANGER_MAC = bytes.fromhex("0200000000aa")
OTHER = name_hash("n2")
STEP_S = 0.005
SECOND = bytes([198, 18, 1, 1])


class Bench:
    """Claims of n1 with n2 heard on eth0; `witness` tells whether n2 answers when asked where it is."""

    def __init__(self, *, witness: bool = True) -> None:
        self.now = 100.0
        self.witness = witness
        self.neighbours = Neighbours()
        self.turns = Turns()
        self.neighbours.introduce(Signer("n1", [b"key"]), self.now)
        self.neighbours.set_interfaces({2: ETH0}, self.now)
        self.book = ClaimBook(self.neighbours, self.turns, random.Random(1).randbytes, now=self.now)
        self.asked: list[tuple[float, bytes]] = []
        self.order: list[bytes] = []
        """Addresses in the order in which everybody was asked for them."""
        self.told: list[bytes] = []
        self.offers = 0
        self.outputs: list[ClaimOutput] = []

    def meet(self) -> None:
        frame = ArpFrame(
            arp.BROADCAST, OTHER_MAC, arp.REQUEST, OTHER_MAC, bytes([198, 18, 0, 12]), bytes(6), bytes(4)
        )
        self.neighbours.hello(2, OTHER, frame, welcome=False, now=self.now)
        self.neighbours.set_alive([OTHER], alive=True)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += STEP_S
            self.book.handle_timer(self.now)
            self.take()

    def take(self) -> None:
        self.outputs += self.book.take_outputs()
        frames, self.neighbours.frames = self.neighbours.frames, []
        for _, frame in frames:
            heard, trailer = arp.parse(frame), signed.read(frame)
            assert isinstance(heard, ArpFrame)
            if trailer is not None and trailer.kind is Kind.QUESTION and heard.destination == arp.BROADCAST:
                self.order.append(heard.target_ip)
            if trailer is not None and trailer.kind is Kind.ANNOUNCEMENT:
                self.told.append(heard.sender_ip)
            elif trailer is None or trailer.kind is Kind.OFFER:
                self.offers += trailer is not None
            elif heard.target_ip == VIP:
                self.asked.append((self.now, heard.destination))
            elif self.witness and heard.destination == OTHER_MAC:
                self.neighbours.hear(2, self.reply(OTHER_MAC, heard.target_ip), self.now)

    def reply(self, mac: bytes, address: bytes = VIP) -> ArpFrame:
        return ArpFrame(ETH0.mac, mac, REPLY, mac, address, ETH0.mac, bytes(4))

    def want(self, *, known: bool = True) -> None:
        self.book.want(VIP, self.now, known=known)
        self.take()

    def own(self) -> None:
        """Announce the address."""
        self.want()
        self.run(0.2)
        assert self.states()[-1] is State.ANNOUNCING

    def reannounced(self) -> int:
        return sum(isinstance(output, Reannounce) for output in self.outputs)

    def states(self) -> list[State]:
        return [output.state for output in self.outputs if isinstance(output, Changed)]

    def last(self) -> Changed:
        return [output for output in self.outputs if isinstance(output, Changed)][-1]

    def answering(self) -> bool:
        said = [output for output in self.outputs if isinstance(output, Announce | Silence)]
        return bool(said) and isinstance(said[-1], Announce)


def trailer(kind: Kind, *, first: bool = False) -> Trailer:
    """What n2 says; `first`: it ranks before us."""
    return Trailer(kind, 0, OTHER, bytes(3) if first else b"\xff" * 3, bytes(8))
