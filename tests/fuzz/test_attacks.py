"""What somebody could do on purpose: floods, inventions, bombs. The ring goes on, and nothing grows."""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import anyio
import anyio.abc
import pytest
from typing_extensions import override

from gossip.config import SwimConfig
from gossip.context import Context
from gossip.errors import RejectReason
from gossip.fastconfig import FastLaneConfig
from gossip.keyring import Keyring
from gossip.messages import Ack, Alive, Ping, User, encode
from gossip.meta import Meta
from gossip.outputs import UserMessage
from gossip.packet import compound, compress
from gossip.questions import Questions, Way
from gossip.shell import Ring
from tests.unit.gossip.helpers import VSN, Bench, of
from tests.unit.gossip.test_shell import KEY, PATIENCE_S, knows

FAST = SwimConfig(fast_lane=FastLaneConfig())
PACE_S = FastLaneConfig().pace_s
ROOT = Path(__file__).parents[2]

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


MEMBER = """
import dataclasses, json, sys
import anyio
from tests.fuzz.test_attacks import made

async def main():
    async with made("a") as ring:
        print(ring.endpoint.port, flush=True)
        await anyio.to_thread.run_sync(sys.stdin.readline)
        counters = ring.counters
        print(json.dumps({
            "refused": counters.rejected["undecryptable"],
            "answered": counters.packets_out_by["Ack"],
            "suspicions": counters.suspicions,
            "refutations": counters.refutations,
            "deaths": counters.deaths,
            "verdicts": counters.verdicts,
            "events lost": counters.events_lost,
        }))

anyio.run(main)
"""

FLOOD_S = 5.0
LATE_S = 0.05
"""Acks come within this time, half of the fast lane's pace, plus what the machine let the two processes wait for a core."""
LATE_MAX = 0.02
"""Share of the acks that may be later: one stall of the whole machine, which no process is told of."""
USUAL_S = 0.02
"""Half of the acks come within this time, whatever the processes wait; a flood that fills a core delays all of them."""


def made(name: str) -> Ring:
    """A member as the product has it."""
    return Ring(
        name=name,
        bind=("127.0.0.1", 0),
        advertise=None,
        keyring=Keyring([KEY]),
        config=FAST,
        meta=Meta(software="vipring", version="1", instance=name.encode()).encode(),
    )


def waited(*processes: int) -> float:
    """Seconds for which the main threads of these processes were ready and had no core."""
    stats = [Path(f"/proc/{process}/schedstat").read_text() for process in processes]
    return sum(int(text.split()[1]) for text in stats) / 1e9


class Timed(Questions):
    """A fast lane's questions, with the time that each answer to a direct one took.

    Args:
        context: of the node.
        name: of the member to ask.
        process: of that member.
    """

    def __init__(self, context: Context, name: str, process: int) -> None:
        super().__init__(context)
        self.name = name
        self.processes = process, os.getpid()
        self.unanswered: dict[int, tuple[float, float]] = {}
        """Moment of each question (monotonic seconds) and what the processes had waited by then."""
        self.took: list[float] = []
        """Seconds."""
        self.late = 0
        self._over = float("inf")
        self._caught_up = anyio.Event()

    async def lost(self) -> int:
        """How many questions asked before this moment get no answer: wait until a later one has its answer."""
        self._over = time.monotonic()
        await self._caught_up.wait()
        return sum(asked < self._over for asked, _ in self.unanswered.values())

    @override
    def ask(self, name: str, way: Way, now: float) -> int:
        sequence = super().ask(name, way, now)
        if (name, way) == (self.name, Way.DIRECT):
            self.unanswered[sequence] = now, waited(*self.processes)
        return sequence

    @override
    def answer(self, sequence: int) -> tuple[str, Way] | None:
        if sequence in self.unanswered:
            asked, before = self.unanswered.pop(sequence)
            took = time.monotonic() - asked
            self.took.append(took)
            self.late += took > LATE_S and took - (waited(*self.processes) - before) > LATE_S
            if asked >= self._over:
                self._caught_up.set()
        return super().answer(sequence)


