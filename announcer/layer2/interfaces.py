"""Which network interfaces carry layer 2 announcements: the links of the kernel and the selection among them.

Pure: fed with what announcer/layer2/netlink.py parsed.
"""

import re
from collections.abc import Sequence
from ipaddress import IPv4Interface, IPv6Interface
from typing import NamedTuple, TypeAlias

from announcer.errors import ResponderError

DEFAULT_EXCLUDE = (
    "^docker.*",
    "^cbr.*",
    "^dummy.*",
    "^virbr.*",
    "^lxcbr.*",
    "^veth.*",
    "^lo$",
    "^cali.*",
    "^tunl.*",
    "^flannel.*",
    "^kube-ipvs.*",
    "^cni.*",
    "^nodelocaldns.*",
    "^lxc.*",
)
"""Names that MetalLB excludes in the metallb-excludel2 ConfigMap that it ships."""

# linux/if.h
IFF_UP = 0x1
IFF_BROADCAST = 0x2
IFF_LOOPBACK = 0x8
IFF_NOARP = 0x80
IFF_LOWER_UP = 0x10000
_REQUIRED = IFF_UP | IFF_BROADCAST | IFF_LOWER_UP
_FORBIDDEN = IFF_LOOPBACK | IFF_NOARP

MAX_INTERFACES = 256
"""Interfaces that addresses are announced on at most: all of them with all their addresses fit in one message to the
speaker."""
_MAC_BYTES = 6

Address: TypeAlias = IPv4Interface | IPv6Interface


class InterfaceView(NamedTuple):
    """An interface on which addresses are announced."""

    index: int  # type: ignore[assignment]  # tuple.index is of no use to anybody here
    name: str
    mac: bytes
    addresses: tuple[Address, ...] = ()
    """The node's own addresses on it, with their prefix lengths, in numeric order, IPv4 first."""


class Link(NamedTuple):
    """What the kernel says of one link."""

    index: int  # type: ignore[assignment]
    name: str
    flags: int
    mac: bytes
    enslaved: bool
    """Port of a bridge, member of a bond or of a VRF: another interface speaks for it."""


def compile_exclude(patterns: Sequence[str]) -> re.Pattern[str] | None:
    """Join regular expressions into one, matched anywhere in a name; None where there are none.

    Raises ResponderError that names the first one that does not compile.
    """
    for position, pattern in enumerate(patterns):
        try:
            re.compile(pattern)
        except re.error as error:
            raise ResponderError(
                f"exclude[{position}]: {pattern!r} is not a regular expression: {error}"
            ) from None
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns)) if patterns else None


def carries_announcements(link: Link, exclude: re.Pattern[str] | None) -> bool:
    """Tell whether ARP is answered on `link`: up, with carrier, broadcast, with a MAC, nobody's port, not excluded.

    MetalLB internal/layer2/announcer.go; an IPv4 address on the interface is not required.
    """
    return (
        link.flags & (_REQUIRED | _FORBIDDEN) == _REQUIRED
        and not link.enslaved
        and len(link.mac) == _MAC_BYTES
        and any(link.mac)
        and (exclude is None or exclude.search(link.name) is None)
    )


class LinkTable:
    """Links and addresses of this network namespace, kept by a dump and the notices that follow it.

    A dump is bracketed by `begin_dump` and `end_dump`; what neither the dump nor a notice mentioned in between is
    gone. Dumps of links and of addresses follow each other, so both are swept at the end.
    """

    def __init__(self, exclude: re.Pattern[str] | None) -> None:
        self._exclude = exclude
        self._links: dict[int, Link] = {}
        self._addresses: dict[int, set[Address]] = {}
        self._seen_links: set[int] | None = None
        self._seen_addresses: set[tuple[int, Address]] | None = None

    def begin_dump(self) -> None:
        """Mark everything as not mentioned yet."""
        self._seen_links = set()
        self._seen_addresses = set()

    def end_dump(self) -> None:
        """Forget what was not mentioned since `begin_dump`."""
        if self._seen_links is None or self._seen_addresses is None:
            return
        for index in self._links.keys() - self._seen_links:
            del self._links[index]
        for index, addresses in list(self._addresses.items()):
            addresses &= {address for seen, address in self._seen_addresses if seen == index}
            if not addresses:
                del self._addresses[index]
        self._seen_links = None
        self._seen_addresses = None

    def set_link(self, link: Link) -> None:
        """Take a new state of a link."""
        self._links[link.index] = link
        if self._seen_links is not None:
            self._seen_links.add(link.index)

    def remove_link(self, index: int) -> None:
        """Take note that the link and its addresses are gone."""
        self._links.pop(index, None)
        self._addresses.pop(index, None)

    def add_address(self, index: int, address: Address) -> None:
        """Take a new address of the link `index`, which may be unknown yet."""
        self._addresses.setdefault(index, set()).add(address)
        if self._seen_addresses is not None:
            self._seen_addresses.add((index, address))

    def remove_address(self, index: int, address: Address) -> None:
        """Take note that an address is gone."""
        addresses = self._addresses.get(index, set())
        addresses.discard(address)
        if not addresses:
            self._addresses.pop(index, None)

    def views(self) -> tuple[InterfaceView, ...]:
        """Return the interfaces that carry announcements, by index."""
        return tuple(
            InterfaceView(link.index, link.name, link.mac, self._sorted_addresses(link.index))
            for link in sorted(self._links.values())
            if carries_announcements(link, self._exclude)
        )

    def _sorted_addresses(self, index: int) -> tuple[Address, ...]:
        return tuple(
            sorted(self._addresses.get(index, ()), key=lambda address: (address.version, int(address)))
        )
