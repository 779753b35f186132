"""The core of the responder process: which requests are answered, and when it must be silent. Sans-IO.

Three fences keep it from speaking for an address that may be another's by now:

* The lease. Whoever decides renews it; LEASE_S without renewal, judged by the times at which the renewals were sent, and
  the table is emptied. A lease that ran out is never renewed: later renewals and changes of that table are ignored, and
  only a command of the epoch that began with the expiry fills the table again.
* The gap. More than GAP_S between two moments at which this process ran: requests that queued up meanwhile and
  gratuitous frames that became overdue are dropped.
* The link. An interface that is gone, or whose MAC changed, is never answered for with what was true before.

Once it was told which member it is, it asks the wire before it answers for an address (announcer/layer2/claimbook.py), and
members' questions are answered with a signature.
"""

from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address

from announcer.layer2 import arp
from announcer.layer2.arp import ArpFrame, DropReason
from announcer.layer2.claimbook import ClaimBook
from announcer.layer2.claims import Alarm, Announce, Changed, Reannounce, Silence, State
from announcer.layer2.counts import Counts, Tally
from announcer.layer2.evidence import MemberQuestions
from announcer.layer2.gateways import Gateway
from announcer.layer2.gratuitous import FRAMES_PER_S, Due, GratuitousSchedule
from announcer.layer2.interfaces import MAX_INTERFACES, InterfaceView
from announcer.layer2.linkproof import CHECK_S, EXPECTED, LinkProof
from announcer.layer2.members import MemberFrames
from announcer.layer2.messages import (
    Add,
    Announced,
    Ask,
    ClaimChanged,
    Command,
    ForeignAnswer,
    HandOver,
    InterfaceFailed,
    InterfacesChanged,
    Introduce,
    LeaseExpired,
    LinkProven,
    MemberEvidence,
    Members,
    Pace,
    Remove,
    Renew,
    ResponderEvent,
    Stalled,
    Withdrawn,
)
from announcer.layer2.neighbours import Neighbours, Outgoing
from announcer.layer2.requesters import Requester, Requesters
from announcer.layer2.reunion import Reunion
from announcer.layer2.signed import MAGIC, MARK, Kind, Signer
from announcer.layer2.told import Told
from announcer.layer2.turns import Turns

LEASE_S = 1.5
GAP_S = 0.25
FRAMES_AT_ONCE = 64
"""Gratuitous frames between two looks at the requests that wait."""
ALARM_S = 60.0
"""Seconds between two ForeignAnswer events for the same address and MAC at least."""
SETTLE_S = 0.1
"""Seconds that counting a request may wait."""
_MAX_UNSETTLED = 256
"""Requests that may wait for it."""
MAX_ALARMED = 1_000
"""Pairs of address and MAC told of within ALARM_S at most: anybody on the segment can make up more."""


