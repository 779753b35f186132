"""The messages of the ring and their msgpack dialect (memberlist net.go; go-msgpack codec/msgpack.go).

Every message is a type byte and a msgpack map with the field names of the Go struct, sorted. Strings and bytes share
the old raw family, unsigned integers take their shortest form, and nil stands for empty bytes. On receipt extra keys
are skipped, missing keys are zero, any width of integer is taken, and a struct may come as an array in the order of
its declaration.
"""

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias, TypeVar, cast

import msgpack
import msgspec

from gossip.config import META_MAX_SIZE
from gossip.errors import DecodeError, RejectReason

NAME_MAX_SIZE: Final = 512
"""Bytes of a member's name. Upstream has no limit; Kubernetes stops at 253, serf at 128."""

UINT32_MAX: Final = 0xFFFFFFFF


class MessageType(IntEnum):
    """First byte of a message (memberlist net.go)."""

    PING = 0
    INDIRECT_PING = 1
    ACK = 2
    SUSPECT = 3
    ALIVE = 4
    DEAD = 5
    PUSH_PULL = 6
    COMPOUND = 7
    USER = 8
    COMPRESS = 9
    ENCRYPT = 10
    NACK = 11
    HAS_CRC = 12
    ERROR = 13
    HAS_LABEL = 244


class Struct(msgspec.Struct, frozen=True):
    """Base of everything that travels as a msgpack map; immutable."""


class Ping(Struct, frozen=True):
    """Are you there? Answered to `source_addr`:`source_port` where both are given, else to the packet's source."""

    seq: int
    node: str = ""
    """Name of the member meant; others drop the ping."""
    source_addr: bytes = b""
    source_port: int = 0
    source_node: str = ""


class IndirectPing(Struct, frozen=True):
    """Ping somebody for me; `source_*` is who asks."""

    seq: int
    target: bytes
    """Address bytes of the member to ping."""
    port: int
    node: str
    nack: bool = False
    """Whether the relay shall tell when it got no answer either."""
    source_addr: bytes = b""
    source_port: int = 0
    source_node: str = ""


class Ack(Struct, frozen=True):
    """The answer to the ping with the same number."""

    seq: int
    payload: bytes = b""


class Nack(Struct, frozen=True):
    """A relay got no answer in time."""

    seq: int


class Suspect(Struct, frozen=True):
    """`accuser` found no life in `node` at this incarnation."""

    incarnation: int
    node: str
    accuser: str


class Alive(Struct, frozen=True):
    """A member is, or came back, at this address."""

    incarnation: int
    node: str
    addr: bytes
    port: int
    meta: bytes = b""
    vsn: bytes = b""


class Dead(Struct, frozen=True):
    """`accuser` declares `node` dead; when both are the same, the member left."""

    incarnation: int
    node: str
    accuser: str


class PushPullHeader(Struct, frozen=True):
    """Begins the exchange of state on a stream."""

    nodes: int
    user_state_len: int = 0
    join: bool = False


class NodeState(Struct, frozen=True):
    """One member within an exchange of state."""

    name: str
    addr: bytes
    port: int
    meta: bytes
    incarnation: int
    state: int
    """0 alive, 1 suspect, 2 dead, 3 left."""
    vsn: bytes


class UserHeader(Struct, frozen=True):
    """Begins a user message on a stream."""

    length: int


class Compressed(Struct, frozen=True):
    """Wraps another message; `algorithm` 0 is LZW, the only one."""

    algorithm: int
    data: bytes


class ErrorReply(Struct, frozen=True):
    """The server's reason for giving up a stream."""

    error: str


class User(Struct, frozen=True):
    """An application's message: raw bytes, no map."""

    payload: bytes


PacketMessage: TypeAlias = Ping | IndirectPing | Ack | Nack | Suspect | Alive | Dead | User
"""What may arrive in a datagram, once unwrapped."""


class _Kind(NamedTuple):
    """How one field is checked and brought into its Python type."""

    zero: object
    convert: Callable[[str, object], object]


def _malformed(name: str, allowed: str) -> DecodeError:
    return DecodeError(RejectReason.MALFORMED, f"{name}: must be {allowed}")


def _integer(limit: int) -> _Kind:
    def convert(name: str, value: object) -> int:
        if type(value) is not int or not 0 <= value <= limit:
            raise _malformed(name, f"an integer from 0 to {limit}")
        return value

    return _Kind(0, convert)


