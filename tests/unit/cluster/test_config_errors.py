"""Every refused configuration says where, in MetalLB's words where it has them, and what is allowed."""

from __future__ import annotations

import time

import pytest

from cluster.config.configmap import MAX_PREFIXES, parse_config
from cluster.config.document import MAX_KEY, MAX_NODES, MAX_TEXT_BYTES
from cluster.errors import ConfigError

PEER = "peers:\n- {my-asn: 64512, peer-asn: 64513, peer-address: 198.18.0.1, %s}\n"
POOL = "address-pools:\n- {name: a, protocol: layer2, addresses: [198.18.1.0/24], %s}\n"
BGP_POOL = "address-pools:\n- {name: a, protocol: bgp, addresses: [198.18.1.0/24], %s}\n"
ADDRESSES = "address-pools:\n- {name: a, protocol: layer2, addresses: [%s]}\n"
TWO_POOLS = """
address-pools:
- {name: a, protocol: layer2, addresses: [%s]}
- {name: %s, protocol: layer2, addresses: [%s]}
"""

# text of the file, words of MetalLB (table of its v0.9.3 errors), path, what is allowed
CASES = [
    ("{", "could not parse config", "line 2", "not YAML"),
    ("a: b: c", "could not parse config", "line 1", "mapping values are not allowed"),
    ("adress-pools: []", "could not parse config", "adress-pools: unknown field", "address-pools"),
    ("address-pools: []\naddress-pools: []", "could not parse config", "line 2: address-pools", "duplicate key"),
    ("address-pools: [{name: a, name: b}]", "could not parse config", "address-pools[0].name", "duplicate key"),
    (POOL % "adresses: []", "could not parse config", "address-pools[0].adresses: unknown", "allowed are name, protocol"),
    (PEER % "port: 1", "could not parse config", "peers[0].port: unknown field", "peer-port"),
    ("address-pools: 3", "could not parse config", "address-pools", "must be a list"),
    ("address-pools: [a]", "could not parse config", "address-pools[0]", "must be a mapping"),
    ("- a", "could not parse config", "the document", "must be a mapping"),
    (POOL % "auto-assign: maybe", "could not parse config", "address-pools[0].auto-assign", "true or false"),
    (POOL % 'auto-assign: "true"', "could not parse config", "address-pools[0].auto-assign", "true or false"),
    (POOL % "priority: first", "could not parse config", "address-pools[0].priority", "whole number"),
    (POOL % "priority: 2147483648", "could not parse config", "address-pools[0].priority", "-2147483648 to 2147483647"),
    (PEER % "peer-port: 70000", "could not parse config", "peers[0].peer-port", "0 to 65535"),
    (PEER % "peer-port: http", "could not parse config", "peers[0].peer-port", "whole number"),
    (PEER % "password: [a]", "could not parse config", "peers[0].password", "single value"),
    ("peers: [{my-asn: 99999999999}]", "could not parse config", "peers[0].my-asn", "4294967295"),
    ("a: *nowhere", "could not parse config", "line 1", "no anchor"),
    ("a: !python/object:os.system x", "could not parse config", "line 1: tag", "not allowed"),
    ("a: 1\n---\nb: 2", "could not parse config", "line 2", "must hold one"),
    ("peers: [{}]", "parsing peer #1", "peers[0].my-asn: missing local ASN", "1 to 4294967295"),
    ("peers: [{my-asn: 1}]", "parsing peer #1", "peers[0].peer-asn: missing peer ASN", "1 to 4294967295"),
    (
        "peers:\n- {my-asn: 1, peer-asn: 2, peer-address: 198.18.0.1}\n- {my-asn: 1, peer-asn: 2, peer-address: router}",
        "parsing peer #2",
        'peers[1].peer-address: invalid peer IP "router"',
        "must be an IPv4 or IPv6 address",
    ),
    (PEER % "hold-time: soon", "invalid hold time", "peers[0].hold-time", "0 or 3 to 65535 seconds"),
    (PEER % "hold-time: 90", "invalid hold time", "peers[0].hold-time", "such as 90s"),
    (PEER % "hold-time: 1s", "invalid hold time", "peers[0].hold-time", "3 to 65535"),
    (PEER % "hold-time: 2.9s", "invalid hold time", "peers[0].hold-time", "3 to 65535"),
    (PEER % "hold-time: -90s", "invalid hold time", "peers[0].hold-time", "3 to 65535"),
    (PEER % "hold-time: 20h", "invalid hold time", "peers[0].hold-time", "3 to 65535"),
    (PEER % "router-id: r1", "invalid router ID", "peers[0].router-id", "must be an IPv4 address"),
    (PEER % "router-id: 2001:2::1", "invalid router ID", "peers[0].router-id", "must be an IPv4 address"),
    (
        PEER % "node-selectors: [{match-expressions: [{operator: In, values: [a]}]}]",
        "parsing node selector",
        "peers[0].node-selectors[0].match-expressions[0].key",
        "label name",
    ),
    (
        PEER % "node-selectors: [{match-expressions: [{key: a, values: [a]}]}]",
        "parsing node selector",
        "match-expressions[0].operator",
        "In, NotIn, Exists or DoesNotExist",
    ),
    (
        PEER % "node-selectors: [{match-expressions: [{key: a, operator: Like, values: [a]}]}]",
        "parsing node selector",
        'operator: parsing node selector: "Like"',
        "In, NotIn, Exists or DoesNotExist",
    ),
    (
        PEER % "node-selectors: [{match-expressions: [{key: a, operator: In}]}]",
        "parsing node selector",
        "match-expressions[0].values",
        "at least one value",
    ),
    (
        PEER % "node-selectors: [{match-expressions: [{key: a, operator: Exists, values: [b]}]}]",
        "parsing node selector",
        "match-expressions[0].values",
        "no values",
    ),
    (PEER % "node-selectors: [{match-labels: {-a: b}}]", "parsing node selector", "match-labels", "label name"),
    (PEER % "node-selectors: [{match-labels: {a: b c}}]", "parsing node selector", "match-labels", "label value"),
    (
        "bgp-communities: {no-export: 65535}",
        'parsing community "no-export"',
        'bgp-communities.no-export: parsing community "no-export": invalid community string "65535"',
        "two numbers such as",
    ),
    ("bgp-communities: {c: x:1}", "invalid first section", "bgp-communities.c", "0 to 65535"),
    ("bgp-communities: {c: 1:65536}", 'invalid second section "65536"', "bgp-communities.c", "0 to 65535"),
    (
        BGP_POOL % "bgp-advertisements: [{communities: [unheard]}]",
        'invalid community "unheard" in BGP advertisement',
        "address-pools[0].bgp-advertisements[0].communities[0]",
        "a name in bgp-communities",
    ),
    ("address-pools: [{addresses: [198.18.1.0/24]}]", "parsing address pool #1", "missing pool name", "non-empty"),
    ("address-pools: [{name: a, protocol: layer2}]", "pool has no prefixes defined", "[0].addresses", "at least one"),
    (ADDRESSES % "", "pool has no prefixes defined", "address-pools[0].addresses", "at least one CIDR or range"),
    (ADDRESSES % "198.18.1.0/33", 'invalid CIDR "198.18.1.0/33" in pool "a"', "[0].addresses[0]", "192.168.1.0/24"),
    (ADDRESSES % "198.18.1.0/24, nine", 'invalid CIDR "nine"', "address-pools[0].addresses[1]", "or a range such as"),
    (ADDRESSES % "198.18.1.7", "invalid CIDR", "address-pools[0].addresses[0]", "must be a CIDR"),
    (ADDRESSES % "198.18.1.0/255.255.255.0", "invalid CIDR", "address-pools[0].addresses[0]", "must be a CIDR"),
    (ADDRESSES % "198.18.1.1-", "invalid CIDR", "address-pools[0].addresses[0]", "a range such as"),
    (ADDRESSES % "198.18.1.1-198.18.1.2-198.18.1.3", "invalid CIDR", "addresses[0]", "a range such as"),
    (ADDRESSES % '"fe80::1%eth0/64"', "invalid CIDR", "address-pools[0].addresses[0]", "must be a CIDR"),
    (ADDRESSES % '"::ffff:198.18.0.1/128"', "invalid CIDR", "address-pools[0].addresses[0]", "must be a CIDR"),
    # MetalLB accepts these two in silence and gives the pool no addresses.
    (ADDRESSES % "198.18.1.9-198.18.1.1", "invalid CIDR", "addresses[0]", "first address of a range must not be above"),
    (ADDRESSES % "'198.18.1.9-2001:2::1'", "invalid CIDR", "addresses[0]", "same address family"),
    (
        "address-pools: [{name: a, addresses: [198.18.1.0/24]}]",
        "missing the protocol field",
        "address-pools[0].protocol",
        "must be layer2 or bgp",
    ),
    (
        "address-pools: [{name: a, protocol: babel, addresses: [198.18.1.0/24]}]",
        'unknown protocol "babel"',
        "address-pools[0].protocol",
        "must be layer2 or bgp",
    ),
    (
        POOL % "bgp-advertisements: [{localpref: 100}]",
        "cannot have bgp-advertisements configuration element in a layer2 address pool",
        "address-pools[0].bgp-advertisements",
        "protocol must be bgp",
    ),
    (
        BGP_POOL % "bgp-advertisements: [{aggregation-length: 33}]",
        "invalid aggregation length 33",
        "address-pools[0].bgp-advertisements[0].aggregation-length",
        "must be 0 to 32",
    ),
    (
        BGP_POOL % "bgp-advertisements: [{}, {aggregation-length: 23}]",
        "prefix 198.18.1.0/24 in this pool is more specific than the aggregation length",
        "address-pools[0].bgp-advertisements[1].aggregation-length",
        "at least the length of every prefix",
    ),
    (
        "address-pools: [{name: a, protocol: bgp, addresses: [198.18.1.0-198.18.1.6], bgp-advertisements: [{aggregation-length: 30}]}]",
        "more specific than the aggregation length",
        "address-pools[0].bgp-advertisements[0]",
        "prefix 198.18.1.4/31",
    ),
    (
        TWO_POOLS % ("198.18.1.0/24", "a", "198.18.2.0/24"),
        'duplicate definition of pool "a"',
        "address-pools[1].name",
        "must be unique",
    ),
    (
        TWO_POOLS % ("198.18.1.0/24", "b", "198.18.0.0/16"),
        'CIDR "198.18.0.0/16" in pool "b" overlaps with already defined CIDR "198.18.1.0/24"',
        "address-pools[1].addresses[0]",
        "must not share addresses",
    ),
    (
        ADDRESSES % "198.18.1.0/25, 198.18.2.0/24, 198.18.1.100-198.18.1.200",
        'overlaps with already defined CIDR "198.18.1.0/25" (address-pools[0].addresses[0])',
        "address-pools[0].addresses[2]",
        "must not share addresses",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words", "path", "allowed"), CASES, ids=[case[1][:40] for case in CASES])
def test_refusal_names_field_and_allowed_values(text: str, words: str, path: str, allowed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    message = str(caught.value)
    for part in (words, path, allowed):
        assert part in message
    assert "\n" not in message
    assert message.isprintable()
    assert len(message) < 600


def test_missing_fields_are_reported_in_document_order() -> None:
    with pytest.raises(ConfigError, match="parsing address pool #2"):
        parse_config(ADDRESSES % "198.18.1.0/24" + "- {protocol: layer2}")


HOSTILE = {
    "deep flow": "[" * 500_000,
    "deep block": "- " * 300_000,
    "deep keys": "? " * 300_000,
    "wide": "- a\n" * 200_000,
    "alias of aliases": "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
    + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(12)),
    "merge of merges": "a: &a {x: 1}\n"
    + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} {{<<: [{', '.join(['*' + chr(97 + i)] * 10)}]}}\n" for i in range(12)
    ),
    "own alias": "a: &a [*a]",
    "long key": "? " + "k" * (MAX_KEY + 1) + "\n: 1",
    "large": "#" * (MAX_TEXT_BYTES + 1),
    "large in bytes": "#" + "é" * (MAX_TEXT_BYTES // 2),
    "surrogate": "a: \ud800",
    "null byte": "a: \x00",
    "list as key": "[a]: b",
    "merge of a list": "<<: [1]",
    "many ranges": ADDRESSES % ("'2001:2::1-2001:2:0:ffff:ffff:ffff:ffff:fffe'," * 200),
    "digits": "peers: [{my-asn: " + "9" * 100_000 + "}]",
    "long duration": PEER % ("hold-time: " + "9" * 100_000 + "s"),
    "long community": "bgp-communities: {a: " + "9" * 100_000 + ":1}",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_is_refused_at_small_cost(text: str) -> None:
    before = time.process_time()
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    assert time.process_time() - before < 10, "must not grow with what aliases multiply"
    assert len(str(caught.value)) < 1500


def test_bounds_leave_room_for_a_pool_of_single_addresses() -> None:
    entries = [f"198.18.{i // 256}.{i % 256}/32" for i in range(MAX_PREFIXES)]
    config = parse_config(ADDRESSES % ", ".join(entries))
    assert len(config.pools[0].networks) == MAX_PREFIXES < MAX_NODES
