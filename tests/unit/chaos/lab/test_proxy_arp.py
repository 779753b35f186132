"""What a switch that suppresses ARP, and a host that answers everything, make of a frame."""

from __future__ import annotations

import struct

from chaos.lab.proxy_arp import Arp, Cache, parse

ASKER, OWNER, SWITCH = (bytes([2, 0, 0, 0, 0, i]) for i in (1, 2, 9))
ASKER_IP, VIP = bytes([198, 18, 0, 2]), bytes([198, 18, 1, 0])
EVERYBODY = b"\xff" * 6
ARP = struct.Struct("!6s6sHHHBBH6s4s6s4s")


def frame(
    operation: int, mac: bytes, sender: bytes, target: bytes, *, to: bytes = EVERYBODY, head: int = 0x0806
) -> bytes:
    return ARP.pack(to, mac, head, 1, 0x0800, 6, 4, operation, mac, sender, bytes(6), target)


def arp(operation: int, mac: bytes, sender: bytes, target: bytes, *, to: bytes = EVERYBODY) -> Arp:
    found = parse(frame(operation, mac, sender, target, to=to))
    assert found is not None
    return found


def test_what_is_no_arp_packet_is_nothing() -> None:
    assert parse(frame(1, ASKER, ASKER_IP, VIP)[:-1]) is None
    assert parse(frame(1, ASKER, ASKER_IP, VIP, head=0x0800)) is None
    assert parse(frame(1, ASKER, ASKER_IP, VIP) + bytes(18)) is not None


def test_only_broadcast_requests_for_another_ask() -> None:
    assert arp(1, ASKER, ASKER_IP, VIP).asks
    assert arp(1, ASKER, bytes(4), VIP).asks
    assert not arp(1, ASKER, ASKER_IP, VIP, to=OWNER).asks
    assert not arp(1, OWNER, VIP, VIP).asks
    assert not arp(2, OWNER, VIP, ASKER_IP).asks


def test_a_known_address_is_answered_and_an_unknown_one_flooded() -> None:
    cache = Cache(10.0)
    question = arp(1, ASKER, ASKER_IP, VIP)
    assert cache.treat(question, SWITCH, 0.0) is None
    cache.learn(arp(1, OWNER, VIP, VIP), 0.0)
    answer = cache.treat(question, SWITCH, 9.9)
    assert answer is not None
    assert parse(answer) == Arp(ASKER, SWITCH, 2, OWNER, VIP, ASKER, ASKER_IP)
    assert cache.treat(question, SWITCH, 10.0) is None


def test_entries_follow_the_last_frame_and_begin_to_age_with_it() -> None:
    cache = Cache(10.0)
    cache.learn(arp(1, OWNER, VIP, VIP), 0.0)
    cache.learn(arp(2, ASKER, VIP, ASKER_IP, to=OWNER), 8.0)
    assert cache.find(VIP, 15.0) == ASKER
    cache.learn(arp(1, OWNER, bytes(4), VIP), 9.0)
    assert cache.find(bytes(4), 9.0) is None


def test_whoever_has_the_address_itself_and_announcements_are_flooded() -> None:
    cache = Cache(10.0)
    cache.learn(arp(1, OWNER, VIP, VIP), 0.0)
    assert cache.treat(arp(1, OWNER, bytes(4), VIP), SWITCH, 1.0) is None
    assert cache.treat(arp(1, ASKER, VIP, VIP), SWITCH, 1.0) is None
    assert cache.treat(arp(1, ASKER, ASKER_IP, VIP, to=OWNER), SWITCH, 1.0) is None
