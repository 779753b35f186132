"""Whoever says by ARP that it has an address of ours, and is no member: told of, by its MAC."""

from ipaddress import IPv4Address

import pytest

from announcer.layer2 import arp, signed
from announcer.layer2.arp import ArpFrame
from announcer.layer2.claims import State
from announcer.layer2.messages import Add, ClaimChanged, ForeignAnswer, Introduce, Renew
from announcer.layer2.neighbours import Neighbours
from announcer.layer2.responder import ALARM_S, MAX_ALARMED, SETTLE_S
from announcer.layer2.signed import Kind, Signer
from tests.unit.announcer.bench import ASKER, HOME, OTHER, VIP, Bench, owner


@pytest.mark.parametrize("operation", [arp.REQUEST, arp.REPLY])
def test_a_stranger_that_announces_what_is_announced_here_is_named_and_answered_as_ever(
    operation: int,
) -> None:
    bench = owner()
    stranger = arp.gratuitous(operation, mac=ASKER, address=VIP).encode()
    request = operation == arp.REQUEST
    bench.sent.clear()
    bench.core.take_questions()
    assert bench.say(stranger) == (arp.answer(stranger, HOME.mac, {VIP}) if request else None)
    assert bench.core.busy is not request, "the next request does not wait for the alarm"
    bench.run(SETTLE_S * 2)
    assert bench.take(ForeignAnswer) == [ForeignAnswer(IPv4Address(VIP), ASKER, b"")]
    assert bench.sent == []
    assert bench.core.take_questions() == []
    for _ in range(5):
        bench.say(stranger)
    bench.run(1.0)
    assert bench.take(ForeignAnswer) == [], "told a moment ago"
    bench.run(ALARM_S)
    bench.say(stranger)
    bench.run(1.0)
    assert bench.take(ForeignAnswer) == [ForeignAnswer(IPv4Address(VIP), ASKER, b"")]


def test_members_probes_and_our_own_frames_are_no_strangers() -> None:
    bench = owner()
    probe = ArpFrame(arp.BROADCAST, ASKER, arp.REQUEST, ASKER, arp.ANY, bytes(6), VIP)
    assert bench.say(probe.encode()) is not None
    assert bench.say(probe._replace(sender_ip=OTHER).encode()) is not None, "a kernel that has OTHER on lo"
    assert bench.say(Signer("n2", (b"key",)).question(probe, bytes(8))) is not None
    to_host = arp.directed(mac=ASKER, address=VIP, to_mac=HOME.mac, to_address=bytes([198, 18, 0, 11]))
    assert bench.say(to_host.encode()) is None
    for operation in (arp.REQUEST, arp.REPLY):
        assert bench.say(arp.gratuitous(operation, mac=HOME.mac, address=VIP).encode()) is None
    bench.run(1.0)
    assert bench.take(ForeignAnswer) == []
    announced = arp.gratuitous(arp.REQUEST, mac=ASKER, address=VIP)
    assert bench.say(Signer("n2", (b"key",)).sign(announced, Kind.ANNOUNCEMENT)) is None
    bench.run(1.0)
    assert bench.take(ForeignAnswer) == []


ANOTHER = Signer("n2", (b"another key",))
"""A speaker with another ring secret on the same segment."""


def answer(mac: bytes, address: bytes = VIP) -> ArpFrame:
    return ArpFrame(HOME.mac, mac, arp.REPLY, mac, address, HOME.mac, arp.ANY)


ANNOUNCED_BY_ANOTHER = [
    pytest.param(ANOTHER.sign(answer(ASKER), Kind.ANSWER, nonce=bytes(8)), id="answer"),
    pytest.param(ANOTHER.sign(answer(ASKER), Kind.OFFER), id="offer"),
    *(
        pytest.param(
            ANOTHER.sign(arp.gratuitous(operation, mac=ASKER, address=VIP), Kind.ANNOUNCEMENT),
            id=f"announcement-{operation}",
        )
        for operation in (arp.REQUEST, arp.REPLY)
    ),
]


@pytest.mark.parametrize("data", ANNOUNCED_BY_ANOTHER)
def test_another_ring_secret_is_a_strangers_where_the_address_is_announced(data: bytes) -> None:
    bench = owner()
    bench.core.take_questions()
    bench.events.clear()
    bench.sent.clear()
    for _ in range(3):
        assert bench.say(data) is None
        bench.step(0.1)
    assert bench.take(ForeignAnswer) == [ForeignAnswer(IPv4Address(VIP), ASKER, b"")]
    assert bench.take(ClaimChanged) == []
    assert (bench.sent, bench.core.take_questions()) == ([], [])
    assert bench.ask() is not None