def _octets(limit: int) -> _Kind:
    def convert(name: str, value: object) -> bytes:
        if isinstance(value, list) and all(type(item) is int and 0 <= item <= 255 for item in value):
            value = bytes(value)
        if not isinstance(value, bytes) or len(value) > limit:
            raise _malformed(name, f"at most {limit} bytes")
        return value

    return _Kind(b"", convert)


def _string(limit: int) -> _Kind:
    def convert(name: str, value: object) -> str:
        if not isinstance(value, bytes) or len(value) > limit:
            raise _malformed(name, f"a text of at most {limit} bytes")
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise _malformed(name, "UTF-8") from None

    return _Kind("", convert)


def _truth(name: str, value: object) -> bool:
    if isinstance(value, bool) or value in (0, 1):
        return bool(value)
    raise _malformed(name, "true or false")


_BOOL: Final = _Kind(False, _truth)
_U8: Final = _integer(0xFF)
_U16: Final = _integer(0xFFFF)
_U32: Final = _integer(UINT32_MAX)
_LENGTH: Final = _integer((1 << 63) - 1)
_NAME: Final = _string(NAME_MAX_SIZE)
_ADDR: Final = _octets(16)
_META: Final = _octets(META_MAX_SIZE)
_VSN: Final = _octets(255)
_BYTES: Final = _octets(0xFFFFFFFF)
_TEXT: Final = _string(0xFFFF)


class _Field(NamedTuple):
    wire: str
    attribute: str
    kind: _Kind
    omit: bool = False
    """Left out on the wire when zero."""


class _Layout:
    """The fields of one struct in the order of its Go declaration, which the array form follows."""

    def __init__(self, struct: type[Struct], *declared: _Field) -> None:
        self.struct = struct
        self.declared = declared
        self.encode_order: tuple[tuple[str, str, object, bool], ...] = tuple(
            (field.wire, field.attribute, field.kind.zero, field.omit)
            for field in sorted(declared, key=lambda field: field.wire.encode())
        )
        by_attribute = {field.attribute: field for field in declared}
        self.decode_order: tuple[tuple[bytes, str, object, Callable[[str, object], object]], ...] = tuple(
            (field.wire.encode(), field.wire, field.kind.zero, field.kind.convert)
            for field in (by_attribute[name] for name in struct.__struct_fields__)
        )
        self.array_keys: tuple[bytes, ...] = tuple(field.wire.encode() for field in declared)


_SOURCE: Final = (
    _Field("SourceAddr", "source_addr", _ADDR, omit=True),
    _Field("SourcePort", "source_port", _U16, omit=True),
    _Field("SourceNode", "source_node", _NAME, omit=True),
)
_VERDICT: Final = (
    _Field("Incarnation", "incarnation", _U32),
    _Field("Node", "node", _NAME),
    _Field("From", "accuser", _NAME),
)
_LAYOUTS: Final[dict[type[Struct], _Layout]] = {
    layout.struct: layout
    for layout in (
        _Layout(Ping, _Field("SeqNo", "seq", _U32), _Field("Node", "node", _NAME), *_SOURCE),
        _Layout(
            IndirectPing,
            _Field("SeqNo", "seq", _U32),
            _Field("Target", "target", _ADDR),
            _Field("Port", "port", _U16),
            _Field("Node", "node", _NAME),
            _Field("Nack", "nack", _BOOL),
            *_SOURCE,
        ),
        _Layout(Ack, _Field("SeqNo", "seq", _U32), _Field("Payload", "payload", _BYTES)),
        _Layout(Nack, _Field("SeqNo", "seq", _U32)),
        _Layout(Suspect, *_VERDICT),
        _Layout(
            Alive,
            _Field("Incarnation", "incarnation", _U32),
            _Field("Node", "node", _NAME),
            _Field("Addr", "addr", _ADDR),
            _Field("Port", "port", _U16),
            _Field("Meta", "meta", _META),
            _Field("Vsn", "vsn", _VSN),
        ),
        _Layout(Dead, *_VERDICT),
        _Layout(
            PushPullHeader,
            _Field("Nodes", "nodes", _LENGTH),
            _Field("UserStateLen", "user_state_len", _LENGTH),
            _Field("Join", "join", _BOOL),
        ),
        _Layout(
            NodeState,
            _Field("Name", "name", _NAME),
            _Field("Addr", "addr", _ADDR),
            _Field("Port", "port", _U16),
            _Field("Meta", "meta", _META),
            _Field("Incarnation", "incarnation", _U32),
            _Field("State", "state", _integer(3)),
            _Field("Vsn", "vsn", _VSN),
        ),
        _Layout(UserHeader, _Field("UserMsgLen", "length", _LENGTH)),
        _Layout(Compressed, _Field("Algo", "algorithm", _U8), _Field("Buf", "data", _BYTES)),
        _Layout(ErrorReply, _Field("Error", "error", _TEXT)),
    )
}

