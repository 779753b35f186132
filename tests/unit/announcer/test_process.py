"""The order in which the responder process does things: what waits beside a request may say not to answer it."""

import os
import socket
from collections.abc import Iterator
from ipaddress import IPv4Interface
from types import SimpleNamespace
from typing import cast

import pytest

from announcer.layer2 import arp, process
from announcer.layer2.arp import ArpFrame
from announcer.layer2.encoding import MAX_MESSAGE, decode_events, encode_add, encode_remove, encode_renew
from announcer.layer2.interfaces import InterfaceView
from announcer.layer2.messages import LeaseExpired
from announcer.layer2.responder import LEASE_S

VIEW = InterfaceView(2, "eth0", bytes.fromhex("020000000001"), (IPv4Interface("198.18.0.1/16"),))
ASKER = bytes.fromhex("0200000000aa")
VIP = bytes([198, 18, 1, 0])
REQUEST = ArpFrame(arp.BROADCAST, ASKER, arp.REQUEST, ASKER, bytes([198, 18, 0, 2]), bytes(6), VIP).encode()


class Receiver:
    """In the place of a packet socket."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.replies = 0

    def fileno(self) -> int:
        return self._ours.fileno()

    def recvfrom(self, size: int) -> tuple[bytes, tuple[str, int, int]]:
        return self._ours.recv(size), (VIEW.name, 0, socket.PACKET_HOST)

    def send(self, frame: bytes) -> None:
        self.replies += frame.startswith(ASKER)

    def ask(self) -> None:
        self._theirs.send(REQUEST)

    def close(self) -> None:
        self._ours.close()
        self._theirs.close()


class Bench:
    """The loop of the process between a speaker and an interface that are sockets of this test, with a clock of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.receiver = Receiver()
        self.speaker, self._link = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.speaker.setblocking(False)
        self._link.setblocking(False)
        table = SimpleNamespace(views=lambda: [VIEW])
        nothing = os.eventfd(0)
        routes = SimpleNamespace(
            fileno=lambda: nothing, monitor=SimpleNamespace(settled=True, table=table), close=lambda: None
        )
        self._nothing = nothing
        monkeypatch.setattr(process, "monotonic", lambda: self.now)
        monkeypatch.setattr(process, "RouteSocket", lambda _exclude: routes)
        monkeypatch.setattr(process, "read_gateways", lambda _views: {})
        monkeypatch.setattr(process, "_arp_socket", lambda _view: cast("socket.socket", self.receiver))
        self.loop = process._Loop(self._link, None)
        self.turn()
        self.speaker.send(encode_add([VIP], epoch=0, at=self.now, known=False)[0][0])
        self.turn()
        self.receiver.ask()
        self.turn()
        assert self.receiver.replies == 1

    def turn(self) -> None:
        assert self.loop._turn(self.loop._answer())

    def renew(self, at: float) -> None:
        self.speaker.send(encode_renew(epoch=0, at=at))

    def turns(self) -> None:
        """Until nothing waits: neither a command nor a frame."""
        for _ in range(10):
            self.turn()

    def expired(self) -> bool:
        events = []
        while True:
            try:
                events += decode_events(self.speaker.recv(MAX_MESSAGE))
            except BlockingIOError:
                return any(isinstance(event, LeaseExpired) for event in events)

    def close(self) -> None:
        for end in (self.speaker, self._link, self.receiver):
            end.close()
        os.close(self._nothing)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    made = Bench(monkeypatch)
    yield made
    made.close()


def test_a_lease_renewed_over_a_stall_holds_also_where_a_request_waits(bench: Bench) -> None:
    for _ in range(5):
        bench.now += LEASE_S / 3
        bench.renew(bench.now)
    bench.receiver.ask()
    bench.turns()
    assert not bench.expired()
    assert bench.receiver.replies == 1, "what queued up over a stall was answered"
    bench.receiver.ask()
    bench.turns()
    assert bench.receiver.replies == 2


def test_a_lease_that_is_renewed_at_the_last_moment_holds_also_where_a_request_waits(bench: Bench) -> None:
    end = bench.now + LEASE_S
    while bench.now < end - 0.15:
        bench.now += 0.1
        bench.turn()
    bench.renew(end - 0.03)
    bench.now = end + 0.03
    bench.receiver.ask()
    bench.turns()
    assert not bench.expired()
    assert bench.receiver.replies == 2


def test_a_request_is_not_answered_when_the_address_was_given_up_before(bench: Bench) -> None:
    bench.speaker.send(encode_remove([VIP], epoch=0, at=bench.now)[0][0])
    bench.receiver.ask()
    bench.turns()
    assert bench.receiver.replies == 1


def test_many_requests_are_answered_between_two_turns(bench: Bench) -> None:
    for _ in range(8):
        bench.receiver.ask()
    bench.turn()
    assert bench.receiver.replies == 9
