"""Random faults on a simulated segment, what the ring makes of them, and the promises that must hold all the way."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address
from typing import TypeVar

from announcer.layer2.responder import GAP_S
from speaker.decide import Address
from tests.simulation.announcer.api import Change, Web, node_change
from tests.simulation.announcer.bounds import API_S, Near
from tests.simulation.announcer.clients import BrokenPromiseError, Clients, Promised
from tests.simulation.announcer.node import Node, Plain, member
from tests.simulation.announcer.schedule import BRIEF_S, OF_API, OF_LOSS, OF_SEGMENT, Fault, Kind, Schedule
from tests.simulation.announcer.segment import SAMPLE_S, Segment

T = TypeVar("T")

VERDICT_S = (0.42, 0.62)
"""Four misses of the fast lane and the word that spreads."""
SLOW_VERDICT_S = (1.0, 6.0)
"""Where the wire still answers, ordinary suspicion decides."""
WORD_S = (0.0, 0.3)
"""A member that is back is known."""
START_S = 0.8
LEASE_S = 1.5
TWO_S = 0.5
"""Longest time with two owners on a segment that is whole."""
TWO_BURSTS_S = 0.8
"""The same where frames are lost in bursts."""
KEPT_S = 0.3
"""Where nothing but the API server's objects and plain members change, longest time without an owner once the address was
announced, until a node finds that nobody may own it."""
HELD_S = 1.5
"""Longest time that a claim stays held while its holder does not announce: three polls, and one more that is lost."""
SETTLE_S = 11.0


class Trial:
    """Plays one schedule."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        kinds = {fault.kind for fault in schedule.faults}
        self.calm = kinds <= {"plain", *OF_API} and not schedule.loss
        self.near = Near()
        self.bursts = bool(kinds & set(OF_LOSS))
        self.lossy = self.bursts or schedule.loss > 0
        self.had: set[Address] = set()
        """Addresses that were announced, and no node has found since that nobody may own them."""
        self.segment = Segment(
            nodes=schedule.nodes,
            plain=schedule.plain,
            rng=random.Random(schedule.seed),
            loss=schedule.loss,
            suppressing=schedule.suppressing,
            ageing_s=schedule.ageing_s,
        )
        self.segment.able_changed = self._spread
        self.segment.conflicted = self._held_back
        self.segment.given_up = self.had.discard
        self.ring_cut: set[Node] = set()
        self.busy: set[Node] = set()
        self.busy_segment: set[Kind] = set()
        self.busy_api: set[tuple[Kind, int]] = set()
        self.clients = Clients(
            self.segment,
            Promised(self.near.none_s, self.near.lost_s),
            lossy=self.lossy,
            two_s=TWO_BURSTS_S if self.bursts else TWO_S,
        )
        self.host_ended = -math.inf
        self.quiet = self.segment.now
        self.whole = self.segment.now
        self.first = math.inf
        self.strange = math.inf
        self.looked = -1
        self.two: dict[IPv4Address, float] = {}
        self.lost: dict[IPv4Address, float] = {}
        self.none: dict[IPv4Address, float] = {}
        self.vain: dict[tuple[IPv4Address, str], float] = {}
        """Since when an address has had two owners, lost its owner, had none, or a node's claim for it is held in vain."""
        self.worst_two = 0.0
        self.worst_none: dict[float, float] = {}
        """Longest times without an owner, by the bound that applied."""

    def play(self) -> None:
        """Raises BrokenPromiseError."""
        segment = self.segment
        for first, local in enumerate((False, self.schedule.local)):
            for change in segment.api.add(local=local, first=first):
                self._tell(change, (0.0, 0.0))
        for node in segment.nodes:
            segment.at(self._draw((0.0, 0.2)), partial(self._meet, node, node.life))
        segment.run(3.0)
        self.quiet = self.whole = segment.now
        self.first = segment.now + min(fault.at for fault in self.schedule.faults)
        for fault in self.schedule.faults:
            segment.at(fault.at, partial(self._begin, fault))
        end = max(fault.at + fault.lasts for fault in self.schedule.faults)
        segment.run(end + SETTLE_S, self._watch)
        for web in segment.api.webs:
            wanted = segment.api.ranking(web.address)[:1]
            owners = segment.owners(web.address)
            if owners != list(wanted):
                raise BrokenPromiseError(f"in the end {owners} answer for {web.address}, not {wanted}")
        self.clients.judge_end(self.host_ended)

    # The ring

    def _draw(self, between: tuple[float, float]) -> float:
        return self.segment.rng.uniform(*between)

    def _meet(self, node: Node, life: object) -> None:
        """A speaker that starts learns of the others and they of it."""
        self._refresh(VERDICT_S)
        self.segment.at(START_S, lambda: node.think(node.join) if node.life is life else None)

    def _reaches(self, node: Node, other: Node | Plain) -> bool:
        return (
            other.up
            and not other.stalled
            and not other.leaving
            and node.side == other.side
            and not ({node, other} & self.ring_cut)
        )

    def _refresh(self, verdict: tuple[float, float]) -> None:
        """Everybody comes to know what is the case, each in its own time."""
        others: list[Node | Plain] = [*self.segment.nodes, *self.segment.plain]
        for node in self.segment.nodes:
            for other in others:
                if node is not other and node.up:
                    reaches = self._reaches(node, other)
                    slow = SLOW_VERDICT_S if isinstance(other, Plain) else verdict
                    delay = self._draw(WORD_S if reaches else slow)
                    self.segment.at(delay, partial(self._learn, node, other, node.life, reaches=reaches))

    def _learn(self, node: Node, other: Node | Plain, life: object, *, reaches: bool) -> None:
        if node.life is life and self._reaches(node, other) == reaches:
            node.think(partial(node.sees, member(other.name, alive=reaches, meta=other.meta)))

    def _spread(self, changed: Node) -> None:
        """A member says that it may own addresses, or may not."""
        for node in self.segment.nodes:
            if node is not changed and node.up:
                self.segment.at(
                    self._draw(WORD_S), partial(self._learn, node, changed, node.life, reaches=True)
                )

    # The API server

    def _tell(self, change: Change, delay: tuple[float, float]) -> None:
        """Something changes; each node hears of it in its own time."""
        segment = self.segment
        segment.api.change(change)
        for node in segment.nodes:
            if node.up:
                node.behind += 1
                due = max(segment.now + self._draw(delay), node.read_at.get(change.kind, 0.0))
                node.read_at[change.kind] = due
                segment.at(due - segment.now, partial(self._read, node, node.life, change))

    def _read(self, node: Node, life: object, change: Change) -> None:
        if node.life is life:
            node.think(partial(node.learn, change))

    def _change(self, fault: Fault) -> None:
        """What the fault changes at the API server, and what it changes back in the end."""
        api = self.segment.api
        local = [web for web in api.webs if web.local]
        after: Change | None = None
        if (fault.kind, fault.node) in self.busy_api or (fault.kind == "move" and not local):
            return
        self.segment.note("api", f"-- {fault}")
        match fault.kind:
            case "service":
                changes = api.add(local=fault.node % 2 == 1, first=fault.node)
                after = api.webs[-1].goes() if fault.lasts < BRIEF_S else None
            case "endpoints":
                web = api.webs[fault.node % len(api.webs)]
                changes, after = [web.endpoints(ready=False)], web.endpoints()
            case "move":
                changes = [api.move(local[fault.node % len(local)])]
            case "exclude":
                name = self.segment.nodes[fault.node].name
                changes, after = [node_change(name, excluded=True)], node_change(name)
            case _:
                raise AssertionError(fault.kind)
        for change in changes:
            self._tell(change, API_S)
        self.near.ends(fault, self.segment.now)
        if after is not None:
            self.near.begins(fault)
            self.busy_api.add((fault.kind, fault.node))
            self.segment.at(fault.lasts, partial(self._change_back, fault, after))

    def _change_back(self, fault: Fault, after: Change) -> None:
        self.near.ends(fault, self.segment.now)
        self.busy_api.discard((fault.kind, fault.node))
        self.segment.note("api", f"-- {fault.kind} ends")
        self._tell(after, API_S)

    # Faults

    def _begin(self, fault: Fault) -> None:
        begin: dict[Kind, Callable[[Fault], None]] = {
            **dict.fromkeys(OF_API, self._change),
            **dict.fromkeys(OF_SEGMENT, self._begin_of_segment),
            **dict.fromkeys(OF_LOSS, self._burst),
            "plain": self._begin_plain,
            "replug": self._replug,
        }
        begin.get(fault.kind, self._begin_of_node)(fault)

    def _begin_of_node(self, fault: Fault) -> None:
        node = self.segment.nodes[fault.node]
        if node in self.busy or not node.up:
            return
        self.busy.add(node)
        self.clients.fault_begins()
        self.near.begins(fault)
        self.quiet = self.segment.now
        self.segment.note(node.name, f"-- {fault.kind} for {fault.lasts} s")
        verdict = VERDICT_S
        match fault.kind:
            case "die":
                node.stop()
            case "leave":
                node.leave()
                verdict = (0.01, 0.1)
                self.segment.at(1.0, node.stop)
            case "stall":
                node.stalled = True
            case "hang":
                node.hung = True
            case "cut":
                node.side = 1
            case "deaf":
                node.deaf = True
            case "ring-cut":
                self.ring_cut.add(node)
                verdict = SLOW_VERDICT_S
            case _:
                raise AssertionError(fault.kind)
        if fault.kind == "hang":
            self.segment.at(LEASE_S, partial(self._given_up, node, node.life))
        else:
            self._refresh(verdict)
        lasts = max(fault.lasts, 1.2) if fault.kind == "leave" else fault.lasts
        self.segment.at(lasts, partial(self._end, fault, node))

    def _replug(self, fault: Fault) -> None:
        """A node is at another port of the switch."""
        node = self.segment.nodes[fault.node]
        if not node.up:
            return
        node.port = self.segment.new_port()
        self.near.ends(fault, self.segment.now)
        self.quiet = self.segment.now
        self.clients.replugged = self.segment.now
        self.segment.note(node.name, "-- replug")

    def _begin_plain(self, fault: Fault) -> None:
        """A plain member dies, and comes back later."""
        plain = self.segment.plain[fault.node % len(self.segment.plain)]
        if plain.up:
            self.segment.note(plain.name, f"-- die for {fault.lasts} s")
            plain.up = False
            self._refresh(VERDICT_S)
            self.segment.at(fault.lasts, partial(self._end_plain, plain))

    def _end_plain(self, plain: Plain) -> None:
        self.segment.note(plain.name, "-- die ends")
        plain.up = True
        self._refresh(VERDICT_S)

    def _burst(self, fault: Fault) -> None:
        """Every frame is lost for a moment; no promise begins anew for that."""
        self.near.burst(self.segment.now, self.segment.now + fault.lasts)
        node = self.segment.nodes[fault.node]
        lossy = self.segment if fault.kind == "burst-all" else node
        self.segment.note(node.name if lossy is node else "segment", f"-- {fault.kind} for {fault.lasts} s")
        lossy.bursts += 1
        self.segment.at(fault.lasts, partial(self._end_burst, lossy))

    def _end_burst(self, lossy: Segment | Node) -> None:
        lossy.bursts -= 1

    def _begin_of_segment(self, fault: Fault) -> None:
        if fault.kind in self.busy_segment:
            return
        self.busy_segment.add(fault.kind)
        self.near.begins(fault)
        self.quiet = self.segment.now
        self.segment.note("segment", f"-- {fault.kind} for {fault.lasts} s")
        if fault.kind == "gateway":
            self.segment.gateway.carries = False
        else:
            self.segment.host_since = self.segment.now
            self.strange = min(self.strange, self.segment.now)
        self.segment.at(fault.lasts, partial(self._end_of_segment, fault))

    def _end_of_segment(self, fault: Fault) -> None:
        kind = fault.kind
        self.near.ends(fault, self.segment.now)
        self.busy_segment.discard(kind)
        self.quiet = self.segment.now
        self.segment.note("segment", f"-- {kind} ends")
        if kind == "gateway":
            self.segment.gateway.carries = True
            self.segment.gateway.table.clear()
        else:
            self.segment.host_since = None
            self.host_ended = self.segment.now

    def _given_up(self, node: Node, life: object) -> None:
        """A hung speaker's lease is over: nothing of it answers any more, and the ring holds it dead."""
        if node.life is life and node.hung:
            for other in self.segment.nodes:
                if other is not node and other.up:
                    self.segment.at(self._draw(VERDICT_S), partial(self._bury, other, node, node.life))

    def _bury(self, other: Node, node: Node, life: object) -> None:
        if node.life is life and node.hung:
            other.think(partial(other.sees, member(node.name, alive=False, meta=node.meta)))

    def _end(self, fault: Fault, node: Node) -> None:
        self.near.ends(fault, self.segment.now)
        self.quiet = self.segment.now
        self.segment.note(node.name, f"-- {fault.kind} ends")
        self.busy.discard(node)
        match fault.kind:
            case "die" | "leave":
                node.start()
                self._meet(node, node.life)
                return
            case "stall":
                node.resume()
                if fault.lasts > GAP_S and any(node.answers(web.address) for web in self.segment.api.webs):
                    raise BrokenPromiseError(f"{node.name} answers after a stall before it has asked")
            case "hang":
                node.go_on()
            case "cut":
                node.side = 0
                self.whole = self.segment.now
            case "deaf":
                node.deaf = False
                self.clients.heard_again(fault.lasts)
            case "ring-cut":
                self.ring_cut.discard(node)
            case _:
                raise AssertionError(fault.kind)
        self._refresh(VERDICT_S)

    # Promises

    def _watch(self) -> None:
        segment = self.segment
        if segment.happened != self.looked:
            self.looked = segment.happened
            for web in segment.api.webs:
                self._look(web)
        for address, since in self.two.items():
            lasts = segment.now - since
            self.worst_two = max(self.worst_two, lasts)
            if lasts > (TWO_BURSTS_S if self.bursts else TWO_S) + SAMPLE_S:
                owners = " and ".join(segment.owners(address))
                raise BrokenPromiseError(f"{owners} answered for {address} for {lasts:.2f} s")
        for address, since in self.lost.items():
            if segment.now - since > KEPT_S:
                raise BrokenPromiseError(
                    f"nobody answered for {address} any more, though somebody might own it"
                )
        for address, since in self.none.items():
            lasts = segment.now - since - self.near.lost_s(since, segment.now)
            bound = self.near.none_s(since)
            self.worst_none[bound] = max(self.worst_none.get(bound, 0.0), lasts)
            if lasts > bound + SAMPLE_S:
                raise BrokenPromiseError(
                    f"nobody answered for {address} for {lasts:.2f} s where {bound} s are promised"
                )
        for (address, name), since in self.vain.items():
            if segment.now - since > HELD_S:
                raise BrokenPromiseError(f"{name} is held for {address}, which its holder does not announce")
        self.clients.quiet = self.quiet
        self.clients.send(self._can_be_owned)

    def _look(self, web: Web) -> None:
        """Note since when what must not last is the case."""
        segment, address = self.segment, web.address
        owners = segment.owners(address)
        cut = any(node.side for node in segment.nodes)
        self._count(self.two, address, holds=len(owners) > 1 and not cut, since=self.whole)
        if owners:
            self.had.add(address)
        lost = not owners and self.calm and address in self.had
        self._count(self.lost, address, holds=lost, since=self.quiet)
        self._count(self.none, address, holds=not owners and self._can_be_owned(web), since=self.quiet)
        held = segment.held_in_vain(address)
        for node in segment.nodes:
            self._count(self.vain, (address, node.name), holds=node.name in held, since=self.quiet)
        self._judge_elections(address)

    def _held_back(self, node: Node, address: IPv4Address) -> None:
        """A node holds an address back for a stranger's sake, who may be the host or the switch's cache. Only one may that
        knew of no owner, or not the others' MACs, before there was any such thing."""
        strange = min(self.strange, self.first) if self.schedule.suppressing else self.strange
        if node.knew.get(address, math.inf) < strange:
            raise BrokenPromiseError(f"{node.name} holds {address} back for a stranger's sake")

    def _judge_elections(self, address: IPv4Address) -> None:
        """Nobody elects a plain member, and who knows of nobody who may own an address does not answer for it."""
        for node in self.segment.nodes:
            elected = node.decider.owner(address)
            if elected is not None and elected.startswith("plain"):
                raise BrokenPromiseError(f"{node.name} elects a plain member for {address}")
            if elected is None and not (node.hung or node.leaving) and node.answers(address):
                raise BrokenPromiseError(f"{node.name} answers for {address}, which nobody may own")

    def _can_be_owned(self, web: Web) -> bool:
        """Whether a node is there that must answer: one that somebody can prove the link of, that knew the others' MACs
        before a host or a cache could answer in their place, and that elects itself or, once all know the same of the
        API server, may own the address. While views differ each may elect another one, and nobody must.

        Nobody must in two more cases (docs/claims.md, limits). Where a node holds back because a host answers: a speaker
        that was started anew does not know whose the address was. And where the links of the only nodes that policy Local
        admits do not count yet, since others may own other addresses."""
        segment, address = self.segment, web.address
        strange = segment.host_since or math.inf
        if self.schedule.suppressing:
            strange = min(strange, self.first)
        sound = [
            node
            for node in segment.nodes
            if node.up and not (node.side or node.deaf or node.stalled or node.hung or node.leaving)
        ]
        views = [node.claims.view(address) for node in sound]
        if any(view is not None and view.state == "conflicted" for view in views):
            return False
        agreed = not any(node.behind for node in sound)
        admitted = segment.api.ranking(address) if agreed else ()
        fit = any(
            node.decider.owner(address) == node.name
            or (node.name in admitted and (node.ability.able or not web.local))
            for node in sound
            if node.joined and node.since < strange
        )
        return fit and (segment.gateway.carries or len(sound) > 1)

    def _count(self, since_when: dict[T, float], key: T, *, holds: bool, since: float) -> None:
        if not holds:
            since_when.pop(key, None)
        else:
            since_when[key] = max(since_when.get(key, self.segment.now), since)


def shortest(schedule: Schedule) -> tuple[Schedule, str, Sequence[str]]:
    """Leave out faults one by one while the schedule still fails; the shortest, its failure and its story."""
    failure, story = "", list[str]()
    faults = list(schedule.faults)
    position = 0
    while True:
        candidate = replace(schedule, faults=tuple(faults))
        trial = Trial(candidate)
        try:
            trial.play()
            broken = None
        except BrokenPromiseError as error:
            broken = str(error)
        if broken is not None:
            schedule, failure, story = candidate, broken, trial.segment.story
        else:
            faults = list(schedule.faults)
            position += 1
        if position >= len(schedule.faults) or len(schedule.faults) == 1:
            return schedule, failure, story
        faults = list(schedule.faults)
        del faults[position]
