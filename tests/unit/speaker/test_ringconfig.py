"""MetalLB's file of ring settings."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from gossip.config import SwimConfig
from gossip.errors import ConfigError
from gossip.fastconfig import FastLaneConfig
from speaker.options import RingOptions
from speaker.ring import RingKeeper
from speaker.ringconfig import swim_config
from speaker.roster import Peers

EVERY_KEY = {
    "TCPTimeout": "9s",
    "IndirectChecks": 2,
    "RetransmitMult": 5,
    "SuspicionMult": 3,
    "SuspicionMaxTimeoutMult": 7,
    "PushPullInterval": "1m30s",
    "ProbeTimeout": "250ms",
    "ProbeInterval": "1.5s",
    "DisableTcpPings": True,
    "AwarenessMaxMultiplier": 6,
    "GossipNodes": 4,
    "GossipInterval": "100ms",
    "GossipToTheDeadTime": "20s",
    "GossipVerifyIncoming": False,
    "GossipVerifyOutgoing": False,
    "EnableCompression": True,
    "HandoffQueueDepth": 1024,
    "UDPBufferSize": 1300,
    "QueueCheckInterval": "30s",
}


def options(path: Path, *, wanted: bool = True, wan: bool = False, fast: bool = False) -> RingOptions:
    return RingOptions(
        bind_address="127.0.0.1",
        labels="a=b",
        namespace="x",
        config_path=str(path),
        config_wanted=wanted,
        wan=wan,
        fast_lane=FastLaneConfig() if fast else None,
    )


def test_every_key_counts(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(EVERY_KEY))
    assert swim_config(options(file, wan=True)) == SwimConfig(
        tcp_timeout_s=9.0,
        indirect_checks=2,
        retransmit_mult=5,
        suspicion_mult=3,
        suspicion_max_timeout_mult=7,
        push_pull_interval_s=90.0,
        probe_timeout_s=0.25,
        probe_interval_s=1.5,
        disable_tcp_pings=True,
        awareness_max_multiplier=6,
        gossip_nodes=4,
        gossip_interval_s=0.1,
        gossip_to_the_dead_time_s=20.0,
        gossip_verify_incoming=False,
        gossip_verify_outgoing=False,
        enable_compression=True,
        udp_buffer_size=1300,
    )


def test_what_is_left_out_keeps_the_default_of_a_lan(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"ProbeInterval": "2s", "SuspicionMult": null}')
    assert swim_config(options(file, wan=True)) == SwimConfig(probe_interval_s=2.0)


def test_without_the_file_the_profile_counts(tmp_path: Path) -> None:
    absent = tmp_path / "nothing.json"
    assert swim_config(options(absent, wanted=False)) == SwimConfig.lan()
    assert swim_config(options(absent, wanted=False, wan=True)) == SwimConfig.wan()
    with pytest.raises(ConfigError, match=r"nothing\.json: cannot be read \(No such file or directory\)"):
        swim_config(options(absent))


def test_the_fast_lane_goes_with_file_and_profile(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    assert swim_config(options(file, wanted=False, fast=True)) == SwimConfig(fast_lane=FastLaneConfig())
    file.write_text('{"ProbeInterval": "2s"}')
    expected = SwimConfig(probe_interval_s=2.0, fast_lane=FastLaneConfig())
    assert swim_config(options(file, fast=True)) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "truncated"),
        ("[]", "Expected `object`"),
        ('{"ProbeIntervall": "1s"}', "unknown field `ProbeIntervall`"),
        ('{"ProbeInterval": 1}', "$.ProbeInterval"),
        ('{"ProbeInterval": "1 second"}', "ProbeInterval: '1 second' is no duration; write 500ms"),
        ('{"QueueCheckInterval": "soon"}', "QueueCheckInterval: 'soon' is no duration"),
        ('{"SuspicionMult": 0}', "SuspicionMult: is 0; 1 to 100 is allowed"),
        ('{"SuspicionMult": "4"}', "$.SuspicionMult"),
        ('{"GossipVerifyIncoming": 1}', "$.GossipVerifyIncoming"),
        ('{"ProbeTimeout": "1s"}', "ProbeTimeout: is 1.0; less than ProbeInterval (1.0) is allowed"),
        ('{"UDPBufferSize": 100}', "UDPBufferSize: is 100; 512 to 65000 is allowed"),
        (" " * 70_000, "larger than 65536 bytes"),
    ],
)
def test_a_mistake_is_one_line_that_names_file_and_field(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        swim_config(options(file))
    assert said in str(refused.value)
    assert str(refused.value).startswith(str(file))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "secret", "encrypted"),
    [
        ("{}", b"abc", True),
        ('{"GossipVerifyOutgoing": false}', b"abc", False),
        ('{"GossipVerifyIncoming": false}', b"abc", False),
        ("{}", None, False),
    ],
)
def test_a_ring_counts_as_encrypted_when_no_plain_text_passes(
    tmp_path: Path, text: str, secret: bytes | None, encrypted: bool
) -> None:
    file = tmp_path / "config.json"
    file.write_text(text)
    keeper = RingKeeper(
        node="n1",
        version="0",
        options=replace(options(file), secret=secret),
        peers=Peers(own_address="127.0.0.1"),
        rng=random.Random(1),
        on_event=lambda _: None,
        on_joined=lambda: None,
        on_keys=lambda _: None,
        others=lambda: False,
    )
    assert keeper.encrypted is encrypted
