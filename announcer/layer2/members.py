"""What members say to each other on the wire: whose frame it is, and what it means. Sans-IO.

What is signed with none of our keys is the ordinary ARP frame that everybody else sees, and its sender a stranger.
"""

from announcer.layer2 import arp, signed
from announcer.layer2.arp import ArpFrame, DropReason
from announcer.layer2.claimbook import ClaimBook
from announcer.layer2.evidence import MemberQuestions
from announcer.layer2.interfaces import InterfaceView
from announcer.layer2.neighbours import Neighbours
from announcer.layer2.requesters import Requesters
from announcer.layer2.reunion import Reunion
from announcer.layer2.signed import FLAG_GO, Kind, Trailer


class MemberFrames:
    """Verifies frames and passes on what they say. Times are monotonic seconds."""

    def __init__(
        self,
        *,
        neighbours: Neighbours,
        claims: ClaimBook,
        questions: MemberQuestions,
        reunion: Reunion,
        requesters: Requesters,
    ) -> None:
        self._neighbours = neighbours
        self._claims = claims
        self._questions = questions
        self._reunion = reunion
        self._requesters = requesters

    def trailer(self, frame: bytes) -> Trailer | None:
        """What marks the frame as a member's; before we know which member this is, nothing does."""
        return signed.read(frame) if self._neighbours.signer is not None else None

    def answer(
        self,
        view: InterfaceView,
        frame: bytes,
        reply: bytes | DropReason,
        trailer: Trailer,
        now: float,
        *,
        lives: bool,
    ) -> bytes | DropReason:
        """Answer a member's question with a signature: for an address announced here, where `reply` is the ordinary one, or for
        ourselves, as long as this member `lives` as those who ask mean it."""
        target = arp.target_ip(frame)
        at_home = self._neighbours.is_home(view.index, target)
        if isinstance(reply, bytes):
            go = at_home and self._claims.asked(target, trailer, now)
            return self._sign_answer(reply, trailer, flags=FLAG_GO if go else 0)
        if reply is not DropReason.NOT_ANNOUNCED:
            return reply
        own = {address.packed for address in view.addresses if address.version == 4}
        if not own and frame[:6] == view.mac:
            # A hello from where there is no address says 0.0.0.0, and so whoever heard it asks for that.
            own = {arp.ANY}
        if target not in own:
            if at_home:
                self._claims.asked(target, trailer, now)
            return reply
        if not lives:
            return reply
        reply = arp.answer(frame, view.mac, own)
        return reply if isinstance(reply, DropReason) else self._sign_answer(reply, trailer)

    def _sign_answer(self, reply: bytes, question: Trailer, *, flags: int = 0) -> bytes:
        signer, answer = self._neighbours.signer, arp.parse(reply)
        assert signer is not None
        assert isinstance(answer, ArpFrame)
        return signer.sign(answer, Kind.ANSWER, flags=flags, nonce=question.proof)

    def receive(self, interface: int, heard: ArpFrame, trailer: Trailer, now: float) -> None:
        """Take in a frame that is marked as a member's and no question."""
        if trailer.kind is Kind.ANSWER:
            self._receive_answer(interface, heard, trailer, now)
        else:
            self._receive_news(interface, heard, trailer, now)

    def _receive_answer(self, interface: int, heard: ArpFrame, trailer: Trailer, now: float) -> None:
        """Somebody answers as a member: only what covers one of our questions that is open counts as such."""
        signer = self._neighbours.signer
        assert signer is not None
        address, name = heard.sender_ip, trailer.name
        lost, asked = self._reunion.nonce(name), self._questions.nonce(name)
        reunited = lost is not None and signer.verifies(heard, trailer, lost)
        vouched = asked is not None and signer.verifies(heard, trailer, asked)
        claimed = self._neighbours.is_home(interface, address) and any(
            signer.verifies(heard, trailer, nonce) for nonce in self._claims.nonces(address, name)
        )
        if reunited or vouched or claimed:
            self._neighbours.prove(interface, heard, now)
        else:
            self._neighbours.hear(interface, heard, now)
            # A member's covers a question that is no longer open: it was late, or asked on two interfaces, of ours or of its
            # own on the same segment. Of the latter only one MAC is known.
            last = self._claims.last_nonce(address)
            of_member = self._neighbours.is_at(interface, name, heard.sender_mac)
            if not of_member and not (last and signer.verifies(heard, trailer, last)):
                self.hear_unproven(interface, heard, now)
        if reunited and self._reunion.answered(name):
            self._claims.cut_ended(now)
        if vouched:
            self._questions.answered(name)
        elif claimed:
            self._claims.answered(address, name, now, go=bool(trailer.flags & FLAG_GO))

    def _receive_news(self, interface: int, heard: ArpFrame, trailer: Trailer, now: float) -> None:
        """Somebody tells as a member where it is, what it announces or what it offers."""
        signer = self._neighbours.signer
        assert signer is not None
        if not signer.verifies(heard, trailer):
            self.hear_unproven(interface, heard, now)
            return
        address, name = heard.sender_ip, trailer.name
        at_home = self._neighbours.is_home(interface, address)
        if trailer.kind is not Kind.HELLO:
            self._neighbours.meet([name], now)
        match trailer.kind:
            case Kind.HELLO:
                welcome = bool(trailer.flags & FLAG_GO)
                self._neighbours.hello(interface, name, heard, welcome=welcome, now=now)
            case Kind.ANNOUNCEMENT if at_home:
                self._requesters.share(address)
                self._claims.announced(address, trailer, now)
            case Kind.OFFER if at_home:
                self._claims.offered(address, trailer, now)
            case _:
                pass

    def hear_unproven(self, interface: int, heard: ArpFrame, now: float) -> None:
        """Somebody says that it has an address, without a signature of one of our keys: a host, or a speaker with another
        ring secret. Both are strangers."""
        if not self._neighbours.is_home(interface, heard.sender_ip):
            return
        if heard.operation == arp.REPLY:
            self._claims.answered_unsigned(heard, now)
        else:
            self._claims.announced_unsigned(heard)
