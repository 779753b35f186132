"""What the responder is told when decisions and members change, and the lines for what it says."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from typing import cast

from announcer.layer2.claims import Reason, State
from announcer.layer2.handle import Responder
from announcer.layer2.messages import ClaimChanged, ForeignAnswer
from announcer.layer2.turns import LAST_TURN
from gossip.member import MemberState, MemberView, Versions
from speaker.claims import Claims, ClaimView
from speaker.decide import Address, Decisions, Offer, OwnerChange
from speaker.ring import meta

VIP = IPv4Address("198.18.1.0")
OURS = MemberView(
    name="n2",
    address="198.18.0.12",
    port=7946,
    state=MemberState.ALIVE,
    incarnation=1,
    meta=meta("0.1.0", eligible=True),
    versions=Versions(1, 5, 2, 0, 0, 0),
    since=0.0,
)
PLAIN = replace(OURS, name="n3", meta=b"")


class Told:
    """Notes what the responder is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.turns: list[int] = []

    def own(self, addresses: Collection[IPv4Address], *, known: bool = False, turn: int = LAST_TURN) -> None:
        self.calls.append(("own", set(addresses), known))
        self.turns.append(turn)

    def hand_over(self, addresses: Collection[IPv4Address], to: str | None) -> None:
        self.calls.append(("hand_over", set(addresses), to))

    def drop(self, addresses: Collection[IPv4Address]) -> None:
        self.calls.append(("drop", set(addresses)))

    def introduce(self, name: str, keys: Sequence[bytes]) -> None:
        self.calls.append(("introduce", name, tuple(keys)))

    def set_members(self, names: Collection[str], *, alive: bool) -> None:
        self.calls.append(("members", set(names), alive))

    def ask(self, name: str, address: IPv4Address) -> None:
        self.calls.append(("ask", name, str(address)))

    def name_of(self, hashed: bytes) -> str:
        return hashed.decode()

    def take(self) -> list[tuple[object, ...]]:
        calls, self.calls = self.calls, []
        return calls


def made() -> tuple[Claims, Told]:
    told = Told()
    claims = Claims("n1", cast("Responder", told))
    claims.set_members([OURS, PLAIN])
    told.take()
    return claims, told


def owner_is(
    claims: Claims, owner: str | None, previous: str | None, *, owned_before: bool | None = None
) -> None:
    before = previous is not None if owned_before is None else owned_before
    change = OwnerChange(VIP, ("default/web",), owner, previous, "memberDead", before)
    table = frozenset[Address]({VIP} if owner == "n1" else ())
    moved = table if "n1" in (owner, previous) else None
    claims.decided(Decisions((change,), moved, (), {}), table, lambda _: owner)


def test_an_address_that_somebody_owned_is_taken_whatever_answers_unsigned() -> None:
    claims, told = made()
    owner_is(claims, "n1", None)
    assert told.take() == [("own", {VIP}, False)]
    owner_is(claims, None, "n1")
    assert told.take() == [("drop", {VIP})]
    owner_is(claims, "n1", "n2")
    assert told.take() == [("own", {VIP}, True)]
    owner_is(claims, None, "n1")
    owner_is(claims, "n1", None, owned_before=True)
    assert told.take()[1:] == [("own", {VIP}, True)]


def test_ours_are_handed_over_to_and_plain_members_get_it_at_once() -> None:
    claims, told = made()
    owner_is(claims, "n1", None)
    owner_is(claims, "n2", "n1")
    owner_is(claims, "n3", "n2")
    assert told.take()[1:] == [("hand_over", {VIP}, "n2"), ("drop", {VIP})]


def test_a_successor_that_is_followed_by_another_gives_way_to_it() -> None:
    claims, told = made()
    claims.member_changed(replace(OURS, name="n4"))
    owner_is(claims, "n1", None)
    owner_is(claims, "n2", "n1")
    owner_is(claims, "n4", "n2")
    owner_is(claims, "n1", "n4")
    assert told.take()[2:] == [
        ("hand_over", {VIP}, "n2"),
        ("hand_over", {VIP}, "n4"),
        ("own", {VIP}, True),
    ]


def test_members_are_told_once_and_only_ours() -> None:
    claims, told = made()
    claims.member_changed(OURS)
    claims.member_changed(PLAIN)
    claims.member_changed(replace(OURS, state=MemberState.SUSPECT))
    claims.member_changed(replace(OURS, state=MemberState.DEAD))
    claims.doubt(OURS)
    claims.doubt(replace(OURS, address="2001:2::12"))
    assert told.take() == [("members", {"n2"}, False), ("ask", "n2", "198.18.0.12")]


def test_after_an_expired_lease_everything_is_wanted_again_and_who_leaves_offers_everything() -> None:
    claims, told = made()
    owner_is(claims, "n1", None)
    told.take()
    claims.own_again()
    assert told.take() == [("own", {VIP}, False)], "nobody has announced it yet: it may be a stranger's"
    claims.changed(ClaimChanged(VIP, State.ANNOUNCING, Reason.SILENCE, b""), 5.0)
    claims.own_again()
    claims.leave()
    assert told.take() == [("own", {VIP}, True), ("hand_over", {VIP}, None)]


