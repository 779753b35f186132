"""Which datagrams carry a CRC to whom, as memberlist sends them (net.go, rawSendMsgPacket)."""

from collections.abc import Callable

import pytest

from gossip.address import Endpoint
from gossip.config import SwimConfig
from gossip.fastconfig import FastLaneConfig
from gossip.messages import Ack, Alive, Dead, IndirectPing, Nack, PacketMessage, Ping, Suspect, User
from gossip.meta import Meta
from gossip.outputs import Output, SendDatagram
from tests.unit.gossip.helpers import PORT, Bench, address, alive, of

PEER = Endpoint("198.18.0.10", PORT)
OTHER = Endpoint("198.18.0.11", PORT)
META = Meta(software="vipring", version="1", instance=b"first").encode()
FAST = SwimConfig(fast_lane=FastLaneConfig())
SLOW = SwimConfig(disable_tcp_pings=True)


def gossiped(bench: Bench, name: str) -> list[Output]:
    return bench.wait(0.25)


def pinged(bench: Bench, name: str) -> list[Output]:
    return bench.wait(1.0)


def suspected(bench: Bench, name: str) -> list[Output]:
    bench.hear(Suspect(1, name, "x"))
    return bench.wait(1.0)


def asked_as_relay(bench: Bench, name: str) -> list[Output]:
    bench.hear(alive("other", 11))
    while True:
        to, ping = bench.until_sent(Ping)
        if to == OTHER:
            return bench.wait(0.6)
        bench.hear(Ack(ping.seq))


def acked(bench: Bench, name: str) -> list[Output]:
    return bench.hear(Ping(9, "me", address(10), PORT, name))


def told_of_silence(bench: Bench, name: str) -> list[Output]:
    bench.hear(IndirectPing(7, address(60), 999, "far", True, address(10), PORT, name))
    return bench.wait(0.6)


def passed_an_ack_on(bench: Bench, name: str) -> list[Output]:
    outputs = bench.hear(IndirectPing(7, address(60), 999, "far", False, address(10), PORT, name))
    (seq,) = [message.seq for _, message in bench.messages(outputs) if isinstance(message, Ping)]
    return bench.hear(Ack(seq))


def pinged_for_another(bench: Bench, name: str) -> list[Output]:
    return bench.hear(IndirectPing(7, address(10), PORT, name))


def sent_a_user_message(bench: Bench, name: str) -> list[Output]:
    bench.node.send_user(name, b"hello", reliable=False, now=bench.now)
    return bench.node.take_outputs()


def told_directly(bench: Bench, name: str) -> list[Output]:
    return bench.hear(Suspect(1, "me", name), source=PEER)


def accused_in_the_lane(bench: Bench, name: str) -> list[Output]:
    """The other member answers and so proves our link; the peer is silent until it is accused."""
    bench.hear(alive("other", 11, meta=META))
    outputs: list[Output] = []
    for _ in range(40):
        sent = bench.wait(0.05)
        outputs += sent
        for to, message in bench.messages(sent):
            if isinstance(message, Ping) and to == OTHER:
                bench.hear(Ack(message.seq), source=to)
    return outputs


def asked_after_when_dead(bench: Bench, name: str) -> list[Output]:
    bench.wait_answered(0.5)
    bench.hear(Dead(1, name, "x"))
    return bench.wait(0.3)


Act = Callable[[Bench, str], list[Output]]

ROWS: list[tuple[Act, SwimConfig, list[type[PacketMessage]], bool]] = [
    (gossiped, SLOW, [Alive], True),
    (suspected, SLOW, [Ping, Suspect], True),
    (sent_a_user_message, SLOW, [User], True),
    (told_directly, FAST, [Alive], True),
    (accused_in_the_lane, FAST, [Ping, Suspect], True),
    (pinged, SLOW, [Ping], False),
    (asked_as_relay, SLOW, [IndirectPing], False),
    (acked, SLOW, [Ack], False),
    (told_of_silence, SLOW, [Nack], False),
    (passed_an_ack_on, SLOW, [Ack], False),
    (pinged_for_another, SLOW, [Ping], False),
    (pinged, FAST, [Ping], False),
    (acked, FAST, [Ack], False),
    (asked_after_when_dead, FAST, [Ping], False),
]
"""What brings the datagram about, its first messages, and whether it goes to a member and not just to an address."""


@pytest.mark.parametrize("name", ["peer", PEER.host], ids=["named", "named like its address"])
@pytest.mark.parametrize("understood", [3, 4, 5, 6])
@pytest.mark.parametrize(
    ("act", "config", "begins", "to_member"),
    ROWS,
    ids=[f"{act.__name__}-{'fast' if config.fast_lane else 'slow'}" for act, config, _, _ in ROWS],
)
def test_crc_is_for_those_that_understand_it_and_are_addressed_as_members(
    act: Act,
    config: SwimConfig,
    begins: list[type[PacketMessage]],
    to_member: bool,
    understood: int,
    name: str,
) -> None:
    bench = Bench(config, meta=META if config.fast_lane else b"")
    bench.hear(
        alive(name, 10, meta=META if config.fast_lane else b"", vsn=bytes((1, understood, 2, 0, 0, 0)))
    )
    found = [
        datagram
        for datagram in of(SendDatagram, act(bench, name))
        if datagram.to == PEER and begin(bench, datagram, len(begins)) == begins
    ]
    assert found
    wanted = understood >= 5 and (to_member or name == PEER.host)
    assert {datagram.data[0] == 0x0C for datagram in found} == {wanted}


def begin(bench: Bench, datagram: SendDatagram, count: int) -> list[type[object]]:
    """The kinds of the first messages."""
    return [type(message) for _, message in bench.messages([datagram])[:count]]


@pytest.mark.parametrize("lane", [SLOW, FAST])
def test_strangers_get_none(lane: SwimConfig) -> None:
    bench = Bench(lane)
    for act in (acked, told_of_silence, passed_an_ack_on, pinged_for_another):
        sent = [datagram for datagram in of(SendDatagram, act(bench, "stranger")) if datagram.to == PEER]
        assert sent
        assert not any(datagram.data[0] == 0x0C for datagram in sent)