@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
@pytest.mark.parametrize("secret", [b"another key", None], ids=["another", "none"])
def test_an_answer_under_another_secret_does_what_one_without_a_signature_does(
    secret: bytes | None, known: bool
) -> None:
    bench = Bench(interfaces=(HOME,))
    bench.core.receive_command(Introduce(0, bench.now, "n1", (b"key",)), now=bench.now)
    bench.core.receive_command(Add(0, bench.now, (VIP,), known), now=bench.now)
    for _ in range(30):
        bench.step(0.05)
        bench.core.receive_command(Renew(0, bench.now), now=bench.now)
        for _, asked in bench.core.take_questions():
            question = signed.read(asked)
            if question is not None and question.kind is Kind.QUESTION:
                said = answer(ASKER)
                signer = Signer("n2", (secret,)) if secret is not None else None
                bench.say(
                    signer.sign(said, Kind.ANSWER, nonce=question.proof)
                    if signer is not None
                    else said.encode()
                )
    bench.step(0.0)
    assert bench.take(ForeignAnswer) == [ForeignAnswer(IPv4Address(VIP), ASKER, b"")]
    changes = [event for event in bench.take(ClaimChanged) if isinstance(event, ClaimChanged)]
    last = changes[-1]
    if known:
        assert last.state is State.ANNOUNCING
    else:
        assert (last.state, last.mac) == (State.CONFLICTED, ASKER)
    assert (bench.ask() is not None) is known


def test_a_late_answer_of_a_member_is_no_strangers() -> None:
    bench = owner()
    n2 = Signer("n2", (b"key",))
    address = bytes([198, 18, 0, 12])
    late = n2.sign(answer(ASKER), Kind.ANSWER, nonce=b"over now")
    hello = ArpFrame(arp.BROADCAST, ASKER, arp.REQUEST, ASKER, address, bytes(6), address)
    bench.say(n2.sign(hello, Kind.HELLO))
    bench.say(late)
    bench.run(1.0)
    assert bench.take(ForeignAnswer) == []
    bench.say(n2.sign(answer(b"\x02" + bytes(5)), Kind.ANSWER, nonce=b"over now"))
    bench.run(1.0)
    assert len(bench.take(ForeignAnswer)) == 1, "its name, from another MAC"


def test_a_member_that_answers_from_two_macs_is_no_stranger() -> None:
    bench = Bench(interfaces=(HOME,))
    bench.core.receive_command(Introduce(0, bench.now, "n1", (b"key",)), now=bench.now)
    n2 = Signer("n2", (b"key",))
    macs = [ASKER, b"\x02" + bytes(5)]
    for number, mac in enumerate(macs, 12):
        own = bytes([198, 18, 0, number])
        bench.say(n2.sign(ArpFrame(arp.BROADCAST, mac, arp.REQUEST, mac, own, bytes(6), own), Kind.HELLO))
    bench.core.receive_command(Add(0, bench.now, (VIP,), True), now=bench.now)
    bench.step(0.0)
    asked = [signed.read(frame) for _, frame in bench.core.take_questions()]
    nonces = {question.proof for question in asked if question is not None and question.kind is Kind.QUESTION}
    for mac in reversed(macs):
        for nonce in nonces:
            bench.say(n2.sign(answer(mac), Kind.ANSWER, flags=signed.FLAG_GO, nonce=nonce))
    bench.run(1.0)
    changes = [event for event in bench.take(ClaimChanged) if isinstance(event, ClaimChanged)]
    assert changes[-1].state is State.ANNOUNCING
    assert bench.take(ForeignAnswer) == []


def test_a_members_mac_is_named_as_a_members() -> None:
    bench = owner()
    address = bytes([198, 18, 0, 12])
    n2 = Signer("n2", (b"key",))
    hello = ArpFrame(arp.BROADCAST, ASKER, arp.REQUEST, ASKER, address, bytes(6), address)
    bench.say(n2.sign(hello, Kind.HELLO))
    bench.say(arp.gratuitous(arp.REQUEST, mac=ASKER, address=VIP).encode())
    bench.run(1.0)
    assert bench.take(ForeignAnswer) == [ForeignAnswer(IPv4Address(VIP), ASKER, n2.hash)]


def test_made_up_macs_are_told_of_at_a_bounded_rate() -> None:
    bench = owner()
    macs = [b"\x02\x00" + number.to_bytes(4, "big") for number in range(MAX_ALARMED + 500)]
    for mac in macs:
        bench.say(arp.gratuitous(arp.REPLY, mac=mac, address=VIP).encode())
    bench.run(1.0)
    assert len(bench.take(ForeignAnswer)) == MAX_ALARMED
    bench.run(ALARM_S)
    for mac in reversed(macs):
        bench.say(arp.gratuitous(arp.REPLY, mac=mac, address=VIP).encode())
    bench.run(1.0)
    assert len(bench.take(ForeignAnswer)) == MAX_ALARMED


def test_whose_mac_it_is_is_not_looked_for_in_what_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[bytes] = []
    monkeypatch.setattr(Neighbours, "member_with", lambda _, mac, __: looked.append(mac))
    bench = owner()
    for _ in range(100):
        bench.say(arp.gratuitous(arp.REPLY, mac=ASKER, address=VIP).encode())
    assert looked == [ASKER]
