"""What accepted configurations mean."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest

from cluster.config.configmap import config_of, parse_config
from cluster.config.model import BgpAdvertisement, Config, LabelRequirement, NodeSelector, Peer, is_buggy
from cluster.objects import ConfigMap

FULL = """
peers:
- my-asn: 64512
  peer-asn: 4200000000
  peer-address: 2001:2::1
  peer-port: 1179
  hold-time: 1m30.9s
  router-id: 198.18.0.9
  password: 0123
  node-selectors:
  - match-labels: {rack: "7"}
    match-expressions:
    - {key: kubernetes.io/hostname, operator: NotIn, values: [n1, n2]}
  - match-expressions: [{key: gpu, operator: Exists}]
- {my-asn: 1, peer-asn: 1, peer-address: 198.18.0.1}
bgp-communities:
  no-export: 65535:65281
address-pools:
- name: default
  protocol: layer2
  addresses:
  - 198.18.1.240 - 198.18.1.250
  - 198.18.2.9/24
- name: routed
  protocol: bgp
  avoid-buggy-ips: yes
  auto-assign: off
  addresses: ["198.18.3.0/24"]
  bgp-advertisements:
  - {}
  - aggregation-length: 24
    localpref: 100
    communities: [no-export, 64512:10]
"""


def test_whole_schema() -> None:
    config = parse_config(FULL)
    default, routed = config.pools
    assert default.networks == tuple(
        ip_network(text)
        for text in ("198.18.1.240/29", "198.18.1.248/31", "198.18.1.250/32", "198.18.2.0/24")
    )
    assert (default.protocol, default.auto_assign, default.avoid_buggy_ips) == ("layer2", True, False)
    assert default.bgp_advertisements == ()
    assert (routed.protocol, routed.auto_assign, routed.avoid_buggy_ips) == ("bgp", False, True)
    assert routed.bgp_advertisements == (
        BgpAdvertisement(),
        BgpAdvertisement(24, 100, frozenset({65535 << 16 | 65281, 64512 << 16 | 10})),
    )
    assert dict(config.communities) == {"no-export": 0xFFFFFF01}
    assert config.peers[1] == Peer(1, 1, IPv4Address("198.18.0.1"))
    assert config.peers[0] == Peer(
        my_asn=64512,
        peer_asn=4200000000,
        peer_address=IPv6Address("2001:2::1"),
        peer_port=1179,
        hold_time_s=90,
        router_id=IPv4Address("198.18.0.9"),
        password="0123",
        node_selectors=(
            NodeSelector(
                (("rack", "7"),),
                (LabelRequirement("kubernetes.io/hostname", "NotIn", frozenset({"n1", "n2"})),),
            ),
            NodeSelector((), (LabelRequirement("gpu", "Exists"),)),
        ),
    )


@pytest.mark.parametrize(
    ("given", "priority"), [("", 0), ("0", 0), ("20", 20), ("-3", -3), ("2147483647", 2**31 - 1)]
)
def test_priority_of_a_pool(given: str, priority: int) -> None:
    config = parse_config(
        f"address-pools: [{{name: a, protocol: layer2, addresses: [198.18.1.0/24], priority: {given}}}]"
    )
    assert config.pools[0].priority == priority


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n", "{}", "address-pools:\npeers:\n", "~"])
def test_empty_is_valid(text: str) -> None:
    assert parse_config(text) == Config()


def test_absent_key_is_the_empty_configuration() -> None:
    assert config_of(ConfigMap()) == Config()
    assert config_of(ConfigMap(data={"other": "{"})) == Config()
    assert config_of(ConfigMap(data={"config": FULL})) == parse_config(FULL)


def test_scalars_keep_their_spelling() -> None:
    config = parse_config("address-pools: [{name: 010, protocol: layer2, addresses: [198.18.1.0/24]}]")
    assert config.pools[0].name == "010"
    assert parse_config("bgp-communities: {yes: 64512:10, 1: '1:1'}").communities == {
        "yes": 64512 << 16 | 10,
        "1": 1 << 16 | 1,
    }


def test_aliases_and_merge_keys() -> None:
    config = parse_config(
        """
address-pools:
- &base
  name: a
  protocol: layer2
  auto-assign: false
  addresses: &list [198.18.1.0/24]
- <<: *base
  name: b
  addresses: [198.18.2.0/24]
- <<: [{name: x, protocol: bgp}, *base]
  addresses: [198.18.3.0/24]
"""
    )
    assert [(pool.name, pool.protocol, pool.auto_assign) for pool in config.pools] == [
        ("a", "layer2", False),
        ("b", "layer2", False),
        ("x", "bgp", False),
    ]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("0s", 0), ("900ms", 0), ("3s", 3), ("3.999s", 3), ("1m30s", 90), (".5h", 1800), ("65535s", 65535), ("4000000us", 4)],
)  # fmt: skip
def test_hold_time(text: str, seconds: int) -> None:
    config = parse_config(f"peers: [{{my-asn: 1, peer-asn: 2, peer-address: 198.18.0.1, hold-time: {text}}}]")
    assert config.peers[0].hold_time_s == seconds


@pytest.mark.parametrize(("port", "expected"), [("0", 179), ("", 179), ("1", 1), ("65535", 65535)])
def test_port_zero_means_the_default(port: str, expected: int) -> None:
    config = parse_config(f"peers: [{{my-asn: 1, peer-asn: 2, peer-address: 198.18.0.1, peer-port: {port}}}]")
    assert config.peers[0].peer_port == expected


@pytest.mark.parametrize(
    ("labels", "selected"),
    [
        ({"rack": "7"}, True),
        ({"rack": "7", "kubernetes.io/hostname": "n3"}, True),
        ({"rack": "7", "kubernetes.io/hostname": "n1"}, False),
        ({"rack": "8"}, False),
        ({"rack": "8", "gpu": ""}, True),
        ({}, False),
    ],
)
def test_node_selectors(labels: dict[str, str], selected: bool) -> None:
    peers = parse_config(FULL).peers
    assert peers[0].selects(labels) is selected
    assert peers[1].selects(labels) is True


def test_requirements() -> None:
    assert LabelRequirement("a", "In", frozenset({"x"})).matches({"a": "x"})
    assert not LabelRequirement("a", "In", frozenset({"x"})).matches({})
    assert LabelRequirement("a", "DoesNotExist").matches({"b": "x"})
    assert not LabelRequirement("a", "DoesNotExist").matches({"a": "x"})


def test_pool_lookup_and_buggy_addresses() -> None:
    config = parse_config(FULL)
    routed = config.pool("routed")
    assert routed is not None
    assert config.pool_of(ip_address("198.18.3.0")) is routed
    assert config.pool_of(ip_address("198.18.4.0")) is None
    assert config.pool("absent") is None
    assert routed.contains(ip_address("198.18.3.255"))
    assert not routed.allows(ip_address("198.18.3.255"))
    assert not routed.allows(ip_address("198.18.3.0"))
    assert routed.allows(ip_address("198.18.3.1"))
    assert config.pools[0].allows(ip_address("198.18.2.0"))
    assert not is_buggy(ip_address("2001:2::ff"))
    assert not config.pools[0].contains(ip_address("2001:2::1"))


def test_passwords_stay_out_of_texts() -> None:
    assert "0123" not in repr(parse_config(FULL))