def timed(ring: Ring, name: str, process: int) -> Timed:
    """Have the times of a member's answers to this ring's fast lane taken from now on."""
    assert ring._node is not None
    lane = ring._node._lane
    assert lane is not None
    lane._questions = lane._healing._questions = made = Timed(ring._node._context, name, process)
    return made


async def flood(port: int) -> int:
    """Send a member 5,000 packets a second under a key that it does not have; how many were sent in the end."""
    command = [sys.executable, "-c", FLOODER, "127.0.0.1", str(port), "5000", str(FLOOD_S)]
    with anyio.fail_after(PATIENCE_S + 10):
        return int((await anyio.run_process(command, stdout=subprocess.PIPE)).stdout)


async def line_of(process: anyio.abc.Process) -> str:
    """What a process says next."""
    assert process.stdout is not None
    text = b""
    while not text.endswith(b"\n"):
        text += await process.stdout.receive()
    return text.decode()


@pytest.mark.anyio
async def test_a_flood_under_a_wrong_key_leaves_acks_to_real_members_in_time() -> None:
    """The member that is flooded has a process of its own, as a speaker has; two others ask it ten times a second each."""
    async with await anyio.open_process([sys.executable, "-c", MEMBER], stderr=None, cwd=ROOT) as flooded:
        assert flooded.stdin is not None
        with anyio.fail_after(PATIENCE_S):
            port = int(await line_of(flooded))
        async with made("b") as b, made("c") as c:
            for ring in (b, c):
                await ring.join([("127.0.0.1", port)])
            for ring in (b, c):
                await knows(ring, "a", "b", "c")
            lanes = timed(b, "a", flooded.pid), timed(c, "a", flooded.pid)
            sent = await flood(port)
            with anyio.fail_after(PATIENCE_S):
                lost = sum([await lane.lost() for lane in lanes])
                await flooded.stdin.send(b"\n")
                told = json.loads(await line_of(flooded))
            took = [seconds for lane in lanes for seconds in lane.took]
            late, usual = sum(lane.late for lane in lanes), statistics.median(took)
            what = f"{len(took)} acks, half within {usual:.4f} s, all within {max(took):.4f} s, {late} late, {lost} lost"
            print(f"{told} of {sent} packets; {what}")
            assert sent >= 4750 * FLOOD_S
            assert told.pop("refused") > sent / 2, "the flood did not reach the ring"
            # Both ask in each pace, unless they are late themselves.
            assert told.pop("answered") > FLOOD_S / PACE_S
            assert len(took) > FLOOD_S / PACE_S
            assert usual <= USUAL_S, what
            assert late + lost <= LATE_MAX * (len(took) + lost), what
            assert not any(told.values()), told
            for ring in (b, c):
                counters = ring.counters
                assert (counters.verdicts, counters.deaths, counters.false_deaths) == (0, 0, 0)
                assert (counters.suspicions, counters.probes_failed, counters.events_lost) == (0, 0, 0)


def test_a_million_invented_members_fill_no_memory() -> None:
    meta = Meta(software="vipring", version="1").encode()
    bench = Bench(FAST, meta=meta)
    digits = b"0000000"
    template = encode(Alive(1, f"fake-{digits.decode()}", bytes((198, 18, 1, 1)), 7946, meta, VSN))
    assert template.count(digits) == 1
    for first in range(0, 1_000_000, 100):
        bench.hear_bytes(compound([template.replace(digits, b"%07d" % (first + one)) for one in range(100)]))
    node, most = bench.node, FAST.max_members
    assert len(node.members()) == most
    # This node has a place in the table too.
    assert node.counters.rejected[RejectReason.TABLE_FULL] == 1_000_000 - (most - 1)
    assert node.queue_depth() <= most
    assert len(node._context.timers) < 1000
    assert node._lane is not None
    bench.wait(1.0)
    assert len(node._lane._watches) <= 3 + 32
    assert len(node._lane._questions) < 10_000
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
