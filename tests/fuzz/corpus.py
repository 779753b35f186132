"""Inputs to begin with: every message in every form that a real member sends."""

from collections.abc import Sequence

from gossip.config import SwimConfig
from gossip.keyring import Keyring
from gossip.label import header
from gossip.messages import (
    Ack,
    Alive,
    Dead,
    ErrorReply,
    IndirectPing,
    Nack,
    NodeState,
    Ping,
    Struct,
    Suspect,
    User,
    encode,
)
from gossip.meta import Meta
from gossip.packet import PacketCodec, compound, compress, with_crc
from gossip.stream import encode_push_pull, encode_user, frame
from tests.unit.gossip.helpers import PORT, VSN, address, alive, entropy, state

KEYRING = Keyring([bytes(range(32))])
LABEL = SwimConfig(label="blue")

MESSAGES: Sequence[Struct] = (
    Ping(7, "me", address(10), PORT, "a"),
    Ping(1),
    IndirectPing(3, address(11), PORT, "b", True, address(10), PORT, "a"),
    Ack(7, b"\x01payload"),
    Nack(7),
    Suspect(1, "a", "b"),
    Suspect(1, "me", "b"),
    Dead(1, "a", "b"),
    Dead(1, "b", "b"),
    Dead(1, "me", "b"),
    alive("a", 10, 2, Meta(software="vipring", version="0.1.0").encode()),
    alive("me", 1, 4),
    Alive(1, "six", bytes(10) + b"\xff\xff" + address(12), PORT, b"\xff\x80", VSN),
    User(b"\x00\x83\xa5LTime\x07\xa4Node\xa1a\xa5Prune\xc2"),
)
STATES: tuple[NodeState, ...] = (
    state("a", 10),
    state("b", 11, 1, 3),
    state("c", 12, 2),
    state("me", 1, 3, 9),
)


def messages() -> list[bytes]:
    """Single messages of datagrams."""
    return [encode(message) for message in MESSAGES]


def packets() -> list[bytes]:
    """Datagrams in plain text."""
    single = messages()
    return [*single, compound(single), compress(compound(single)), with_crc(compress(compound(single[:4])))]


def sealed(data: bytes, config: SwimConfig) -> bytes:
    """A datagram as a member of the ring with this label sends it."""
    return PacketCodec(config, KEYRING, entropy).pack([data], crc=False)


def streams() -> list[bytes]:
    """Streams in plain text."""
    table = encode_push_pull(STATES, join=True, user_state=b"\x02state")
    plain = [table, encode(Ping(3, "me")), encode_user(b"hello"), encode(ErrorReply("no")), encode(Ack(3))]
    return [*plain, compress(table), compress(encode_push_pull(STATES * 50, join=False))]


def framed(data: bytes, config: SwimConfig) -> bytes:
    """A stream as a member of the ring with this label opens it."""
    label = config.label.encode()
    return header(label) + frame(data, KEYRING, entropy, config.protocol_version, label=label)


def metas() -> list[bytes]:
    """What members announce of themselves."""
    segments = (b"abcd", b"efgh")
    return [
        Meta(software="vipring", version="0.1.0").encode(),
        Meta(software="vipring", version="0.1.0", draining=True, eligible=False, segments=segments).encode(),
        b"\xff\x80",
        b"",
    ]


def sealed_only(data: bytes) -> bool:
    """Whether these bytes of a stream are one encrypted frame of the ring."""
    return data[:1] == b"\x0a" and KEYRING.decrypt(data[18:], data[6:18], data[:5]) is not None
