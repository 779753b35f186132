"""Addresses as text and as the bytes that travel in messages."""

import ipaddress
from functools import lru_cache
from typing import NamedTuple


class Endpoint(NamedTuple):
    """An IP address as text and a port; equal to the plain tuple of both."""

    host: str
    port: int

    @property
    def text(self) -> str:
        """`host:port`, with an IPv6 host in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@lru_cache(maxsize=16384)
def display(addr: bytes) -> str:
    """Text of 4 or 16 address bytes; IPv4-mapped addresses become IPv4, other lengths hexadecimal.

    Peers compare address bytes, so the two forms of one IPv4 address are kept as they came and only shown alike.
    """
    if len(addr) == 4:
        return str(ipaddress.IPv4Address(addr))
    if len(addr) == 16:
        address = ipaddress.IPv6Address(addr)
        return str(address.ipv4_mapped or address)
    return addr.hex() or "none"


def is_address(addr: bytes) -> bool:
    """Whether these bytes can be an IP address, in either of its forms."""
    return len(addr) in (4, 16)


def packed(host: str) -> bytes:
    """The bytes of an IP address given as text: 4 for IPv4, 16 for IPv6.

    Raises:
        ValueError: the text is no IP address.
    """
    return ipaddress.ip_address(host.partition("%")[0]).packed
