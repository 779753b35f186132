"""What members say to each other about themselves."""

from ipaddress import IPv6Interface

import pytest

from announcer.layer2 import arp, signed
from announcer.layer2.arp import ArpFrame
from announcer.layer2.interfaces import Address, InterfaceView
from announcer.layer2.messages import Introduce, Renew
from announcer.layer2.neighbours import Neighbours
from announcer.layer2.signed import Kind, Signer, name_hash
from tests.unit.announcer.bench import HOME, START, Bench

N1 = name_hash("n1")
HERE = InterfaceView(2, "eth0", bytes.fromhex("0200000000aa"))


@pytest.mark.parametrize(
    "addresses",
    [(), (IPv6Interface("2001:db8::11/64"),), HOME.addresses],
    ids=["none", "IPv6 only", "IPv4"],
)
def test_a_member_proves_the_link_whether_or_not_it_has_an_address_there(
    addresses: tuple[Address, ...],
) -> None:
    bench = Bench(interfaces=(HOME._replace(addresses=addresses),))
    bench.core.receive_command(Introduce(0, bench.now, "n1", (b"key",)), now=bench.now)
    bench.core.receive_command(Renew(0, bench.now), now=bench.now)
    asker = Neighbours()
    asker.introduce(Signer("n2", (b"key",)), START)
    asker.set_interfaces({2: HERE}, START)
    asker.set_alive([N1], alive=True)
    for _, data in bench.core.take_questions():
        heard, trailer = arp.parse(data), signed.read(data)
        assert isinstance(heard, ArpFrame)
        if trailer is not None and trailer.kind is Kind.HELLO:
            asker.hello(2, trailer.name, heard, welcome=False, now=START)
    asker.frames.clear()
    asker.ask_witnesses(2, bytes(8), START + 1.0)
    [(_, question)] = asker.frames
    reply = bench.say(question)
    assert reply is not None
    answer = arp.parse(reply)
    assert isinstance(answer, ArpFrame)
    asker.hear(2, answer, START + 1.1)
    assert asker.answered_since(2, START + 1.1)


@pytest.mark.parametrize("addresses", [(), HOME.addresses], ids=["none", "IPv4"])
def test_only_a_member_that_has_no_address_answers_for_none_and_only_where_it_alone_is_asked(
    addresses: tuple[Address, ...],
) -> None:
    bench = Bench(interfaces=(HOME._replace(addresses=addresses),))
    bench.core.receive_command(Introduce(0, bench.now, "n1", (b"key",)), now=bench.now)
    bench.core.receive_command(Renew(0, bench.now), now=bench.now)
    n2 = Signer("n2", (b"key",))
    alone = ArpFrame(HOME.mac, HERE.mac, arp.REQUEST, HERE.mac, arp.ANY, bytes(6), arp.ANY)
    everybody = alone._replace(destination=arp.BROADCAST)
    assert bench.say(alone.encode()) is None, "no member's"
    assert bench.say(n2.question(everybody, bytes(8))) is None
    assert (bench.say(n2.question(alone, bytes(8))) is not None) is (not addresses)
