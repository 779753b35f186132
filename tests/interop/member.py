"""A member of ours under remote control, the counterpart of memberlist/main.go: commands come as lines on standard
input, events and answers leave as lines of JSON on standard output. It ends with its standard input."""

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import anyio

from gossip.address import Endpoint
from gossip.config import SwimConfig
from gossip.fastconfig import FastLaneConfig
from gossip.keyring import Keyring
from gossip.member import MemberState, MemberView
from gossip.outputs import (
    EventsLost,
    MemberAlive,
    MemberDead,
    MemberDoubtful,
    MemberJoined,
    MemberLeft,
    MembershipEvent,
    MemberSuspect,
    PeerRejected,
    Refuted,
)
from gossip.shell import Ring
from tests.interop import wire
from tests.interop.serf_layer import SerfLayer

REJOIN_S = 5.0
"""Between two looks for members that the ring misses, as a speaker does."""

INTENT_S = 1.0
"""From a leave intent of serf's to the goodbye, so that the intent comes first everywhere."""

KINDS = {
    MemberJoined: "join",
    MemberSuspect: "suspect",
    MemberAlive: "alive",
    MemberDead: "dead",
    MemberLeft: "left",
}


def say(kind: str, **more: object) -> None:
    print(json.dumps({"at": time.time(), "kind": kind, **more}), flush=True)


def tell(event: MembershipEvent) -> None:
    """One event as a line."""
    kind = KINDS.get(type(event))
    if kind is not None and not isinstance(event, (Refuted, PeerRejected, EventsLost)):
        say(kind, member={"name": event.view.name}, text=getattr(event, "by", ""))
    elif isinstance(event, Refuted):
        say("refuted", text=event.accuser)
    elif isinstance(event, PeerRejected):
        say("rejected", text=f"{event.source.text}: {event.reason}: {event.detail}")
    elif isinstance(event, EventsLost):
        raise SystemExit("events were lost")


async def lines() -> AsyncIterator[str]:
    """Standard input, line by line."""
    pending = b""
    while True:
        await anyio.wait_readable(sys.stdin)
        data = os.read(sys.stdin.fileno(), 4096)
        if not data:
            return
        *complete, pending = (pending + data).split(b"\n")
        for line in complete:
            yield line.decode()


class Member:
    """Carries commands out."""

    def __init__(self, ring: Ring, key: bytes, serf: SerfLayer | None) -> None:
        self.ring = ring
        self.keys = [key]
        self.serf = serf

    async def obey(self, line: str) -> None:
        """One command."""
        verb, *words = line.split()
        if verb.endswith("-key"):
            await self._change_keys(verb, bytes.fromhex(words[0]))
            return
        match verb:
            case "join":
                result = await self.ring.join([(host, 7946) for host in words])
                if self.serf is not None:
                    await self.serf.hello()
                say("join", error="; ".join(result.failed.values()))
            case "leave":
                if self.serf is not None:
                    await self.serf.goodbye()
                    await anyio.sleep(INTENT_S)
                await self.ring.leave(5.0)
                say("leave")
            case "members":
                views = self.ring.members().values()
                say(
                    "members",
                    members=[{"name": view.name, "state": view.state.name.lower()} for view in views],
                )
            case _:
                raise SystemExit(f"no such command: {verb}")

    async def _change_keys(self, verb: str, key: bytes) -> None:
        others = [other for other in self.keys if other != key]
        self.keys = {"add-key": [*others, key], "use-key": [key, *others], "remove-key": others}[verb]
        await self.ring.set_keyring(Keyring(self.keys))
        say(verb)


async def rejoin(ring: Ring, peers: list[Endpoint]) -> None:
    """Look for missing peers, so that a partition heals however long it was."""
    while True:
        await anyio.sleep(REJOIN_S)
        alive = {view.endpoint for view in ring.members().values() if view.state is MemberState.ALIVE}
        left = {view.endpoint for view in ring.members().values() if view.state is MemberState.LEFT}
        await ring.join([peer for peer in peers if peer not in alive | left])


async def inquire(ring: Ring, view: MemberView, hosts: list[str]) -> None:
    """Ask a doubtful member on the wire, as a speaker does, and tell the ring."""
    address = view.endpoint.host
    answer, proven = await wire.ask(address, [host for host in hosts if host != address])
    await ring.wire_evidence(view.name, answer, own_link_proven=proven)


async def listen(ring: Ring, hosts: list[str]) -> None:
    """Tell of events; whom the lane doubts is asked on the wire, where there are hosts on one."""
    async with anyio.create_task_group() as tasks:
        async for event in ring.events:
            if not isinstance(event, MemberDoubtful):
                tell(event)
            elif hosts:
                tasks.start_soon(inquire, ring, event.view, hosts)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--bind", required=True)
    parser.add_argument("--advertise", required=True)
    parser.add_argument("--label", default="")
    parser.add_argument("--key", required=True)
    parser.add_argument("--peers", default="")
    parser.add_argument("--meta", default="")
    parser.add_argument("--serf", action="store_true")
    parser.add_argument("--wire", action="store_true")
    options = parser.parse_args()
    config = replace(SwimConfig.lan(), fast_lane=FastLaneConfig(), label=options.label)
    if options.serf:
        config = replace(
            config, delegate_protocol_min=2, delegate_protocol_max=5, delegate_protocol_version=5
        )
    ring = Ring(
        name=options.name,
        bind=(options.bind, 7946),
        advertise=(options.advertise, 7946),
        keyring=Keyring([bytes.fromhex(options.key)]),
        config=config,
        meta=bytes.fromhex(options.meta),
        messages=1024 if options.serf else 0,
    )
    with contextlib.ExitStack() as stack:
        responder = stack.enter_context(wire.answering(options.advertise)) if options.wire else None
        await live(ring, options, responder)


async def live(ring: Ring, options: argparse.Namespace, responder: int | None) -> None:
    """Be a member until there are no more commands."""
    peers = [Endpoint(host, 7946) for host in options.peers.split(",") if host]
    async with ring, anyio.create_task_group() as tasks:
        tasks.start_soon(listen, ring, [peer.host for peer in peers] if options.wire else [])
        tasks.start_soon(rejoin, ring, peers)
        serf = SerfLayer(options.name, ring) if options.serf else None
        if serf is not None:
            tasks.start_soon(serf.listen)
        member = Member(ring, bytes.fromhex(options.key), serf)
        say("ready", responder=responder)
        async for line in lines():
            await member.obey(line)
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(main)