class ArpResponder:
    """Answers ARP for a table of addresses while its lease is valid. Times are monotonic seconds.

    After every call: `take_outputs` for what to report, `take_frames` for what to send, `next_deadline` for when to call
    `handle_timer`. Bytes from the wire never raise.
    """

    def __init__(
        self,
        *,
        now: float,
        entropy: Callable[[int], bytes],
        lease_s: float = LEASE_S,
        gap_s: float = GAP_S,
        frames_per_s: float = FRAMES_PER_S,
        frames_at_once: int = FRAMES_AT_ONCE,
    ) -> None:
        self.stalled = False
        """Frames that arrive are dropped until `resume`: they queued up while this process did not run."""
        self.busy = False
        """A frame had more to it than its reply, or many wait to be counted: `handle_timer` and what comes after it must not
        wait for the deadline."""
        self._unsettled: list[tuple[int, bytes, bool]] = []
        self._unsettled_since = now
        self._lease_s = lease_s
        self._gap_s = gap_s
        self._ran = now
        self._epoch = 0
        self._lease_ends: float | None = None
        self._table: dict[bytes, Tally] = {}
        self._counts = Counts(now)
        self._interfaces: dict[int, InterfaceView] = {}
        self._schedule = GratuitousSchedule(frames_per_s=frames_per_s, burst=frames_at_once, now=now)
        self._unannounced: dict[int, set[bytes]] = {}
        self._outputs: list[ResponderEvent] = []
        self._renewed = float("-inf")
        self._neighbours = Neighbours()
        self._turns = Turns()
        self._claims = ClaimBook(self._neighbours, self._turns, entropy, now=now)
        self._questions = MemberQuestions(self._neighbours, entropy)
        self._link = LinkProof(self._neighbours, entropy)
        self._watch_at = now
        self._unproven: set[str] = set()
        self._requesters = Requesters()
        self._reunion = Reunion(self._neighbours, entropy)
        self._members = MemberFrames(
            neighbours=self._neighbours,
            claims=self._claims,
            questions=self._questions,
            reunion=self._reunion,
            requesters=self._requesters,
        )
        self._alarmed: Told[tuple[bytes, bytes]] = Told(again_s=ALARM_S, most=MAX_ALARMED)

    def observe(self, now: float) -> bool:
        """Take note that this process runs at `now`: to be called on every wake-up, before anything else.

        Tells whether it did not run for longer than the gap.
        """
        gap = now - self._ran
        self._ran = max(self._ran, now)
        if gap <= self._gap_s:
            return False
        self.stalled = True
        self._schedule.skip_overdue(now)
        self._outputs.append(Stalled(now, gap))
        return True

    def resume(self, now: float) -> None:
        """Take note that everything that queued up over a stall has been handed in; another stall since keeps it up.

        Others may have taken over meanwhile: every address is asked for before it is answered for again.
        """
        if not self.observe(now) and self.stalled:
            self.stalled = False
            self._link.restart(now)
            self._claims.fence(now)
            self._follow(now)

    def receive_command(self, command: Command, *, now: float) -> None:
        """Follow the speaker: change the table, renew the lease. Commands of an epoch that ended are ignored."""
        match command:
            case Introduce(name=name, keys=keys):
                self._neighbours.introduce(Signer(name, keys), now)
            case Members(alive=alive, names=names):
                self._neighbours.set_alive(names, alive=alive)
                if alive:
                    self._neighbours.meet(names, now)
                    self._reunion.back(names)
                    self._claims.cut_ended(now)
                else:
                    self._reunion.gone(names, now)
            case Pace(frames_per_s=frames_per_s):
                self._schedule.set_pace(frames_per_s)
            case Ask(name=member, address=address):
                self._questions.ask(member, address, now)
            case Renew() | Add() | Remove() | HandOver() if command.epoch == self._epoch:
                if self._renew(command, now):
                    self._change_table(command, now)
            case _:
                pass
        self._follow(now)

    def _change_table(self, command: Renew | Add | Remove | HandOver, now: float) -> None:
        match command:
            case Add(addresses=addresses, known=known, turn=turn):
                self._turns.give(addresses, turn)
                for address in addresses:
                    if self._neighbours.signer is not None:
                        self._claims.want(address, now, known=known)
                    else:
                        self._add(address, now)
            case HandOver(to=to, addresses=addresses):
                for address in addresses:
                    self._claims.hand_over(address, to, now)
            case Remove(addresses=addresses):
                for address in addresses:
                    self._claims.drop(address)
                    self._remove(address)
                    self._turns.forget(address)
            case Renew():
                pass

    def set_interfaces(self, interfaces: Iterable[InterfaceView], *, now: float) -> None:
        """Answer on these interfaces from now on. On one that came up or changed its MAC, every address is made known."""
        wanted = {view.index: view for view in interfaces}
        for view in list(wanted.values())[MAX_INTERFACES:]:
            del wanted[view.index]
            self.interface_failed(view.name, f"more than {MAX_INTERFACES} interfaces qualify")
        if wanted == self._interfaces:
            return
        self._settle(now)
        before, self._interfaces = self._interfaces, wanted
        gone = [view for index, view in before.items() if index not in wanted]
        homes = self._claims.sole_homes()
        lost = [
            view.name
            for view in gone
            if view.index in homes and self._neighbours.members_on(view.index) >= EXPECTED
        ]
        for index, view in before.items():
            if index not in wanted or wanted[index].mac != view.mac:
                self._schedule.stop_interface(index)
                if index not in wanted:
                    self._requesters.stop_interface(index)
                self._unannounced.pop(index, None)
        for index, view in wanted.items():
            if index not in before or before[index].mac != view.mac:
                self._unannounced[index] = set(self._table)
                for address in self._table:
                    self._make_known(address, index, now)
        self._outputs.append(InterfacesChanged(tuple(wanted.values())))
        self._neighbours.set_interfaces(wanted, now)
        for name in lost:
            self._tell_proven(name, proven=False)
        for index, view in wanted.items():
            if index not in before:
                self._tell_proven(view.name, proven=True)
        self._claims.interfaces_changed(now)
        self._link.watch(self._claims.sole_homes(), now)
        self._follow(now)

    def set_gateways(self, gateways: Mapping[int, Gateway], *, now: float) -> None:
        """Take note of the default gateway of each interface that has one."""
        self._neighbours.set_gateways(gateways, now)

    def interface_failed(self, interface: str, detail: str) -> None:
        """Report that an interface cannot be used."""
        self._outputs.append(InterfaceFailed(interface, detail))

    def receive_frame(self, interface: int, frame: bytes, foreign: bool, now: float) -> bytes | None:
        """Decide on a frame; returns the reply to send on the same interface, if any. Report it to `reply_sent`.

        `foreign`: the kernel holds it for somebody else's although the destination is ours; it does so with frames of a
        VLAN that is not configured here, whose tag it has taken off.
        """
        # Whoever asks waits for each line up to the reply, since by the next request it has left the processor's caches.
        # So what is done here for an ordinary request is no more than it needs.
        if now > self._ran + self._gap_s:
            self.observe(now)
        self._ran = now
        if self._lease_ends is not None and now > self._lease_ends:
            self._expire(now)
        view = self._interfaces.get(interface)
        if view is None:
            reply: bytes | DropReason = DropReason.CLOSED
        elif self.stalled:
            reply = DropReason.STALLED
        else:
            reply = arp.answer(frame, view.mac, self._table)
            if foreign or isinstance(reply, DropReason) or frame[MARK] == MAGIC:
                reply = self._look_closer(interface, frame, reply, foreign, now)
        if isinstance(reply, DropReason):
            self._counts.drop(reply, now)
            return None
        return reply

    def reply_sent(self, interface: int, request: bytes, *, success: bool) -> None:
        """Take note of what became of the reply to a request. Counting waits for `handle_timer`: the next to ask does not."""
        if not self._unsettled:
            self._unsettled_since = self._ran
        self._unsettled.append((interface, request, success))
        if len(self._unsettled) >= _MAX_UNSETTLED:
            self.busy = True

    def _settle(self, now: float) -> None:
        """Count the requests that were answered, and take note of who asked."""
        if not self._unsettled:
            return
        unsettled, self._unsettled = self._unsettled, []
        for interface, request, success in unsettled:
            address = arp.target_ip(request)
            tally = self._counts.of(address)
            if tally is not None:
                tally.requests += 1
                tally.responses += success
                self._counts.moved(address, now)
            if not success:
                self._counts.drop(DropReason.ERROR, now)
            heard = arp.parse(request)
            if not isinstance(heard, ArpFrame) or self._members.trailer(request) is not None:
                continue
            # Not `now`: this process may have stood still since.
            self._neighbours.notice(interface, heard, self._unsettled_since)
            self._requesters.hear(interface, heard, now)
            if heard.sender_ip == address:
                self._members.hear_unproven(interface, heard, now)

    def read_failed(self, now: float) -> None:
        """Take note that a frame could not be read."""
        self._counts.drop(DropReason.ERROR, now)

    def take_frames(self, now: float) -> list[tuple[Due, bytes]]:
        """Return the gratuitous frames to send now. Report each to `frame_sent`."""
        self._expire_if_due(now)
        return [
            (due, self._news(due, view))
            for due in self._schedule.take(now)
            if (view := self._interfaces.get(due.interface)) is not None
        ]

    def take_questions(self) -> list[Outgoing]:
        """Return the frames that claims, hellos and evidence need sent now; nobody asks what became of them."""
        frames, self._neighbours.frames = self._neighbours.frames, []
        return frames

    def making_known(self) -> bool:
        """Whether more gratuitous frames are to come."""
        return self._schedule.next_deadline() is not None

    def frame_sent(self, due: Due, *, success: bool, now: float) -> None:
        """Take note of what became of a gratuitous frame; the first one that was sent makes the address announced."""
        tally = self._table.get(due.address)
        view = self._interfaces.get(due.interface)
        if tally is None or view is None:
            return
        if not success:
            self._counts.drop(DropReason.ERROR, now)
            return
        if due.to is not None:
            return
        tally.gratuitous += 1
        self._counts.moved(due.address, now)
        unannounced = self._unannounced.get(due.interface, set())
        if due.address in unannounced:
            unannounced.discard(due.address)
            if not unannounced:
                del self._unannounced[due.interface]
            self._outputs.append(Announced(IPv4Address(due.address), view.name, now))

    def next_deadline(self) -> float | None:
        """Return when `handle_timer` or `take_frames` has something to do, None for never."""
        report_at = None if self._outputs else self._counts.report_at
        deadlines = (
            self._lease_ends,
            report_at,
            self._schedule.next_deadline(),
            self._claims.next_deadline(),
            self._reunion.next_deadline(),
            self._questions.next_deadline(),
            self._link.next_deadline(),
            self._watch_at if len(self._claims) else None,
            self._neighbours.next_deadline(),
            self._unsettled_since + SETTLE_S if self._unsettled else None,
        )
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Do what is due: an overdue lease, questions, reports. After a stall: only once the commands were handed in."""
        self._expire_if_due(now)
        self._settle(now)
        self._claims.handle_timer(now)
        self._questions.handle_timer(now)
        self._watch_links(now)
        self._neighbours.handle_timer(now)
        if not self.stalled:
            self._reunion.handle_timer(now)
        self._follow(now)
        self.busy = False
        # A report waits until the outputs before it were taken, so reports that nobody reads cannot pile up.
        report_at = self._counts.report_at
        if report_at is not None and now >= report_at and not self._outputs:
            self._outputs.append(self._counts.take_report(now))

    def _watch_links(self, now: float) -> None:
        """See whether the links that addresses depend on carry frames; an address behind a lost one is let go."""
        if now >= self._watch_at:
            self._watch_at = now + CHECK_S
            self._link.watch(self._claims.sole_homes(), now)
        if not self.stalled:
            self._link.handle_timer(now)
        for index, proven in self._link.take_changes():
            if proven:
                self._neighbours.greet(index)
            else:
                self._claims.link_lost(index, now)
            self._tell_proven(self._interfaces[index].name, proven=proven)

    def _tell_proven(self, name: str, *, proven: bool) -> None:
        """An interface on which members were heard and that is gone is as lost as one that carries nothing."""
        if proven is (name in self._unproven):
            (self._unproven.discard if proven else self._unproven.add)(name)
            self._outputs.append(LinkProven(name, proven))

    def take_outputs(self) -> list[ResponderEvent]:
        """Return what happened since the last call, oldest first."""
        outputs, self._outputs = self._outputs, []
        return outputs

    def _look_closer(
        self, interface: int, frame: bytes, reply: bytes | DropReason, foreign: bool, now: float
    ) -> bytes | DropReason:
        """Take in what else a frame tells; the reply to it, or why there is none. `reply`: as if nothing were special."""
        if foreign:
            return reply if isinstance(reply, DropReason) else DropReason.VLAN_TAGGED
        heard = arp.parse(frame)
        if isinstance(heard, DropReason):
            return heard
        self._neighbours.notice(interface, heard, now)
        trailer = self._members.trailer(frame)
        if trailer is not None:
            self.busy = True
            if trailer.kind is Kind.QUESTION:
                reply = self._members.answer(
                    self._interfaces[interface],
                    frame,
                    reply,
                    trailer,
                    now,
                    lives=now <= self._renewed + self._lease_s,
                )
            else:
                self._members.receive(interface, heard, trailer, now)
                reply = DropReason.SIGNED
            if isinstance(reply, DropReason):
                self._follow(now)
            return reply
        if heard.operation == arp.REPLY:
            self.busy = True
            if self._neighbours.hear(interface, heard, now):
                self._claims.gateway_back(interface, now)
            self._members.hear_unproven(interface, heard, now)
            self._follow(now)
        if isinstance(reply, DropReason):
            self._requesters.hear(interface, heard, now)
        return reply

    def _make_known(self, address: bytes, index: int, now: float) -> None:
        """Tell everybody on the interface, and those one by one who are known to have use for it."""
        self._schedule.start(
            address, index, now=now, turn=self._turns.of(address), directed=self._users(address, index, now)
        )

    def _users(self, address: bytes, index: int, now: float) -> list[Requester]:
        """Who has use for an address on an interface: none where it is not at home."""
        if index not in self._neighbours.home(address):
            return []
        self._settle(now)
        hosts = self._requesters.of(index, address, now)
        gateway = self._neighbours.gateway_at(index)
        if gateway is not None and all(host.address != gateway[1] for host in hosts):
            hosts.append(Requester(*gateway))
        return hosts

    def _news(self, due: Due, view: InterfaceView) -> bytes:
        if due.to is not None:
            return arp.directed(
                mac=view.mac, address=due.address, to_mac=due.to.mac, to_address=due.to.address
            ).encode()
        frame = arp.gratuitous(due.operation, mac=view.mac, address=due.address)
        signer = self._neighbours.signer
        return signer.sign(frame, Kind.ANNOUNCEMENT) if signer is not None else frame.encode()

    def _follow(self, now: float) -> None:
        """Do what the claims say, and pass on what was found out."""
        for output in self._claims.take_outputs():
            match output:
                case Announce(address):
                    self._add(address, now)
                case Silence(address):
                    self._remove(address)
                case Reannounce(address):
                    for index in self._interfaces:
                        self._schedule.repeat(
                            address, index, now=now, directed=self._users(address, index, now)
                        )
                case Changed(address, state, reason, holder, mac):
                    if state is State.IDLE:
                        self._turns.forget(address)
                    self._outputs.append(ClaimChanged(IPv4Address(address), state, reason, holder, mac))
                case Alarm():
                    self._alarm(output, now)
        self._outputs += [
            MemberEvidence(name, answer, proven) for name, answer, proven in self._questions.take_results()
        ]
        if not self._table and not len(self._claims):
            self._lease_ends = None

    def _alarm(self, alarm: Alarm, now: float) -> None:
        """Report who answers for an address of ours, at most once in ALARM_S for the same MAC."""
        # The limit comes before the search for whose MAC it is: how many alarms there are a stranger decides.
        if self._alarmed.tell((alarm.address, alarm.mac), now) is not None:
            member = self._neighbours.member_with(alarm.mac, now) or b""
            self._outputs.append(ForeignAnswer(IPv4Address(alarm.address), alarm.mac, member))

    def _renew(self, command: Renew | Add | Remove | HandOver, now: float) -> bool:
        """Extend the lease to what the command's own time allows; False where it had run out by then."""
        self._renewed = max(self._renewed, command.at)
        # An empty table needs no lease and a renewal fills none.
        if self._lease_ends is None:
            if not isinstance(command, Add):
                return False
            self._lease_ends = command.at + self._lease_s
            return True
        if command.at > self._lease_ends:
            self._expire(now)
            return False
        self._lease_ends = max(self._lease_ends, command.at + self._lease_s)
        return True

    def _expire_if_due(self, now: float) -> None:
        if self._lease_ends is not None and now > self._lease_ends:
            self._expire(now)

    def _expire(self, now: float) -> None:
        self.busy = True
        self._epoch += 1
        self._lease_ends = None
        self._table.clear()
        self._claims.clear()
        self._turns.clear()
        self._schedule.clear()
        self._unannounced.clear()
        self._outputs.append(LeaseExpired(now, self._epoch))

    def _add(self, address: bytes, now: float) -> None:
        if address in self._table:
            return
        self._table[address] = self._counts.tally(address, self._table)
        self._requesters.share(address)
        for index in self._interfaces:
            self._unannounced.setdefault(index, set()).add(address)
            self._make_known(address, index, now)

    def _remove(self, address: bytes) -> None:
        if self._table.pop(address, None) is None:
            return
        self._schedule.stop_address(address)
        for unannounced in self._unannounced.values():
            unannounced.discard(address)
        self._outputs.append(Withdrawn(IPv4Address(address)))
