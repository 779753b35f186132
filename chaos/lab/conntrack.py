"""Forget connections that lead to endpoints which are no more (nfnetlink_conntrack; kube-proxy pkg/proxy/conntrack).

Without it a client that keeps its UDP port talks to a dead endpoint for as long as it goes on talking.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

_NETLINK_NETFILTER: Final = 12
_GET: Final = (1 << 8) | 1
_DELETE: Final = (1 << 8) | 2
_DONE: Final = 3
_ERROR: Final = 2
_REQUEST: Final = 0x1
_ACK: Final = 0x4
_DUMP: Final = 0x300
_TUPLE_ORIG: Final = 1
_TUPLE_REPLY: Final = 2
_NESTED: Final = 0x8000
_TYPE_MASK: Final = 0x3FFF
_ENOENT: Final = 2

Targets = Mapping[tuple[str, int], frozenset[tuple[str, int]]]
"""For each UDP service address and port: the endpoints it may lead to."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One UDP connection: where the client sent it, who answers, and the attribute that names it to the kernel."""

    sent_to: tuple[str, int]
    answered_by: tuple[str, int]
    name: bytes


def stale(flow: Flow, targets: Targets) -> bool:
    """Does a flow to a service lead to something that is no endpoint of it?"""
    allowed = targets.get(flow.sent_to)
    return allowed is not None and flow.answered_by not in allowed


def message(kind: int, flags: int, body: bytes = b"") -> bytes:
    """A netlink message to conntrack's IPv4 table (nlmsghdr, nfgenmsg)."""
    payload = struct.pack("=BBH", socket.AF_INET, 0, 0) + body
    return struct.pack("=IHHII", 16 + len(payload), kind, flags, 1, 0) + payload


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes in a buffer; stops at the first that does not fit."""
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if not 4 <= length <= len(data):
            return
        yield kind & _TYPE_MASK, data[4:length]
        data = data[(length + 3) & ~3 :]


def flows(data: bytes) -> tuple[list[Flow], bool]:
    """UDP flows in a part of a dump, and whether the dump is over."""
    found: list[Flow] = []
    while len(data) >= 16:
        length, kind = struct.unpack_from("=IH", data)
        if kind in (_DONE, _ERROR) or not 20 <= length <= len(data):
            return found, True
        parts = dict(attributes(data[20:length]))
        sent, answered = _ends(parts.get(_TUPLE_ORIG, b"")), _ends(parts.get(_TUPLE_REPLY, b""))
        if sent is not None and answered is not None:
            original = parts[_TUPLE_ORIG]
            name = struct.pack("=HH", 4 + len(original), _TUPLE_ORIG | _NESTED) + original
            found.append(Flow(sent[1], answered[0], name))
        data = data[(length + 3) & ~3 :]
    return found, False


def _ends(data: bytes) -> tuple[tuple[str, int], tuple[str, int]] | None:
    """Source and destination of a tuple; None unless it is UDP over IPv4."""
    parts = dict(attributes(data))
    addresses, protocol = dict(attributes(parts.get(1, b""))), dict(attributes(parts.get(2, b"")))
    if protocol.get(1, b"")[:1] != bytes([socket.IPPROTO_UDP]):
        return None
    if any(len(addresses.get(i, b"")) != 4 for i in (1, 2)) or any(
        len(protocol.get(i, b"")) != 2 for i in (2, 3)
    ):
        return None
    source, target = (str(IPv4Address(addresses[i])) for i in (1, 2))
    return (source, int.from_bytes(protocol[2])), (target, int.from_bytes(protocol[3]))


def forget_stale(targets: Targets) -> int:
    """Delete all stale flows of this network namespace; how many. Raises OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as link:
        link.settimeout(2)
        link.send(message(_GET, _REQUEST | _DUMP))
        old: list[Flow] = []
        over = False
        while not over:
            part, over = flows(link.recv(1 << 18))
            old += [flow for flow in part if stale(flow, targets)]
        for flow in old:
            _delete(link, flow.name)
    return len(old)


def forget_all() -> None:
    """Delete all flows of this network namespace, as a restart of the machine would. Raises OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as link:
        link.settimeout(2)
        _delete(link, b"")


def _delete(link: socket.socket, name: bytes) -> None:
    link.send(message(_DELETE, _REQUEST | _ACK, name))
    (code,) = struct.unpack_from("=i", link.recv(4096), 16)
    if code not in (0, -_ENOENT):
        raise OSError(-code, "conntrack: delete")
