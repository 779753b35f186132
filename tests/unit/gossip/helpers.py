"""A node on the bench: fed by hand, its datagrams read back as messages."""

import random
from collections.abc import Iterable, Sequence
from typing import TypeVar

from gossip.address import Endpoint
from gossip.config import SwimConfig
from gossip.keyring import Keyring
from gossip.messages import Ack, Alive, Dead, NodeState, PacketMessage, Ping, Struct, Suspect, encode
from gossip.node import SwimNode
from gossip.outputs import Output, SendDatagram
from gossip.packet import PacketCodec, compound

START = 5000.0
VSN = bytes((1, 5, 2, 0, 0, 0))
PORT = 7946
SOURCE = Endpoint("198.18.0.99", 40_000)

T = TypeVar("T")


def entropy(size: int) -> bytes:
    return bytes(size)


def address(number: int) -> bytes:
    return bytes((198, 18, 0, number))


def alive(name: str, number: int, incarnation: int = 1, meta: bytes = b"", vsn: bytes = VSN) -> Alive:
    return Alive(incarnation, name, address(number), PORT, meta, vsn)


def state(name: str, number: int, kind: int = 0, incarnation: int = 1, vsn: bytes = VSN) -> NodeState:
    return NodeState(name, address(number), PORT, b"", incarnation, kind, vsn)


class Bench:
    """A node called `me` at 198.18.0.1 and a clock that is moved by hand."""

    def __init__(
        self,
        config: SwimConfig | None = None,
        keyring: Keyring | None = None,
        members: Iterable[str] = (),
        meta: bytes = b"",
        seed: int = 1,
    ) -> None:
        self.config = config or SwimConfig.lan()
        self.now = START
        self.node = SwimNode(
            name="me",
            advertise=("198.18.0.1", PORT),
            config=self.config,
            keyring=keyring,
            meta=meta,
            rng=random.Random(seed),
            entropy=entropy,
            now=START,
        )
        self.codec = PacketCodec(self.config, keyring, entropy)
        for number, name in enumerate(members, 10):
            self.hear(alive(name, number))
        self.node.take_outputs()

    def hear(self, *messages: Struct, source: Endpoint = SOURCE) -> list[Output]:
        """Let messages arrive in one packet; what the node wants in return."""
        parts = [encode(message) for message in messages]
        self.node.receive_datagram(self.codec.pack(parts, crc=False), source=source, now=self.now)
        return self.node.take_outputs()

    def hear_bytes(self, data: bytes, source: Endpoint = SOURCE) -> list[Output]:
        self.node.receive_datagram(data, source=source, now=self.now)
        return self.node.take_outputs()

    def wait(self, seconds: float) -> list[Output]:
        """Let time pass, deadline by deadline."""
        outputs: list[Output] = []
        end = self.now + seconds
        while (deadline := self.node.next_deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.node.handle_timer(self.now)
            outputs += self.node.take_outputs()
        self.now = end
        return outputs

    def wait_answered(self, seconds: float) -> list[Output]:
        """Let time pass with every ping answered at once."""
        outputs: list[Output] = []
        end = self.now + seconds
        while (deadline := self.node.next_deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.node.handle_timer(self.now)
            taken = self.node.take_outputs()
            outputs += taken
            for to, message in self.messages(taken):
                if isinstance(message, Ping):
                    outputs += self.hear(Ack(message.seq), source=to)
        self.now = end
        return outputs

    def until_sent(self, kind: type[T], within: float = 5.0) -> tuple[Endpoint, T]:
        """Let time pass until the node sends such a message; where to, and the message."""
        end = self.now + within
        while (deadline := self.node.next_deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.node.handle_timer(self.now)
            for to, message in self.messages(self.node.take_outputs()):
                if isinstance(message, kind):
                    return to, message
        raise AssertionError(f"no {kind.__name__} was sent within {within} s")

    def messages(self, outputs: Sequence[Output]) -> list[tuple[Endpoint, PacketMessage]]:
        """Every message in the datagrams among the outputs."""
        found = []
        for output in outputs:
            if isinstance(output, SendDatagram):
                decoded = self.codec.unpack(output.data)
                assert not decoded.faults
                found += [(output.to, message) for message in decoded.messages]
        return found

    def said(self, name: str) -> list[PacketMessage]:
        """What the node would gossip about a member: waits for gossip and collects."""
        return [
            message
            for _, message in self.messages(self.wait(0.25))
            if isinstance(message, (Alive, Suspect, Dead)) and message.node == name
        ]


def of(kind: type[T], outputs: Sequence[Output]) -> list[T]:
    """The outputs of one kind."""
    return [output for output in outputs if isinstance(output, kind)]


__all__ = [
    "PORT",
    "SOURCE",
    "START",
    "VSN",
    "Bench",
    "address",
    "alive",
    "compound",
    "entropy",
    "of",
    "state",
]
