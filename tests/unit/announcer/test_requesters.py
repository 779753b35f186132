"""Who asked for which address by broadcast is remembered, within bounds."""

import pytest

from announcer.layer2 import arp
from announcer.layer2.arp import REQUEST, ArpFrame
from announcer.layer2.requesters import KEPT_S, MAX_REQUESTERS, Requester, Requesters

VIP = bytes([198, 18, 1, 0])
HOST = bytes([198, 18, 0, 99])
MAC = bytes.fromhex("020000000099")


def request(target: bytes = VIP, sender: bytes = HOST, mac: bytes = MAC) -> ArpFrame:
    return ArpFrame(arp.BROADCAST, mac, REQUEST, mac, sender, bytes(6), target)


@pytest.fixture
def known() -> Requesters:
    made = Requesters()
    made.share(VIP)
    return made


def test_who_asked_is_remembered_for_a_while_with_the_latest_mac(known: Requesters) -> None:
    known.hear(2, request(mac=bytes.fromhex("0200000000bb")), 100.0)
    known.hear(2, request(), 110.0)
    assert known.of(2, VIP, 110.0) == [Requester(MAC, HOST)]
    assert known.of(3, VIP, 110.0) == []
    assert known.of(2, VIP, 110.0 + KEPT_S) == []


@pytest.mark.parametrize(
    "frame",
    [
        request(target=bytes([198, 18, 0, 50])),
        request(sender=arp.ANY),
        request(sender=VIP),
        request()._replace(destination=bytes.fromhex("020000000001")),
        request()._replace(operation=arp.REPLY),
        request(mac=bytes.fromhex("030000000001")),
    ],
    ids=["other address", "probe", "gratuitous", "unicast", "reply", "group MAC"],
)
def test_other_frames_are_not(known: Requesters, frame: ArpFrame) -> None:
    known.hear(2, frame, 100.0)
    assert known.of(2, VIP, 100.0) == []


def test_the_one_heard_of_longest_ago_makes_room(known: Requesters) -> None:
    for number in range(MAX_REQUESTERS):
        known.hear(2, request(sender=bytes([198, 18, 2, number])), 100.0)
    known.hear(2, request(sender=bytes([198, 18, 2, 0])), 101.0)
    known.hear(2, request(), 102.0)
    asked = {host.address for host in known.of(2, VIP, 102.0)}
    assert len(asked) == MAX_REQUESTERS
    assert bytes([198, 18, 2, 1]) not in asked
    assert {HOST, bytes([198, 18, 2, 0])} <= asked


def test_an_interface_that_is_gone_takes_its_hosts_along(known: Requesters) -> None:
    known.hear(2, request(), 100.0)
    known.stop_interface(2)
    assert known.of(2, VIP, 100.0) == []
