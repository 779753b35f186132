"""Entries of a pool's `addresses`: CIDRs and ranges, and whether any two overlap."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from cluster.config.model import Address, Network

_DECIMAL = re.compile(r"[0-9]{1,3}", re.ASCII)
_ALLOWED = "must be a CIDR such as 192.168.1.0/24 or a range such as 192.168.1.240-192.168.1.250"


@dataclass(frozen=True, slots=True)
class Prefix:
    """A network of a pool, with the path of the entry it comes from."""

    network: Network
    pool: str
    path: str


def parse_address(text: str) -> Address | None:
    """An address without zone, IPv4-mapped form or leading zeros; None for anything else."""
    if "%" in text:
        return None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return None
    return address


def parse_prefixes(text: str) -> list[Network]:
    """The networks of one entry: a CIDR, its host bits masked off, or the fewest that make up a range.

    Raises ValueError saying what is wrong and what is allowed.
    """
    if "-" in text:
        return _range(text)
    head, slash, length = text.strip().partition("/")
    address = parse_address(head)
    if address is None or not slash or not _DECIMAL.fullmatch(length) or int(length) > address.max_prefixlen:
        raise ValueError(_ALLOWED)
    return [ipaddress.ip_network((address, int(length)), strict=False)]


def _range(text: str) -> list[Network]:
    first, last = (parse_address(end.strip()) for end in text.split("-", 1))
    if first is None or last is None:
        raise ValueError(_ALLOWED)
    if isinstance(first, IPv4Address) and isinstance(last, IPv4Address) and first <= last:
        return list(ipaddress.summarize_address_range(first, last))
    if isinstance(first, IPv6Address) and isinstance(last, IPv6Address) and first <= last:
        return list(ipaddress.summarize_address_range(first, last))
    if first.version != last.version:
        raise ValueError("both ends of a range must be of the same address family")
    raise ValueError("the first address of a range must not be above the last")


def find_overlap(prefixes: Iterable[Prefix]) -> tuple[Prefix, Prefix] | None:
    """Two prefixes that share an address, the one defined first in front; None when there are none."""
    indexed = sorted(
        enumerate(prefixes),
        key=lambda item: (item[1].network.version, int(item[1].network[0]), item[1].network.prefixlen),
    )
    # CIDRs either nest or are apart, so the one with the highest end so far meets every overlap.
    reach: tuple[int, Prefix] | None = None
    for index, prefix in indexed:
        if reach is not None:
            other = reach[1].network
            if other.version == prefix.network.version and int(prefix.network[0]) <= int(other[-1]):
                first, second = sorted(((index, prefix), reach), key=lambda item: item[0])
                return first[1], second[1]
        reach = (index, prefix)
    return None
