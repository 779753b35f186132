"""Makes tests/fixtures/packets: what real members send each other, decrypted.

Run as `python -m tests.interop.capture [NAME ...]` (root, Go 1.25 or later, serf, tcpdump). Three members of each program form a
ring on hosts of their own, say everything there is to say, and tcpdump listens at the bridge. Of every shape of
datagram and stream the first ones are kept.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import anyio
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.interop.network import network
from tests.interop.peers import KEY, ROOT, Memberlist, Peer, Serf, build

TARGET = ROOT / "tests" / "fixtures" / "packets"
KEPT = 2
"""Datagrams of each shape."""
USER_STATE = 585
"""Bytes of user state: a length that go-msgpack 0.5 and 2 write differently."""


@dataclass(frozen=True)
class Ring:
    """Whose members form it, and over what."""

    version: str | None
    """Of memberlist; None for serf."""
    key: bytes = KEY
    ipv6: bool = False

    @property
    def program(self) -> str:
        """Where the packets come from, in words."""
        return f"hashicorp/memberlist {self.version}" if self.version else "serf 0.9.4 of Debian 12"


RINGS = {
    "serf-0.9.4": Ring(None),
    "memberlist-0.1.7": Ring("0.1.7"),
    "memberlist-0.1.7-short-key": Ring("0.1.7", key=KEY[:16]),
    "memberlist-0.5.1": Ring("0.5.1"),
    "memberlist-0.7.0": Ring("0.7.0"),
    "memberlist-0.7.0-ipv6": Ring("0.7.0", ipv6=True),
}
"""By the names of their fixtures; a key of 16 bytes is that of MetalLB v0.9."""


def unseal(key: bytes, sealed: bytes, associated: bytes) -> bytes:
    """Open encryption version 1, which all of these programs send."""
    assert sealed[0] == 1
    return AESGCM(key).decrypt(sealed[1:13], sealed[13:], associated)


def shape(message: bytes) -> str:
    """The type bytes of a message and of everything within it."""
    kind = message[0]
    if kind == 12:
        return f"crc {shape(message[5:])}"
    if kind == 7:
        lengths = [int.from_bytes(message[2 + 2 * i : 4 + 2 * i], "big") for i in range(message[1])]
        start = 2 + 2 * message[1]
        parts = []
        for length in lengths:
            parts.append(shape(message[start : start + length]))
            start += length
        return f"compound({' '.join(parts)})"
    names = "ping indirectPing ack suspect alive dead pushPull compound user compress encrypt nack"
    return names.split()[kind]


class Capture:
    """Collects datagrams and streams of one ring."""

    def __init__(self, ring: Ring, names: dict[str, str]) -> None:
        self.ring = ring
        self.names = names
        self.datagrams: list[dict[str, str]] = []
        self.sealed: dict[str, str] = {}
        self._seen: dict[str, int] = {}
        self._streams: dict[tuple[str, int, str, int], dict[int, bytes]] = {}
        self._opened: list[tuple[str, int, str, int]] = []

    def read(self, file: Path) -> None:
        """Take in a file of tcpdump's."""
        from scapy.layers.inet import IP, TCP, UDP
        from scapy.layers.inet6 import IPv6
        from scapy.utils import PcapReader

        layer = IPv6 if self.ring.ipv6 else IP

        with PcapReader(str(file)) as frames:
            for frame in frames:
                if UDP in frame:
                    self._datagram(frame[layer].src, frame[layer].dst, bytes(frame[UDP].payload))
                elif TCP in frame:
                    segment = frame[TCP]
                    key = (frame[layer].src, segment.sport, frame[layer].dst, segment.dport)
                    if "S" in segment.flags and "A" not in segment.flags:
                        self._opened.append(key)
                    # Ethernet pads short frames.
                    packet = frame[IPv6].plen if self.ring.ipv6 else frame[IP].len - 4 * frame[IP].ihl
                    size = packet - 4 * segment.dataofs
                    if size:
                        self._streams.setdefault(key, {})[segment.seq] = bytes(segment.payload)[:size]

    def _datagram(self, source: str, target: str, sealed: bytes) -> None:
        plain = unseal(self.ring.key, sealed, b"")
        kind = shape(plain)
        self._seen[kind] = self._seen.get(kind, 0) + 1
        if self._seen[kind] > KEPT:
            return
        self.sealed.setdefault("datagram", sealed.hex())
        self.datagrams.append(
            {"from": self.names[source], "to": self.names[target], "holds": kind, "plain": plain.hex()}
        )

    def streams(self) -> Iterator[dict[str, str]]:
        """Both directions of each stream; of those that failed, what there was."""
        kept: dict[str, int] = {}
        for source, sport, target, dport in self._opened:
            sent = self._joined(source, sport, target, dport)
            if not sent:
                continue
            self.sealed.setdefault("stream", sent.hex())
            plain = unseal(self.ring.key, sent[5:], sent[:5])
            answer = self._joined(target, dport, source, sport)
            answered = unseal(self.ring.key, answer[5:], answer[:5]) if answer else b""
            kind = f"{len(plain) // 100} {len(answered) // 100}"
            kept[kind] = kept.get(kind, 0) + 1
            if kept[kind] <= KEPT:
                yield {"from": self.names[source], "sent": plain.hex(), "answered": answered.hex()}

    def _joined(self, *key: *tuple[str, int, str, int]) -> bytes:
        segments = self._streams.get(key, {})
        return b"".join(segments[number] for number in sorted(segments))

    def write(self, name: str) -> None:
        """Keep it as a fixture."""
        content = {
            "program": self.ring.program,
            "captured_by": "python -m tests.interop.capture",
            "key": self.ring.key.hex(),
            "sealed": self.sealed,
            "datagrams": self.datagrams,
            "streams": list(self.streams()),
        }
        TARGET.mkdir(parents=True, exist_ok=True)
        (TARGET / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


async def talk_memberlist(a: Peer, b: Peer, c: Peer) -> None:
    await a.ask("meta another")
    await b.ask(f"send {c.name} a user message")


async def talk_serf(a: Peer, b: Peer, c: Peer) -> None:
    for words in (["event", "deploy", "it"], ["query", "-timeout=1s", "uptime"]):
        await anyio.run_process([*a.network.hosts[a.name].enter, "serf", *words], check=False)


async def scene(peers: list[Peer], talk: Callable[[Peer, Peer, Peer], Awaitable[None]]) -> None:
    """Meet, talk, die, come back, say goodbye."""
    a, b, c = peers
    async with anyio.create_task_group() as tasks:
        for peer in peers:
            await tasks.start(peer.run)
        for peer in (b, c):
            await peer.join([a.address])
        for peer in peers:
            for other in peers:
                await peer.sees(other.name, "alive", within=10.0)
        await talk(a, b, c)
        # An answer by TCP alone.
        a.network.lose_datagrams_to(c.name)
        await a.until(
            lambda: any("Was able to connect" in line for line in a.complaints), "TCP only", within=15.0
        )
        a.network.heal()
        c.kill()
        for peer in (a, b):
            await peer.sees(c.name, *Peer.gone, within=15.0)
        await tasks.start(c.run)
        await c.join([a.address])
        for peer in (a, b):
            await peer.sees(c.name, "alive", within=10.0)
        await b.leave()
        for peer in (a, c):
            await peer.sees(b.name, *Peer.gone, within=10.0)
        # The state that now is exchanged has a member that left in it.
        await c.join([a.address])
        tasks.cancel_scope.cancel()


def capture(name: str, ring: Ring) -> None:
    hosts = ["a", "b", "c"]
    with network(hosts, ipv6=ring.ipv6) as net, tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "packets.pcap"
        command = [
            "tcpdump",
            "-i",
            "br0",
            "-U",
            "--immediate-mode",
            "-Z",
            "root",
            "-w",
            str(file),
            "port",
            "7946",
        ]
        listener = subprocess.Popen([*net.switch.enter, *command], stderr=subprocess.PIPE)
        try:
            assert listener.stderr is not None
            while b"listening on" not in (line := listener.stderr.readline()):
                assert line, "tcpdump ended"
            members: list[Peer]
            if ring.version is None:
                members = [Serf(host, net, Path(directory), wildcard=host == "c") for host in hosts]
            else:
                build(ring.version)
                members = [
                    Memberlist(host, net, Path(directory), version=ring.version, meta=meta, state=USER_STATE)
                    # Meta that is text, none at all, and empty: three forms on the wire.
                    for host, meta in zip(hosts, ("of a", None, ""), strict=True)
                ]
            for member in members:
                member.key = ring.key
            anyio.run(scene, members, talk_memberlist if ring.version else talk_serf)
        finally:
            listener.terminate()
            listener.wait()
        found = Capture(ring, {address: host for host, address in net.addresses.items()})
        found.read(file)
        found.write(name)


def main() -> None:
    assert os.geteuid() == 0, "it needs root"
    for name in sys.argv[1:] or RINGS:
        capture(name, RINGS[name])


if __name__ == "__main__":
    main()
