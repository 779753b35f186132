"""The answering rules frame by frame, with scapy as the judge of bytes."""

import pytest
from scapy.layers.l2 import ARP, Ether

from announcer.layer2 import arp
from announcer.layer2.arp import ArpFrame, DropReason

MAC = bytes.fromhex("020000000001")
ASKER = bytes.fromhex("0200000000aa")
VIP = bytes([198, 18, 1, 0])
ASKER_IP = bytes([198, 18, 0, 2])
ANNOUNCED = {VIP: None}


def request(**changes: bytes | int) -> bytes:
    fields: dict[str, bytes | int] = {
        "destination": arp.BROADCAST,
        "source": ASKER,
        "operation": arp.REQUEST,
        "sender_mac": ASKER,
        "sender_ip": ASKER_IP,
        "target_mac": bytes(6),
        "target_ip": VIP,
    }
    return ArpFrame(**(fields | changes)).encode()  # type: ignore[arg-type]


def padded(frame: Ether) -> bytes:
    """What scapy builds, at the length that an Ethernet sender gives it."""
    return bytes(frame).ljust(arp.MINIMUM_FRAME, b"\0")


def verdict(frame: bytes) -> bytes | DropReason:
    return arp.answer(frame, MAC, ANNOUNCED)


def answer(frame: bytes) -> ArpFrame:
    reply = verdict(frame)
    assert isinstance(reply, bytes)
    parsed = arp.parse(reply)
    assert isinstance(parsed, ArpFrame)
    return parsed


def test_request_is_what_scapy_builds() -> None:
    theirs = Ether(dst="ff:ff:ff:ff:ff:ff", src="02:00:00:00:00:aa") / ARP(
        op="who-has", hwsrc="02:00:00:00:00:aa", psrc="198.18.0.2", pdst="198.18.1.0"
    )
    assert request() == padded(theirs)


@pytest.mark.parametrize("destination", [arp.BROADCAST, MAC])
@pytest.mark.parametrize("sender", ["198.18.0.2", "0.0.0.0"])
def test_reply_is_what_scapy_builds(destination: bytes, sender: str) -> None:
    sender_ip = bytes(map(int, sender.split(".")))
    answered = verdict(request(destination=destination, sender_ip=sender_ip))
    theirs = Ether(dst="02:00:00:00:00:aa", src="02:00:00:00:00:01") / ARP(
        op="is-at", hwsrc="02:00:00:00:00:01", psrc="198.18.1.0", hwdst="02:00:00:00:00:aa", pdst=sender
    )
    assert answered == padded(theirs)


def test_reply_goes_to_the_sender_named_by_arp_not_by_ethernet() -> None:
    proxy = bytes.fromhex("0200000000bb")
    assert answer(request(source=proxy)).destination == ASKER


def test_gratuitous_request_of_another_is_answered() -> None:
    assert answer(request(sender_ip=VIP)).target_ip == VIP


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        pytest.param(request(operation=arp.REPLY), DropReason.NOT_REQUEST, id="reply"),
        pytest.param(request(operation=3), DropReason.NOT_REQUEST, id="reverse ARP"),
        pytest.param(request(destination=ASKER), DropReason.ETHERNET_DESTINATION, id="to another MAC"),
        pytest.param(
            request(destination=bytes.fromhex("01005e000001")),
            DropReason.ETHERNET_DESTINATION,
            id="multicast",
        ),
        pytest.param(request(target_ip=ASKER_IP), DropReason.NOT_ANNOUNCED, id="another address"),
        pytest.param(request()[:41], DropReason.TRUNCATED, id="one byte short"),
        pytest.param(b"", DropReason.TRUNCATED, id="empty"),
        pytest.param(request()[:12] + b"\x08\x00" + request()[14:], DropReason.MALFORMED, id="IPv4"),
        pytest.param(request()[:14] + b"\x00\x06" + request()[16:], DropReason.MALFORMED, id="hardware type"),
        pytest.param(request()[:16] + b"\x86\xdd" + request()[18:], DropReason.MALFORMED, id="protocol type"),
        pytest.param(request()[:18] + b"\x08" + request()[19:], DropReason.MALFORMED, id="hardware length"),
        pytest.param(request()[:19] + b"\x10" + request()[20:], DropReason.MALFORMED, id="protocol length"),
        pytest.param(request(sender_mac=arp.BROADCAST), DropReason.MALFORMED, id="sender is a group"),
        pytest.param(
            request()[:12] + bytes.fromhex("81000064") + request()[12:], DropReason.VLAN_TAGGED, id="802.1Q"
        ),
        pytest.param(
            request()[:12] + bytes.fromhex("88a80064") + request()[12:], DropReason.VLAN_TAGGED, id="802.1ad"
        ),
        pytest.param(request(source=MAC, sender_mac=MAC), DropReason.OWN_FRAME, id="reflected"),
    ],
)
def test_not_answered(frame: bytes, reason: DropReason) -> None:
    assert verdict(frame) is reason


def test_unpadded_and_longer_frames_are_read_alike() -> None:
    assert verdict(request()[:42]) == verdict(request()) == verdict(request() + b"trailer")


@pytest.mark.parametrize(("operation", "name"), [(arp.REQUEST, "who-has"), (arp.REPLY, "is-at")])
def test_gratuitous_frames_are_what_scapy_builds(operation: int, name: str) -> None:
    theirs = Ether(dst="ff:ff:ff:ff:ff:ff", src="02:00:00:00:00:01") / ARP(
        op=name,
        hwsrc="02:00:00:00:00:01",
        psrc="198.18.1.0",
        hwdst="ff:ff:ff:ff:ff:ff",
        pdst="198.18.1.0",
    )
    assert arp.gratuitous(operation, mac=MAC, address=VIP).encode() == padded(theirs)