def test_what_another_announces_is_no_strangers() -> None:
    claims, told = made()
    owner_is(claims, "n1", None)
    told.take()
    claims.changed(ClaimChanged(VIP, State.HELD, Reason.OTHER_ASKS, b"n2"), 5.0)
    claims.own_again()
    claims.changed(ClaimChanged(VIP, State.HELD, Reason.HOLDER_ANSWERS, b"n2"), 5.0)
    claims.own_again()
    assert told.take() == [("own", {VIP}, False), ("own", {VIP}, True)]


def test_lines_and_view_of_claims() -> None:
    claims, _ = made()
    assert claims.changed(ClaimChanged(VIP, State.ASKING, Reason.WANTED, b""), 5.0) is None
    held = claims.changed(ClaimChanged(VIP, State.HELD, Reason.HOLDER_ANSWERS, b"n2"), 5.0)
    assert held is not None
    assert (held.level, held.event) == ("info", "claimChanged")
    assert held.fields == {"ip": str(VIP), "state": "held", "reason": "holderAnswers", "holder": "n2"}
    assert claims.view(VIP) == ClaimView("held", "holderAnswers", "n2", 5.0, answering=False)
    unproven = claims.changed(ClaimChanged(VIP, State.ASKING, Reason.LINK_NOT_PROVEN, b""), 5.0)
    assert unproven is not None
    assert unproven.level == "warning"
    claims.changed(ClaimChanged(VIP, State.IDLE, Reason.NOT_OURS, b""), 5.0)
    assert claims.view(VIP) is None
    foreign = claims.foreign(ForeignAnswer(VIP, bytes.fromhex("0200000000aa"), b"n2"))
    assert (
        foreign.fields["msg"] == "02:00:00:00:00:aa, the MAC of node n2, says by ARP that it has 198.18.1.0"
    )


def test_since_when_a_claim_is_in_its_state() -> None:
    claims, _ = made()

    def since(state: State, reason: Reason, holder: bytes, now: float) -> float:
        claims.changed(ClaimChanged(VIP, state, reason, holder), now)
        view = claims.view(VIP)
        assert view is not None
        return view.since

    assert since(State.ASKING, Reason.WANTED, b"", 1.0) == 1.0
    assert since(State.HELD, Reason.OTHER_ASKS, b"n2", 2.0) == 2.0
    assert since(State.HELD, Reason.HOLDER_ANSWERS, b"n4", 3.0) == 2.0, "held as before, by another"
    assert since(State.ANNOUNCING, Reason.TOLD_TO, b"", 4.0) == 4.0
    claims.own_again()
    assert claims.view(VIP) is None
    assert since(State.ANNOUNCING, Reason.SILENCE, b"", 9.0) == 9.0, "its lease was lost in between"


def test_a_claim_that_does_not_allow_to_answer() -> None:
    claims, _ = made()
    assert not claims.silent(VIP), "without a ring there are no claims"
    for state in State:
        claims.changed(ClaimChanged(VIP, state, Reason.WANTED, b""), 5.0)
        assert claims.silent(VIP) is (state in (State.ASKING, State.HELD, State.CONFLICTED))


def offered(table: Collection[Address], *turns: tuple[IPv4Address, int], moved: bool = True) -> Decisions:
    offers = tuple(Offer("default/web", ip, "lan", "layer2", turn) for ip, turn in turns)
    return Decisions((), frozenset(table) if moved else None, offers, {})


def test_addresses_are_wanted_by_turn_and_another_turn_is_told_by_itself() -> None:
    claims, told = made()
    vips = [VIP + number for number in range(4)]
    turns = list(zip(vips, (LAST_TURN, 9, -3, 9), strict=True))

    def taken() -> list[tuple[object, ...]]:
        pairs = list(zip(told.take(), told.turns, strict=True))
        told.turns.clear()
        return [(turn, *call) for call, turn in pairs]

    claims.decided(offered(vips, *turns), vips, lambda _: "n1")
    assert taken() == [
        (-3, "own", {vips[2]}, False),
        (9, "own", {vips[1], vips[3]}, False),
        (LAST_TURN, "own", {vips[0]}, False),
    ]
    claims.changed(ClaimChanged(vips[0], State.ANNOUNCING, Reason.SILENCE, b""), 5.0)
    claims.decided(offered((), (vips[0], 9), (vips[1], 9), moved=False), vips, lambda _: "n1")
    assert taken() == [(9, "own", {vips[0]}, True)]
    claims.own_again()
    assert taken() == [
        (-3, "own", {vips[2]}, False),
        (9, "own", {vips[0]}, True),
        (9, "own", {vips[1], vips[3]}, False),
    ]
    more = [*vips, VIP + 4]
    claims.decided(offered(more, (VIP + 4, LAST_TURN), (vips[3], -9)), more, lambda _: "n1")
    assert taken() == [(-9, "own", {vips[3]}, False), (LAST_TURN, "own", {VIP + 4}, False)]


def test_an_address_that_is_being_handed_over_is_not_wanted_again_for_another_turn() -> None:
    claims, told = made()
    claims.decided(offered([VIP], (VIP, 9)), [VIP], lambda _: "n1")
    claims.decided(offered([]), [], lambda _: "n2")
    told.take()
    claims.decided(offered([], (VIP, 1), moved=False), [], lambda _: "n2")
    assert told.take() == []
