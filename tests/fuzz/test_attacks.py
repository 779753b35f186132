"""What somebody could do on purpose: floods, inventions, bombs. The ring goes on, and nothing grows."""

import subprocess
import sys

import anyio
import pytest

from gossip.config import SwimConfig
from gossip.errors import RejectReason
from gossip.keyring import Keyring
from gossip.messages import Ack, Alive, Ping, User, encode
from gossip.outputs import UserMessage
from gossip.packet import compound, compress
from gossip.shell import Ring
from tests.unit.gossip.helpers import VSN, Bench, of
from tests.unit.gossip.test_shell import KEY, PATIENCE_S, knows

FLOODER = """
import os, socket, sys, time
from gossip.keyring import Keyring
from gossip.messages import Ping, encode
from gossip.config import SwimConfig
from gossip.packet import PacketCodec
host, port, rate, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
codec = PacketCodec(SwimConfig(), Keyring([b"w" * 32]), os.urandom)
packets = [codec.pack([encode(Ping(number, "a"))], crc=False) for number in range(100)]
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
begin, sent = time.monotonic(), 0
while (gone := time.monotonic() - begin) < seconds:
    while sent < gone * rate:
        udp.sendto(packets[sent % 100], (host, port))
        sent += 1
    time.sleep(0.002)
print(sent)
"""


@pytest.mark.anyio
async def test_a_flood_under_a_wrong_key_delays_no_ack_to_a_real_member() -> None:
    config = SwimConfig.lan()

    def made(name: str) -> Ring:
        return Ring(
            name=name,
            bind=("127.0.0.1", 0),
            advertise=None,
            keyring=Keyring([KEY]),
            config=config,
            meta=b"",
        )

    async with made("a") as a, made("b") as b:
        await b.join([a.endpoint])
        for member in (a, b):
            await knows(member, "a", "b")
        command = [sys.executable, "-c", FLOODER, a.endpoint.host, str(a.endpoint.port), "5000", "4"]
        with anyio.fail_after(PATIENCE_S + 10):
            flood = await anyio.run_process(command, stdout=subprocess.PIPE)
        sent = int(flood.stdout)
        assert sent >= 19_000
        refused = a.counters.rejected[RejectReason.UNDECRYPTABLE]
        direct = sum(b.counters.rtt.counts)
        print(
            f"{refused} of {sent} packets refused, {direct} of {b.counters.probes} probes of b answered directly"
        )
        assert refused > sent / 2, "the flood did not reach the ring"
        assert b.counters.probes_failed == 0
        assert a.counters.suspicions == 0
        assert a.counters.events_lost == 0


def test_a_million_announcements_of_invented_members_fill_no_memory() -> None:
    bench = Bench(SwimConfig(max_members=500))
    invented = 0
    while invented < 1_000_000:
        parts = [
            encode(
                Alive(1, f"fake-{number}", bytes((198, 18, number >> 8 & 255, number & 255)), 7946, b"", VSN)
            )
            for number in range(invented, invented + 100)
        ]
        packet = compound(parts)
        # Twenty thousand names in all: once the table is full, a name that comes again is as new as before.
        for _ in range(50):
            bench.hear_bytes(packet)
            invented += 100
    assert len(bench.node.members()) == 500
    assert bench.node.queue_depth() <= 501
    assert len(bench.node._context.timers) < 1000
    assert bench.node.counters.rejected[RejectReason.TABLE_FULL] > 900_000
    answers = bench.messages(bench.hear(Ping(1, "me")))
    assert Ack(1) in [message for _, message in answers]


def test_the_longest_part_of_a_compound_is_taken_and_longer_ones_are_refused() -> None:
    bench = Bench()
    longest = encode(User(bytes(65_534)))
    assert len(longest) == 65_535
    outputs = bench.hear_bytes(compound([longest, encode(Ping(1, "me"))]))
    assert [len(message.payload) for message in of(UserMessage, outputs)] == [65_534]
    assert Ack(1) in [message for _, message in bench.messages(outputs)]
    cut = compound([longest])[:60_000]
    assert not of(UserMessage, bench.hear_bytes(cut))
    assert bench.node.counters.rejected[RejectReason.TRUNCATED] == 1


def test_a_bomb_in_a_datagram_is_refused_and_nested_ones_are_too() -> None:
    bench = Bench()
    bomb = compress(encode(User(bytes(70_000))))
    assert len(bomb) < 1000
    assert not of(UserMessage, bench.hear_bytes(bomb))
    nested = encode(Ping(1, "me"))
    for _ in range(10):
        nested = compress(compound([nested]))
    assert not bench.messages(bench.hear_bytes(nested))
    many = compound([compress(encode(User(bytes(30_000)))) for _ in range(100)])
    assert len(of(UserMessage, bench.hear_bytes(many))) == 2
    assert bench.node.counters.rejected[RejectReason.TOO_LARGE] == 100
