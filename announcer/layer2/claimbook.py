"""Claims: an address is announced only after the wire was asked, and handed over before it is let go. Sans-IO.

The words are those of announcer/layer2/claims.py; docs/claims.md tells the protocol with pictures.
"""

import heapq
from collections.abc import Callable, Collection, Iterable
from typing import Final

from announcer.layer2.arp import ArpFrame
from announcer.layer2.claims import (
    ANSWERING,
    ANYONE,
    Alarm,
    Announce,
    Changed,
    ClaimOutput,
    Reannounce,
    Reason,
    Silence,
    State,
)
from announcer.layer2.evidence import APART_S, QUESTIONS
from announcer.layer2.holders import Holders
from announcer.layer2.neighbours import Neighbours
from announcer.layer2.signed import NONCE_BYTES, Trailer, rank
from announcer.layer2.turns import LAST_TURN, Turns

ALONE_S: Final = 1.0
"""How long to ask where nobody is known who could prove that our link works."""
LONELY_S: Final = 5.0
"""How long to ask where no member lives and a gateway that once answered does not: it may be gone, or our link cut. Others
are heard then, or there is nobody to announce to."""
RETRY_S: Final = 0.2
"""Between two windows once `ALONE_S` are over and our link is still not proven."""
CONTEST_S: Final = 0.12
"""How long who ranks first among several askers has before the others ask again."""
OFFER_S: Final = 0.3
LET_GO_S: Final = 1.0
"""How long to go on answering after another was told to take over."""
REANNOUNCE_S: Final = 0.25
"""Between two announcements at least, against another who announces the same address, or because a cut may have ended."""
GATEWAY_BACK_S: Final = 600.0
GATEWAY_BACK_AT_ONCE: Final = 6
"""Announcements of everything because a gateway is back: one in so many seconds, and so many at once after a time without."""
GATEWAY_BACK_ALONE_S: Final = 0.5
"""How long to wait with that where no member lives: if this node was cut off from the others, their first answer tells sooner, and
until then the kernel may not know where they are to whom it forwards."""
BACK_OFF_S: Final = (1.0, 60.0)
"""First and longest time between two tries to get an address that a stranger answers for."""
TELL_S: Final = 2.4
"""How long to go on telling what is announced after a silence, or again: who has it may hear nothing for a moment. A node whose
link stays dead finds out within 2.8 s (announcer/layer2/linkproof.py), and nobody follows it within the first half second;
where it cannot find out, the wire tells when it is back (announcer/layer2/reunion.py)."""
TELL_AGAIN_S: Final = 0.3
TOLD_AT_ONCE: Final = 16
"""Addresses told of so at a time."""
STEPS_PER_S: Final = 10_000.0
STEPS_AT_ONCE: Final = 64
_NEVER: Final = float("-inf")


class _Claim:
    """One address. There are thousands: what is worked out quickly is not kept."""

    __slots__ = (
        "asked_directly",
        "back_off",
        "contested",
        "due",
        "fresh",
        "holder",
        "known",
        "let_go",
        "nonce",
        "questions",
        "reason",
        "since",
        "started",
        "state",
        "successor",
    )

    def __init__(self, *, known: bool) -> None:
        self.known = known
        self.state = State.IDLE
        self.reason: Reason | None = None
        self.due: float | None = None
        self.fresh = False
        """Whether it came anew, perhaps with many others, and its first window is not over."""
        self.since = 0.0
        self.started = 0.0
        self.questions = 0
        self.nonce = b""
        self.asked_directly = b""
        self.holder = b""
        self.successor = b""
        self.let_go: float | None = None
        self.back_off = BACK_OFF_S[0]
        self.contested = _NEVER


