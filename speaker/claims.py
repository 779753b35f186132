"""What the responder is told of this node's claims, and what it says of them: between decisions, ring and wire."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from typing import Final

from announcer.layer2.claims import ANSWERING, Reason, State
from announcer.layer2.evidence import Answer
from announcer.layer2.handle import Responder
from announcer.layer2.messages import ClaimChanged, ForeignAnswer
from announcer.layer2.turns import LAST_TURN
from gossip.member import MemberView
from gossip.meta import Meta
from gossip.watch import WireAnswer
from speaker.decide import Address, Decisions, Offer
from speaker.lines import Line

WIRE_ANSWERS: Final[Mapping[Answer, WireAnswer]] = {
    Answer.ANSWERED: WireAnswer.ANSWERED,
    Answer.SILENT: WireAnswer.SILENT,
    Answer.NO_WIRE: WireAnswer.NO_WIRE,
}
"""The ring's words for what the responder found out of a member."""


_ANNOUNCED_BY_ANOTHER: Final = (Reason.HOLDER_ANSWERS, Reason.OTHER_ANNOUNCES)


@dataclass(frozen=True, slots=True)
class ClaimView:
    """Where the claim for one address stands; `holder` is the member that holds it, empty for none.

    `since` is when it came into this state, in monotonic seconds; `answering` whether this node answers in it; `mac` who
    answered where it is conflicted, else empty.
    """

    state: str
    reason: str
    holder: str
    since: float
    answering: bool
    mac: str = ""


def _word(value: State | Reason) -> str:
    head, *rest = value.name.lower().split("_")
    return head + "".join(part.capitalize() for part in rest)


STATES: Final = tuple(map(_word, State))
"""The states of a claim in the words of logs, status and metrics (docs/claims.md)."""


