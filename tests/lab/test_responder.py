"""The real responder process on real interfaces, asked from the other end of a wire."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from scapy.layers.l2 import ARP, Ether

from tests.lab import responder_hosts
from tests.lab.responder_hosts import CLIENT_IP, CLIENT_MAC, HOST_MAC, VIP


def play(scenario: str) -> dict[str, Any]:
    # Its own process namespace, so that nothing outlives it.
    namespace = ["--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        namespace = ["--user", "--map-root-user", *namespace]
    done = subprocess.run(
        ["unshare", *namespace, sys.executable, responder_hosts.__file__, scenario],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, (
        f"{scenario}: {done.stdout}{done.stderr}\nneeds: apt-get install iproute2 util-linux"
    )
    facts = json.loads(done.stdout)
    assert isinstance(facts, dict)
    return facts


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    return play("answers")


@pytest.mark.parametrize(
    ("name", "sender"), [("broadcast", CLIENT_IP), ("unicast", CLIENT_IP), ("probe", "0.0.0.0")]
)
def test_reply_is_byte_for_byte_what_scapy_builds(answers: dict[str, Any], name: str, sender: str) -> None:
    theirs = Ether(dst=CLIENT_MAC, src=HOST_MAC) / ARP(
        op="is-at", hwsrc=HOST_MAC, psrc=VIP, hwdst=CLIENT_MAC, pdst=sender
    )
    # scapy builds 42 bytes; Ethernet asks for 60.
    assert answers["replies"][name] == bytes(theirs).ljust(60, b"\0").hex()


@pytest.mark.parametrize("name", ["other address", "reply", "other destination", "tagged", "truncated"])
def test_not_answered(answers: dict[str, Any], name: str) -> None:
    assert answers["replies"][name] is None


def test_each_frame_is_counted_where_it_belongs(answers: dict[str, Any]) -> None:
    received, sent, gratuitous = answers["counted"]
    assert received == sent >= 4
    assert gratuitous >= 2
    drops = answers["drops"]
    assert drops["ethernetDestination"] == 1
    assert drops["truncated"] == 1
    assert drops["vlanTagged"] == 1
    # The client's kernel may ask for something of its own.
    assert drops["notAnnounced"] >= 1
    assert drops["notRequest"] == 1
    assert drops["malformed"] == drops["error"] == drops["closed"] == 0


def test_keeps_one_capability_and_little_memory(answers: dict[str, Any]) -> None:
    status = answers["status"]
    cap_net_raw = 1 << 13
    assert {int(status[name], 16) for name in ("CapPrm", "CapEff")} == {cap_net_raw}
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert int(status["VmRSS"].split()[0]) < 16 * 1024


def test_tells_its_interfaces(answers: dict[str, Any]) -> None:
    assert answers["interfaces"] == [["eth0", HOST_MAC]]


def test_kernel_of_the_client_finds_and_follows_the_address() -> None:
    facts = play("resolution")
    assert HOST_MAC in facts["asked"]
    assert HOST_MAC in facts["moved"]


def test_dies_with_the_speaker() -> None:
    assert play("parent_killed") == {"before": [True, True], "after": False}


def test_falls_silent_when_the_speaker_stands_still() -> None:
    facts = play("parent_stopped")
    assert facts["count"] > 0
    # The lease runs from a renewal at most 0.25 s before the stop; the rest is the machine's.
    assert 1.0 < facts["silent_after"] < 1.8
    assert 1.0 < facts["told_after"] < 1.8
    assert facts["expired"] == 1
    assert not any(facts["after_return"]), "an expired lease is not renewed"


def test_drops_what_queued_up_while_it_stood_still() -> None:
    facts = play("responder_stopped")
    assert facts["answers"] == 0
    assert facts["stalled"] > 0.25
    assert facts["drops"] >= 20
    assert facts["expired"] == 0, "its speaker renewed the lease meanwhile"


def test_follows_the_links() -> None:
    facts = play("links")
    assert facts["reply"][12:24] == "02000000000b"
    assert facts["failures"] == []


def test_lists_the_links_again_when_notices_were_lost() -> None:
    facts = play("lost_notices")
    assert facts["dropped"] > 0, "the scenario lost none"
    assert facts["failures"] == []


def test_notices_a_default_route_that_comes_later() -> None:
    assert play("gateway") == {"before": False}


def test_only_default_routes_wake_it() -> None:
    assert play("routes") == {
        "others": False,
        "default": True,
        "others go": False,
        "default goes": True,
        "address": True,
        "error": None,
    }


def test_speaker_hears_of_the_end_of_its_responder() -> None:
    facts = play("responder_killed")
    assert facts == {
        "code": 0,
        "last": ["Exited", "the responder process was killed by signal 9"],
        "left": False,
    }


def test_ten_thousand_addresses() -> None:
    facts = play("many")
    assert facts["during"] > 0
    assert facts["seconds"] < 20
    assert all(facts["sample"])
    assert len(facts["sample"]) > 10
    assert facts["rss_kib"] < 40 * 1024


def test_says_which_capability_is_missing() -> None:
    facts = play("not_permitted")
    assert facts["code"] == 1
    assert facts["errors"].splitlines() == [
        "error: opening a raw packet socket is not permitted: the speaker needs the capability CAP_NET_RAW"
    ]
