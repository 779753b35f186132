"""Any text is a configuration or a ConfigError; any range is covered exactly; any overlap is found."""

from __future__ import annotations

import ipaddress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.config.configmap import parse_config
from cluster.config.model import Network, Pool
from cluster.config.prefixes import Prefix, find_overlap, parse_prefixes
from cluster.errors import ConfigError

WORDS = st.sampled_from(
    [
        "peers",
        "my-asn",
        "peer-asn",
        "peer-address",
        "hold-time",
        "router-id",
        "node-selectors",
        "match-labels",
        "match-expressions",
        "key",
        "operator",
        "values",
        "address-pools",
        "name",
        "protocol",
        "addresses",
        "avoid-buggy-ips",
        "auto-assign",
        "priority",
        "bgp-advertisements",
        "aggregation-length",
        "localpref",
        "communities",
        "bgp-communities",
        "layer2",
        "bgp",
        "In",
        "90s",
        "true",
        "64512",
        "65535:1",
        "198.18.0.0/24",
        "2001:2::/64",
        "198.18.1.9-198.18.1.20",
        "~",
        "<<",
        "*a",
    ]
)
SNIPPETS = st.lists(
    WORDS | st.sampled_from([": ", ":\n  ", "\n", "\n- ", "[", "]", "{", "}", ", ", "&a ", "*a", '"', "'", "|\n", "#", "---\n"]),
    max_size=60,
).map("".join)  # fmt: skip


def as_yaml(value: object) -> str:
    """Flow style with quoted text, which is nearly JSON."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {as_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_yaml, value)) + "]"
    return str(value)


TREES = st.recursive(
    WORDS | st.integers() | st.booleans(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=25,
).map(as_yaml)


def check(text: str) -> None:
    try:
        outcome = repr(parse_config(text))
    except ConfigError as error:
        outcome = f"refused: {error}"
    assert outcome.startswith(("Config(", "refused: "))
    if outcome.startswith("refused"):
        assert outcome.isprintable()
        assert len(outcome) < 3000


@given(st.text())
def test_any_text(text: str) -> None:
    check(text)


@given(SNIPPETS)
def test_any_mixture_of_yaml(text: str) -> None:
    check(text)


@given(TREES)
def test_any_tree(text: str) -> None:
    check(text)


@given(
    st.dictionaries(
        st.sampled_from(["name", "protocol", "addresses", "auto-assign", "priority", "bgp-advertisements"]),
        TREES,
    )
)
def test_any_pool(pool: dict[str, str]) -> None:
    check("address-pools: [{" + ", ".join(f"{key}: {value}" for key, value in pool.items()) + "}]")


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_range_becomes_the_fewest_cidrs_that_cover_it(one: int, other: int) -> None:
    first, last = ipaddress.IPv4Address(min(one, other)), ipaddress.IPv4Address(max(one, other))
    networks = parse_prefixes(f"{first}-{last}")
    assert networks[0][0] == first
    assert networks[-1][-1] == last
    assert all(int(left[-1]) + 1 == int(right[0]) for left, right in pairwise(networks))
    # No two neighbours would make one CIDR.
    assert all(
        left.prefixlen != right.prefixlen or left.supernet() != right.supernet()
        for left, right in pairwise(networks)
    )


@given(st.integers(0, 2**128 - 1), st.integers(0, 2**128 - 1))
def test_ipv6_range_is_bounded(one: int, other: int) -> None:
    first, last = (ipaddress.IPv6Address(value) for value in sorted((one, other)))
    try:
        networks = parse_prefixes(f"{first}-{last}")
    except ValueError:
        assert any(address.ipv4_mapped is not None for address in (first, last))
    else:
        assert len(networks) <= 254


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(24, 32)), max_size=12))
def test_overlap_is_found_exactly_when_there_is_one(blocks: list[tuple[int, int]]) -> None:
    networks = [ipaddress.ip_network((0xC6120000 + low, length), strict=False) for low, length in blocks]
    overlaps = {
        (left, right)
        for right in range(len(networks))
        for left in range(right)
        if networks[left].overlaps(networks[right])
    }
    found = find_overlap([Prefix(network, "p", str(index)) for index, network in enumerate(networks)])
    if found is None:
        assert not overlaps
    else:
        assert (int(found[0].path), int(found[1].path)) in overlaps


@given(
    st.lists(st.tuples(st.integers(0, 255), st.integers(24, 32)), max_size=8),
    st.lists(st.integers(0, 255), max_size=4),
    st.integers(0, 255),
)
def test_pool_contains_what_its_networks_contain(v4: list[tuple[int, int]], v6: list[int], low: int) -> None:
    networks: list[Network] = [
        *(ipaddress.IPv4Network((0xC6120000 + base, length), strict=False) for base, length in v4),
        *(ipaddress.IPv6Network((0xC6120000 + base, 128)) for base in v6),
    ]
    pool = Pool("p", "layer2", tuple(networks))
    for address in (ipaddress.IPv4Address(0xC6120000 + low), ipaddress.IPv6Address(0xC6120000 + low)):
        assert pool.contains(address) is any(n.version == address.version and address in n for n in networks)


def test_families_never_overlap() -> None:
    prefixes = [Prefix(ipaddress.ip_network(text), "p", text) for text in ("0.0.0.0/0", "::/0")]
    assert find_overlap(prefixes) is None
    with pytest.raises(ConfigError, match="overlaps"):
        parse_config("address-pools: [{name: a, protocol: layer2, addresses: ['::/0', '2001:2::/64']}]")