class ClaimBook:
    """All claims of this node. Times are monotonic seconds, addresses packed, names hashed.

    After every call: `take_outputs`, and the frames that pile up in `neighbours`. `turns` says which of the addresses that
    come at once go first, from the first question to the verdict on it.
    """

    def __init__(
        self, neighbours: Neighbours, turns: Turns, entropy: Callable[[int], bytes], *, now: float
    ) -> None:
        self._neighbours = neighbours
        self._turns = turns
        self._entropy = entropy
        self._claims: dict[bytes, _Claim] = {}
        self._holders = Holders(neighbours, entropy)
        self._timers: list[tuple[float, bytes]] = []
        self._ready: list[tuple[int, float, bytes]] = []
        """What is due and waits for the pace: the first windows of what came anew by their turns, the rest by its time. So many
        windows are soon over; what asks again and again would keep others waiting for ever."""
        self._allowed_at = now
        self._reunited = float("-inf")
        self._reunion: float | None = None
        self._gateway_back_at = float("-inf")
        self._telling: set[bytes] = set()
        self._outputs: list[ClaimOutput] = []

    # What should be

    def want(self, address: bytes, now: float, *, known: bool) -> None:
        """This node should own the address. `known`: another member owned it before, so it is not for a stranger's answer
        to hold it back."""
        claim = self._claims.get(address)
        if claim is None:
            claim = self._claims[address] = _Claim(known=known)
            self._ask_anew(address, claim, now, Reason.WANTED)
        elif claim.state is State.HANDING_OVER:
            self._move(address, claim, State.ANNOUNCING, Reason.WANTED)
            self._go_on_telling(address, claim, now)

    def hand_over(self, address: bytes, to: bytes, now: float) -> None:
        """Another member, or ANYONE, should own the address: answer until it takes over."""
        claim = self._claims.get(address)
        if claim is None:
            return
        if claim.state not in ANSWERING:
            self.drop(address)
            return
        claim.successor = to
        claim.let_go = None
        self._move(address, claim, State.HANDING_OVER, Reason.NOT_OURS, holder=to)
        self._wait(address, claim, now)

    def drop(self, address: bytes) -> None:
        """Nobody here has to do with the address any more."""
        claim = self._claims.get(address)
        if claim is not None:
            self._end(address, claim, Reason.NOT_OURS)

    def fence(self, now: float) -> None:
        """What this node knew may not be true any more: ask for everything before answering for it again."""
        for address, claim in list(self._claims.items()):
            if claim.state is State.HANDING_OVER:
                self._end(address, claim, Reason.FENCED)
            else:
                self._ask_anew(address, claim, now, Reason.FENCED)

    def __len__(self) -> int:
        return len(self._claims)

    def interfaces_changed(self, now: float) -> None:
        """Links came or went: an address whose segment is down here is given up, one whose segment is back is asked for."""
        for address, claim in list(self._claims.items()):
            down = not self._neighbours.home(address)
            if down and claim.state is State.HANDING_OVER:
                self._end(address, claim, Reason.LINK_DOWN)
            elif down:
                self._move(address, claim, State.ASKING, Reason.LINK_DOWN)
            elif claim.state is State.ASKING and claim.due is None:
                self._ask_anew(address, claim, now, Reason.WANTED)

    def link_lost(self, interface: int, now: float) -> None:
        """Nobody is heard on the interface: what it alone carries is not answered for before the wire was asked again.

        So an owner that cannot be reached has let go before another takes over, whenever its link comes back.
        """
        for address, claim in list(self._claims.items()):
            if self._neighbours.home(address) != (interface,):
                continue
            if claim.state is State.HANDING_OVER:
                self._end(address, claim, Reason.LINK_NOT_PROVEN)
            elif claim.state is State.ANNOUNCING:
                self._ask(address, claim, now, Reason.LINK_NOT_PROVEN)

    def sole_homes(self) -> set[int]:
        """The interfaces that alone carry an address."""
        homes = {self._neighbours.home(address) for address in self._claims}
        return {home[0] for home in homes if len(home) == 1}

    def clear(self) -> None:
        """Forget every claim; the caller has fallen silent already."""
        self._claims.clear()
        self._holders.clear()
        self._timers.clear()
        self._ready.clear()
        self._telling.clear()
        self._reunion = None

    # What is heard

    def asked(self, address: bytes, trailer: Trailer, now: float) -> bool:
        """A member asks for an address. True where it may have it: to be said in the answer, if one is due."""
        claim = self._claims.get(address)
        if claim is None:
            return False
        if claim.state is State.HANDING_OVER and claim.successor in (trailer.name, ANYONE):
            claim.let_go = claim.let_go or now + LET_GO_S
            self._wait(address, claim, min(claim.let_go, claim.due or claim.let_go))
            return True
        if claim.state is State.ASKING and self._before(trailer, address):
            self._move(address, claim, State.HELD, Reason.OTHER_ASKS, holder=trailer.name)
            self._wait(address, claim, now + CONTEST_S)
        return False

    def nonces(self, address: bytes, name: bytes) -> Iterable[bytes]:
        """The nonces that an answer of this member for this address may cover."""
        claim = self._claims.get(address)
        if claim is not None and claim.state in (State.ASKING, State.HANDING_OVER):
            yield claim.nonce
        yield from self._holders.nonces(address, name)

    def last_nonce(self, address: bytes) -> bytes:
        """The nonce that everybody was asked with last for this address, open or not; empty where nobody was."""
        claim = self._claims.get(address)
        return claim.nonce if claim is not None else b""

    def answered(self, address: bytes, name: bytes, now: float, *, go: bool) -> None:
        """A member answered our question, verified. `go`: it lets the address go."""
        claim = self._claims.get(address)
        if claim is not None and claim.state is State.HANDING_OVER and not go:
            self._end(address, claim, Reason.TAKEN_OVER)
        if claim is None or claim.state not in (State.ASKING, State.HELD):
            return
        if go:
            self._announce(address, claim, Reason.TOLD_TO, now)
            return
        self._holders.answered(address, name)
        if claim.state is State.ASKING:
            self._hold(address, claim, name, Reason.HOLDER_ANSWERS, now)
            if not self._neighbours.is_alive(name):
                # The wire knows of the end of a cut before the ring does, or instead of it.
                self.cut_ended(now)

    def cut_ended(self, now: float) -> None:
        """A cut may have ended: then there may be two owners, and both have to learn of it."""
        due = max(now, self._reunited + REANNOUNCE_S)
        self._reunion = due if self._reunion is None else min(self._reunion, due)

    def gateway_back(self, interface: int, now: float) -> None:
        """The gateway answers after a silence. If it was cut off from all members, so were hosts, and what was announced
        meanwhile they have not heard: whoever owns an address by now tells them."""
        if self._reunion is None and any(
            claim.state in ANSWERING and interface in self._neighbours.home(address)
            for address, claim in self._claims.items()
        ):
            wait = 0.0 if self._neighbours.has_members(interface) else GATEWAY_BACK_ALONE_S
            self.cut_ended(max(now + wait, self._gateway_back_at))
            saved = (GATEWAY_BACK_AT_ONCE - 1) * GATEWAY_BACK_S
            self._gateway_back_at = max(self._gateway_back_at, now - saved) + GATEWAY_BACK_S

    def offered(self, address: bytes, trailer: Trailer, now: float) -> None:
        """A member, verified, asks us to take an address over, which it answers for. Only where our own view wants it; of
        two that offer it to each other, since their views differ, the one that ranks first goes on, if it is not leaving."""
        claim = self._claims.get(address)
        if claim is None:
            return
        if claim.state in (State.ASKING, State.HELD, State.CONFLICTED):
            self._announce(address, claim, Reason.TOLD_TO, now)
        elif claim.state is State.HANDING_OVER and (
            claim.successor == ANYONE or self._before(trailer, address)
        ):
            self._end(address, claim, Reason.TAKEN_OVER)
        elif claim.state in ANSWERING and now - claim.contested >= OFFER_S / 2:
            # A cut has ended that we did not notice: the other goes on answering until it hears of us.
            claim.contested = now
            self._outputs.append(Reannounce(address))

    def announced(self, address: bytes, trailer: Trailer, now: float) -> None:
        """Another member, verified, answers for an address from now on."""
        claim = self._claims.get(address)
        if claim is None:
            return
        first = self._before(trailer, address)
        if claim.state is State.HANDING_OVER and (first or claim.successor in (trailer.name, ANYONE)):
            self._end(address, claim, Reason.TAKEN_OVER)
        elif claim.state is State.HELD and self._holders.holds(trailer.name, address):
            pass
        elif claim.state not in ANSWERING or first:
            self._hold(address, claim, trailer.name, Reason.OTHER_ANNOUNCES, now)
        elif now - claim.contested >= REANNOUNCE_S:
            claim.contested = now
            self._outputs.append(Reannounce(address))

    def answered_unsigned(self, frame: ArpFrame, now: float) -> None:
        """Somebody who is no responder of ours answers for an address, perhaps one that we ask for."""
        address = frame.sender_ip
        claim = self._claims.get(address)
        if claim is None or claim.state is not State.ASKING or self._neighbours.is_mine(frame.sender_mac):
            self.announced_unsigned(frame)
            return
        self._outputs.append(Alarm(address, frame.sender_mac))
        if self._neighbours.member_with(frame.sender_mac, now) is not None:
            self._ask_directly(address, claim, frame.sender_mac)
        elif not claim.known:
            self._move(address, claim, State.CONFLICTED, Reason.STRANGER_ANSWERS, mac=frame.sender_mac)
            self._wait(address, claim, now + claim.back_off)
            claim.back_off = min(claim.back_off * 2, BACK_OFF_S[1])

    def announced_unsigned(self, frame: ArpFrame) -> None:
        """Somebody who is no responder of ours says that it has an address. Where that is announced here it stays so: whoever
        looks after the segment has to hear of it. While it is handed over, its successor may be one that signs nothing."""
        claim = self._claims.get(frame.sender_ip)
        announcing = claim is not None and claim.state is State.ANNOUNCING
        if announcing and not self._neighbours.is_mine(frame.sender_mac):
            self._outputs.append(Alarm(frame.sender_ip, frame.sender_mac))

    # Time

    def next_deadline(self) -> float | None:
        """When `handle_timer` has something to do."""
        while self._timers and not self._valid(*self._timers[0]):
            heapq.heappop(self._timers)
        while self._ready and not self._valid(*self._ready[0][1:]):
            heapq.heappop(self._ready)
        step = max(self._timers[0][0], self._allowed_at) if self._timers else None
        if self._ready:
            step = self._allowed_at
        deadlines = (step, self._reunion, self._holders.next_deadline())
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Do what is due, as much as the pace allows."""
        if self._reunion is not None and self._reunion <= now:
            self._reunited, self._reunion = now, None
            self._outputs += [Reannounce(a) for a, c in self._claims.items() if c.state in ANSWERING]
        self._allowed_at = max(self._allowed_at, now - STEPS_AT_ONCE / STEPS_PER_S)
        while self._allowed_at <= now and (address := self._next_due(now)) is not None:
            self._allowed_at += 1 / STEPS_PER_S
            claim = self._claims[address]
            claim.due = None
            self._step(address, claim, now)
        for address in self._holders.handle_timer(now):
            self._ask(address, self._claims[address], now, Reason.HOLDER_SILENT)

    def take_outputs(self) -> list[ClaimOutput]:
        """Return what followed from the calls since the last one, in order."""
        outputs, self._outputs = self._outputs, []
        return outputs

    # Inside

    def _next_due(self, now: float) -> bytes | None:
        """Whose turn it is, None where nothing is due."""
        while self._timers and self._timers[0][0] <= now:
            due, address = heapq.heappop(self._timers)
            if self._valid(due, address):
                turn = self._turns.of(address) if self._claims[address].fresh else LAST_TURN
                heapq.heappush(self._ready, (turn, due, address))
        while self._ready:
            _, due, address = heapq.heappop(self._ready)
            if self._valid(due, address):
                return address
        return None

    def _step(self, address: bytes, claim: _Claim, now: float) -> None:
        match claim.state:
            case State.ASKING if claim.questions < QUESTIONS:
                self._question(address, claim, now)
            case State.ASKING:
                self._judge(address, claim, now)
            case State.ANNOUNCING if now < claim.since + TELL_S:
                self._neighbours.announce(address)
                self._wait(address, claim, now + TELL_AGAIN_S)
            case State.ANNOUNCING:
                self._telling.discard(address)
            case State.HELD | State.CONFLICTED:
                self._ask(address, claim, now, Reason.WANTED)
            case State.HANDING_OVER if claim.let_go is not None and now >= claim.let_go:
                self._end(address, claim, Reason.NOT_TAKEN)
            case State.HANDING_OVER:
                self._offer(address, claim)
                self._wait(address, claim, min(now + OFFER_S, claim.let_go or float("inf")))
            case _:
                pass

    def _offer(self, address: bytes, claim: _Claim) -> None:
        """Tell the successor; where that is whoever asks, ask whether somebody has the address already."""
        if claim.successor != ANYONE:
            self._neighbours.offer(address, claim.successor)
            return
        claim.nonce = self._entropy(NONCE_BYTES)
        for index in self._neighbours.home(address):
            self._neighbours.question(index, address, claim.nonce, probe=True)

    def _ask(self, address: bytes, claim: _Claim, now: float, reason: Reason) -> None:
        """Begin to ask, with the first window at once."""
        claim.since = now
        claim.fresh = False
        if not self._neighbours.home(address):
            self._move(address, claim, State.ASKING, Reason.LINK_DOWN)
            return
        self._move(address, claim, State.ASKING, reason)
        self._open_window(address, claim, now)

    def _ask_anew(self, address: bytes, claim: _Claim, now: float, reason: Reason) -> None:
        """Begin to ask for an address that comes with many others, perhaps."""
        self._ask(address, claim, now, reason)
        claim.fresh = True

    def _open_window(self, address: bytes, claim: _Claim, at: float) -> None:
        claim.questions = 0
        claim.nonce = self._entropy(NONCE_BYTES)
        self._wait(address, claim, at)

    def _question(self, address: bytes, claim: _Claim, now: float) -> None:
        if claim.questions == 0:
            claim.started = now
        claim.questions += 1
        for index in self._neighbours.home(address):
            self._neighbours.question(index, address, claim.nonce, probe=True)
            self._neighbours.ask_witnesses(index, claim.nonce, now)
        self._wait(address, claim, now + APART_S)

    def _ask_directly(self, address: bytes, claim: _Claim, mac: bytes) -> None:
        """A cache or a kernel answered with a member's MAC: the question may never have reached its responder."""
        if claim.asked_directly != claim.nonce:
            claim.asked_directly = claim.nonce
            for index in self._neighbours.home(address):
                self._neighbours.question(index, address, claim.nonce, to=mac, probe=True)

    def _judge(self, address: bytes, claim: _Claim, now: float) -> None:
        """The window is over and nobody answered: whether that means something."""
        claim.fresh = False
        home = self._neighbours.home(address)
        witnessed = [index for index in home if self._neighbours.has_witness(index)]
        proven = [index for index in witnessed if self._neighbours.proved_since(index, claim.started)]
        waited = now - claim.since >= ALONE_S
        if witnessed and len(proven) == len(witnessed):
            self._announce(address, claim, Reason.SILENCE, now)
        elif waited and not witnessed:
            self._announce(address, claim, Reason.ALONE, now)
        elif now - claim.since >= LONELY_S and self._is_lonely(set(witnessed) - set(proven), now):
            self._announce(address, claim, Reason.SILENCE if proven else Reason.ALONE, now)
        else:
            if waited:
                self._move(address, claim, State.ASKING, Reason.LINK_NOT_PROVEN)
            self._open_window(address, claim, now + RETRY_S if waited else now)

    def _is_lonely(self, silent: Collection[int], now: float) -> bool:
        """Whether on none of the interfaces on which nobody answers a member lives, but gateways at most, and yet somebody
        is heard there: who hears nothing at all may be deaf, and the addresses be others'."""
        return not any(map(self._neighbours.has_members, silent)) and any(
            self._neighbours.noticed_since(index, now - LONELY_S) for index in silent
        )

    def _announce(self, address: bytes, claim: _Claim, reason: Reason, now: float) -> None:
        claim.known = True
        claim.back_off = BACK_OFF_S[0]
        self._move(address, claim, State.ANNOUNCING, reason)
        if reason is not Reason.TOLD_TO:
            self._go_on_telling(address, claim, now)

    def _go_on_telling(self, address: bytes, claim: _Claim, now: float) -> None:
        """Go on telling the members for a while: an owner or successor may have been there unheard. They ask nobody: a
        switch that suppresses broadcasts would answer from its cache."""
        if len(self._telling) < TOLD_AT_ONCE:
            self._telling.add(address)
            claim.since = now
            self._wait(address, claim, now + TELL_AGAIN_S)

    def _hold(self, address: bytes, claim: _Claim, name: bytes, reason: Reason, now: float) -> None:
        """A member answers for it: ask that member for it until it lets go or falls silent."""
        claim.known = True
        self._move(address, claim, State.HELD, reason, holder=name)
        self._holders.hold(name, address, now)

    def _before(self, trailer: Trailer, address: bytes) -> bool:
        """Whether another goes before us; both of two come to the same answer."""
        signer = self._neighbours.signer
        assert signer is not None
        return (trailer.rank, trailer.name) < (rank(signer.name, address), signer.hash)

    def _end(self, address: bytes, claim: _Claim, reason: Reason) -> None:
        self._move(address, claim, State.IDLE, reason)
        del self._claims[address]

    def _move(
        self,
        address: bytes,
        claim: _Claim,
        state: State,
        reason: Reason,
        *,
        holder: bytes = b"",
        mac: bytes = b"",
    ) -> None:
        """Go to another state: the one place that says when this node answers."""
        if claim.state is State.HELD:
            self._holders.release(claim.holder, address)
        if state in ANSWERING and claim.state not in ANSWERING:
            self._outputs.append(Announce(address))
        if state not in ANSWERING and claim.state in ANSWERING:
            self._outputs.append(Silence(address))
        before = claim.state, claim.reason, claim.holder
        claim.state, claim.reason, claim.holder, claim.due = state, reason, holder, None
        self._telling.discard(address)
        if before != (state, reason, holder):
            self._outputs.append(Changed(address, state, reason, holder, mac))

    def _wait(self, address: bytes, claim: _Claim, due: float) -> None:
        claim.due = due
        heapq.heappush(self._timers, (due, address))

    def _valid(self, due: float, address: bytes) -> bool:
        claim = self._claims.get(address)
        return claim is not None and claim.due == due