_TYPE_BYTES: Final[dict[type[Struct], bytes]] = {
    Ping: bytes((MessageType.PING,)),
    IndirectPing: bytes((MessageType.INDIRECT_PING,)),
    Ack: bytes((MessageType.ACK,)),
    Nack: bytes((MessageType.NACK,)),
    Suspect: bytes((MessageType.SUSPECT,)),
    Alive: bytes((MessageType.ALIVE,)),
    Dead: bytes((MessageType.DEAD,)),
    PushPullHeader: bytes((MessageType.PUSH_PULL,)),
    NodeState: b"",
    UserHeader: bytes((MessageType.USER,)),
    Compressed: bytes((MessageType.COMPRESS,)),
    ErrorReply: bytes((MessageType.ERROR,)),
}

_PACKET_MESSAGES: Final[Mapping[int, type[Struct]]] = {
    MessageType.PING: Ping,
    MessageType.INDIRECT_PING: IndirectPing,
    MessageType.ACK: Ack,
    MessageType.NACK: Nack,
    MessageType.SUSPECT: Suspect,
    MessageType.ALIVE: Alive,
    MessageType.DEAD: Dead,
}

_pack: Final[Callable[[object], bytes]] = msgpack.Packer(use_bin_type=False, autoreset=True).pack

MSGPACK_ERRORS: Final = (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException)
"""Everything that msgpack raises for bad bytes."""


ARRAY_MAX: Final = 1024
MAP_MAX: Final = 128
"""Caps for containers within a message, so that a few bytes cannot announce millions of items."""


T = TypeVar("T", bound=Struct)


def encode(message: Struct) -> bytes:
    """The bytes of a message: type byte (none for NodeState) and map; a user message is its type byte and payload."""
    if isinstance(message, User):
        return b"\x08" + message.payload
    struct = type(message)
    body: dict[str, object] = {}
    for wire, attribute, zero, omit in _LAYOUTS[struct].encode_order:
        value = getattr(message, attribute)
        if value == zero:
            if omit:
                continue
            if zero == b"":
                value = None
        body[wire] = value
    return _TYPE_BYTES[struct] + _pack(body)


def decode_map(data: bytes | memoryview, struct: type[T]) -> T:
    """Read the msgpack body of one struct; bytes after it are ignored.

    Raises:
        DecodeError: MALFORMED.
    """
    try:
        body: object = msgpack.unpackb(
            data, raw=True, max_array_len=ARRAY_MAX, max_map_len=MAP_MAX, strict_map_key=True
        )
    except msgpack.ExtraData as error:
        body = error.unpacked
    except MSGPACK_ERRORS as error:
        raise DecodeError(RejectReason.MALFORMED, f"{struct.__name__}: {type(error).__name__}") from None
    return from_object(body, struct)


def from_object(body: object, struct: type[T]) -> T:
    """Check what msgpack unpacked (with raw bytes for texts) and build the struct.

    Raises:
        DecodeError: MALFORMED, naming the field.
    """
    layout = _LAYOUTS[struct]
    if isinstance(body, list):
        body = dict(zip(layout.array_keys, body, strict=False))
    if body is None:
        body = {}
    if not isinstance(body, dict):
        raise DecodeError(RejectReason.MALFORMED, f"{struct.__name__}: not a map")
    values: list[object] = []
    for key, wire, zero, convert in layout.decode_order:
        value = body.get(key)
        values.append(zero if value is None else convert(wire, value))
    return struct(*values)


def class_name(message: bytes) -> str:
    """Name of the class of an encoded message that travels in datagrams."""
    struct = _PACKET_MESSAGES.get(message[0])
    return struct.__name__ if struct is not None else User.__name__


def decode_packet_message(data: bytes) -> PacketMessage:
    """Read one unwrapped message of a datagram.

    Raises:
        DecodeError: MALFORMED, TRUNCATED (empty) or UNSUPPORTED (a type that has no place here).
    """
    if not data:
        raise DecodeError(RejectReason.TRUNCATED, "empty message")
    kind = data[0]
    if kind == MessageType.USER:
        return User(data[1:])
    struct = _PACKET_MESSAGES.get(kind)
    if struct is None:
        raise DecodeError(RejectReason.UNSUPPORTED, f"message type {kind}")
    return cast("PacketMessage", decode_map(data[1:], struct))