class Claims:
    """This node's claims as the responder knows them. One task owns it.

    Only members with our Meta take part: a plain member (MetalLB) neither asks nor hands over, so an address goes to it at
    once. `foreign_answers` counts what was told of answers by something that is no speaker.
    """

    def __init__(self, node: str, responder: Responder) -> None:
        self.foreign_answers = 0
        self._node = node
        self._responder = responder
        self._ours: set[str] = set()
        self._owned: set[IPv4Address] = set()
        self._known: set[IPv4Address] = set()
        self._turns: dict[IPv4Address, int] = {}
        self._yielding: dict[IPv4Address, str] = {}
        self._views: dict[Address, ClaimView] = {}

    # What the ring says

    def introduce(self, keys: Sequence[bytes]) -> None:
        """The ring has these keys (the first one signs); from the first call on the wire is asked before announcing."""
        self._responder.introduce(self._node, keys)

    def set_members(self, views: Iterable[MemberView]) -> None:
        """These are all members of the ring."""
        ours = {view.name for view in views if self._takes_part(view)}
        gone, self._ours = self._ours - ours, ours
        self._responder.set_members(gone, alive=False)
        self._responder.set_members(ours, alive=True)

    def member_changed(self, view: MemberView) -> None:
        """A member came, went or changed."""
        takes_part = self._takes_part(view)
        if takes_part == (view.name in self._ours):
            return
        (self._ours.add if takes_part else self._ours.discard)(view.name)
        self._responder.set_members([view.name], alive=takes_part)

    def doubt(self, view: MemberView) -> None:
        """The ring has not heard a member lately: ask it on the wire. A ring over IPv6 has no wire yet."""
        with suppress(AddressValueError):
            self._responder.ask(view.name, IPv4Address(view.address))

    def _takes_part(self, view: MemberView) -> bool:
        return view.name != self._node and view.state.present and Meta.decode(view.meta) is not None

    # What was decided

    def decided(
        self, decisions: Decisions, table: Collection[Address], owner: Callable[[Address], str | None]
    ) -> None:
        """`table` is what this node is to announce, `owner` who owns an address."""
        for change in decisions.owner_changes:
            ip = change.ip
            if isinstance(ip, IPv4Address) and ip in self._yielding and change.owner != self._node:
                self._let_go([ip], owner)
        turned = self._take_turns(decisions.offered)
        if decisions.table is None:
            self._own(turned & self._owned)
            return
        owned_before = {change.ip for change in decisions.owner_changes if change.owned_before}
        wanted = {address for address in table if isinstance(address, IPv4Address)}
        gained, lost = wanted - self._owned, self._owned - wanted
        self._owned = wanted
        for address in gained:
            self._yielding.pop(address, None)
        for address in lost:
            self._turns.pop(address, None)
        self._known = (self._known - lost) | (gained & owned_before)
        self._let_go(lost, owner)
        self._own(gained | (turned & wanted))

    def own_again(self) -> None:
        """The responder has lost its table: all of it is wanted anew."""
        self._yielding.clear()
        self._views.clear()
        self._own(self._owned)

    def _own(self, addresses: set[IPv4Address]) -> None:
        """Want addresses, those that go first before others, or tell another turn of them; a stranger's answer counts only
        for those that no other member owned before."""
        alike: dict[tuple[int, bool], set[IPv4Address]] = {}
        for address in addresses:
            key = self._turns.get(address, LAST_TURN), address not in self._known
            alike.setdefault(key, set()).add(address)
        for turn, fresh in sorted(alike):
            self._responder.own(alike[turn, fresh], known=not fresh, turn=turn)

    def _take_turns(self, offers: Iterable[Offer]) -> set[IPv4Address]:
        """The addresses that have another turn from now on."""
        turned: set[IPv4Address] = set()
        for offer in offers:
            ip = offer.ip
            if isinstance(ip, IPv4Address) and self._turns.get(ip, LAST_TURN) != offer.turn:
                turned.add(ip)
                self._turns[ip] = offer.turn
        return turned

    def leave(self) -> None:
        """Whoever asks may have everything."""
        self._responder.hand_over(self._owned, None)

    def _let_go(self, addresses: Iterable[IPv4Address], owner: Callable[[Address], str | None]) -> None:
        """Hand over to those that take part, drop the rest."""
        to: dict[str, list[IPv4Address]] = {}
        dropped: list[IPv4Address] = []
        for address in addresses:
            heir = owner(address)
            if heir is not None and heir in self._ours:
                to.setdefault(heir, []).append(address)
                self._yielding[address] = heir
            else:
                dropped.append(address)
                self._yielding.pop(address, None)
        for heir, given in to.items():
            self._responder.hand_over(given, heir)
        if dropped:
            self._responder.drop(dropped)

    # What the responder says

    def changed(self, event: ClaimChanged, now: float) -> Line | None:
        """A claim is in another state, or in the same one for another reason; the line to write, for those that a reader of
        logs wants to know."""
        holder = self._responder.name_of(event.holder)
        word, before = _word(event.state), self._views.get(event.address)
        view = ClaimView(
            state=word,
            reason=_word(event.reason),
            holder=holder,
            since=before.since if before is not None and before.state == word else now,
            answering=event.state in ANSWERING,
            mac=event.mac.hex(":"),
        )
        if event.address in self._owned and (
            event.state is State.ANNOUNCING or event.reason in _ANNOUNCED_BY_ANOTHER
        ):
            self._known.add(event.address)
        if event.state is State.IDLE:
            self._views.pop(event.address, None)
            self._yielding.pop(event.address, None)
        else:
            self._views[event.address] = view
        told = event.state in (State.HELD, State.CONFLICTED, State.HANDING_OVER)
        if not told and event.reason not in (Reason.LINK_NOT_PROVEN, Reason.NOT_TAKEN):
            return None
        return Line(
            "info" if told and event.state is not State.CONFLICTED else "warning",
            "claimChanged",
            {"ip": str(event.address), "state": view.state, "reason": view.reason, "holder": holder or None},
        )

    def foreign(self, event: ForeignAnswer) -> Line:
        """Something that is no speaker answers for an address of ours or announces it."""
        self.foreign_answers += 1
        member = self._responder.name_of(event.member)
        mac = event.mac.hex(":")
        who = f"the MAC of node {member}" if member else "no speaker's MAC"
        return Line(
            "warning",
            "foreignAnswer",
            {
                "ip": str(event.address),
                "mac": mac,
                "member": member or None,
                "msg": f"{mac}, {who}, says by ARP that it has {event.address}",
            },
        )

    def view(self, address: Address) -> ClaimView | None:
        """Where the claim for an address stands here, None where this node has none."""
        return self._views.get(address)

    def silent(self, address: Address) -> bool:
        """Whether there is a claim for an address here that does not allow to answer for it."""
        view = self._views.get(address)
        return view is not None and not view.answering

    def by_state(self, addresses: int) -> Mapping[str, int]:
        """How many of all the addresses that are elected, `addresses`, have their claim here in which state; none is idle."""
        counted = Counter(view.state for view in self._views.values())
        # What is no longer elected may still have a claim, until the responder says that it has let go.
        counted[_word(State.IDLE)] = max(0, addresses - len(self._views))
        return {state: counted[state] for state in STATES}
