"""A member with the fast lane under bytes, evidence and time in any order, and somebody who watches its verdicts."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from typing_extensions import override

from gossip.address import Endpoint
from gossip.fastconfig import FastLaneConfig
from gossip.messages import Ack, IndirectPing, Ping, Suspect, encode
from gossip.meta import is_ours
from gossip.outputs import MemberDead, MemberLeft, MemberUpdated, Output
from gossip.questions import Way
from gossip.watch import WireAnswer
from tests.fuzz.base import Script
from tests.fuzz.living import PACE_S, WAITS_S, LivingNode, fast_bench
from tests.unit.gossip.helpers import PORT, START, Bench, alive, of

OURS: Final = ("a", "b", "c")
PLAIN: Final = ("p",)
NAMES: Final = (*OURS, *PLAIN)
_RELAYS: Final = 1 << len(NAMES)
_TIMES_S: Final = (0.05, 0.1, 0.2, 0.35, 0.6, 1.2, 3.0, 12.0)
_ANSWERS: Final = tuple(WireAnswer)
_CONFIG: Final = FastLaneConfig()

_SHORTEST: Final = 0.8
"""Paces between two questions, at least: a deadline sways by a tenth, and a tick may come a twentieth before it."""
_FRESH: Final = 3
_WORD: Final = 5
"""Paces for which an answer and an accusation count (gossip/fastlane.py)."""
_WATCHES_MAX: Final = 3 + 32
_DEAD_MAX: Final = 256
_QUESTIONS_MAX: Final = 3000
"""Of 3 s: at most twenty-odd ticks a second, each with a question and two relays for ten members, and the dead."""


class Witness:
    """Knows who gave which sign of life, and holds each verdict of the lane against it.

    What it cannot know exactly it takes for the member's excuse, so what it finds is a fault.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.verdicts = 0
        self._lived: defaultdict[str, float] = defaultdict(lambda: START)
        """A question of the lane or an ordinary probe was answered by itself, or one on the wire."""
        self._answered: dict[str, float] = {}
        """Any question was answered."""
        self._jurors: dict[str, float] = {}
        """The same, of members of ours since they became so."""
        self._proved = -math.inf
        """Our own link was, otherwise."""
        self._silent: set[str] = set()
        self._accused: dict[str, float] = {}

    def heard(self, data: bytes) -> None:
        """A packet comes that anybody may have made."""
        for message in self._bench.codec.unpack(data).messages:
            if isinstance(message, Suspect):
                self._accused[message.node] = self._bench.now
            elif isinstance(message, Ack):
                self._proved = self._bench.now

    def answers(self, ping: Ping | IndirectPing) -> None:
        """A member is about to answer, or a relay in its name."""
        node, now = self._bench.node, self._bench.now
        if isinstance(ping, IndirectPing):
            self._proved = now
            return
        assert node._lane is not None
        question, probe = node._lane._questions._open.get(ping.seq), node._prober._current
        probed = probe is not None and probe.direct and probe.seq == ping.seq
        if probed or (question is not None and question.way is Way.DIRECT):
            self._lives(ping.node)
        self._answered[ping.node] = now
        view = node.members().get(ping.node)
        if view is not None and view.state.present and is_ours(view.meta):
            self._jurors[ping.node] = now

    def told(self, name: str, answer: WireAnswer, *, own_link_proven: bool) -> None:
        """The application says what came of a question on the wire."""
        if own_link_proven:
            self._proved = self._bench.now
        if answer is WireAnswer.SILENT:
            self._silent.add(name)
        elif answer is WireAnswer.ANSWERED:
            self._lives(name)
        else:
            self._silent.discard(name)

    def judge(self, outputs: Sequence[Output]) -> None:
        """See whether each new verdict was allowed."""
        for output in outputs:
            if isinstance(output, MemberDead | MemberLeft | MemberUpdated):
                self._jurors.pop(output.view.name, None)
        verdicts = self._bench.node.counters.verdicts
        found, self.verdicts = verdicts - self.verdicts, verdicts
        if found:
            # Others may have said so in the same packet; of them nothing is known.
            faults = [self._fault(death.view.name) for death in of(MemberDead, outputs) if death.by == "me"]
            assert faults.count("") >= found, f"{found} verdicts: {faults}"

    def _lives(self, name: str) -> None:
        self._lived[name] = self._bench.now
        self._silent.discard(name)

    def _fault(self, name: str) -> str:
        """What speaks against this member's death, as far as a witness knows."""
        now = self._bench.now
        misses = _CONFIG.misses if name in self._silent else _CONFIG.misses_without_wire
        if now - self._lived[name] < _SHORTEST * PACE_S * (misses - 1):
            return f"{name} lived {now - self._lived[name]:.2f} s ago"
        fresh = now - (_FRESH + 0.1) * PACE_S
        others = max((at for other, at in self._answered.items() if other != name), default=-math.inf)
        if max(others, self._proved) < fresh:
            return "nobody else answered"
        heard = now - (_FRESH - 0.1) * PACE_S
        jury = any(at >= heard for other, at in self._jurors.items() if other != name)
        if jury and self._accused.get(name, -math.inf) < now - (_WORD + 0.1) * PACE_S:
            return f"nobody else accused {name}"
        return ""


def _live(answering: Sequence[str], time: int, *, relays: bool = False) -> bytes:
    """A step in which so many answer for one of the times."""
    mask = sum(1 << NAMES.index(name) for name in answering) | _RELAYS * relays
    return bytes((8, mask | time << 5))


def _evidence(name: str, answer: WireAnswer) -> bytes:
    return bytes((7, NAMES.index(name) | _ANSWERS.index(answer) << 2 | 64))


def _from_itself(name: str, *messages: Suspect) -> list[bytes]:
    return [bytes((9, NAMES.index(name))) + encode(message) for message in messages]


def death(*accusations: bytes) -> Script:
    """All live; then one is silent, on the wire as well, and is accused by these."""
    others = ("b", "c", "p")
    doubt = (_live(NAMES, 4, relays=True), _live(others, 2), _evidence("a", WireAnswer.SILENT))
    return (*doubt, *[step for _ in range(4) for step in (*accusations, _live(others, 1))])


ACCUSED: Final = death(*_from_itself("b", Suspect(1, "a", "b")))
UNACCUSED: Final = death()
CUT_OFF: Final = (_live(NAMES, 4), _live((), 6), *_from_itself("b", Suspect(1, "a", "b")), _live((), 6))
"""Nobody answers, so it is our own link."""


class FastMember(LivingNode):
    """A member as the product has it: packets also from members' own addresses, answers to its questions, evidence."""

    name = "living member, fast lane"
    kinds = 10

    @override
    def made(self) -> Bench:
        bench = fast_bench(self.keyring, ours=OURS, plain=PLAIN)
        self.witness = Witness(bench)
        return bench

    @override
    def begin(self) -> list[Script]:
        back = b"\x00" + encode(alive("a", 10, 2, meta=b"vip1\x80"))
        vouched = (*ACCUSED[:4], _evidence("a", WireAnswer.ANSWERED), *ACCUSED[4:])
        lane = [ACCUSED, UNACCUSED, CUT_OFF, vouched, (*ACCUSED, back, *ACCUSED)]
        return [*lane, *super().begin()]

    @override
    def _do(self, bench: Bench, opened: list[int], kind: bytes, data: bytes) -> list[Output]:
        first = (data or b"\x00")[0]
        match kind[0] % self.kinds:
            case 4:
                outputs = self._pass(bench, WAITS_S[first % len(WAITS_S)], 0)
            case 7:
                name, answer = NAMES[first & 3], _ANSWERS[(first >> 2 & 15) % len(_ANSWERS)]
                proven = bool(first & 64)
                self.witness.told(name, answer, own_link_proven=proven)
                bench.node.wire_evidence(name, answer, own_link_proven=proven, now=bench.now)
                outputs = bench.node.take_outputs()
            case 8:
                outputs = self._pass(bench, _TIMES_S[first >> 5], first)
            case 9:
                self.witness.heard(data[1:])
                source = Endpoint(f"198.18.0.{10 + first % len(NAMES)}", PORT)
                outputs = bench.hear_bytes(data[1:], source)
            case number:
                if number == 0:
                    self.witness.heard(data)
                outputs = super()._do(bench, opened, bytes((number,)), data)
        self.witness.judge(outputs)
        # A suspicion that others confirm may be over at once.
        return outputs + self._pass(bench, 0.0, 0)

    def _pass(self, bench: Bench, seconds: float, answering: int) -> list[Output]:
        """Let time pass; who answers, and whether relays do, stands in the bits."""
        outputs: list[Output] = []
        end = bench.now + seconds
        while (deadline := bench.node.next_deadline()) is not None and deadline <= end:
            bench.now = max(bench.now, deadline)
            bench.node.handle_timer(bench.now)
            taken = bench.node.take_outputs()
            self.witness.judge(taken)
            outputs += taken
            for to, message in bench.messages(taken):
                if not isinstance(message, Ping | IndirectPing) or message.node not in NAMES:
                    continue
                bits = 1 << NAMES.index(message.node)
                if isinstance(message, IndirectPing):
                    bits |= _RELAYS
                if bits & answering == bits:
                    self.witness.answers(message)
                    outputs += bench.hear(Ack(message.seq), source=to)
        bench.now = end
        return outputs

    @override
    def _check(self, bench: Bench, outputs: Sequence[Output], incarnation: int) -> None:
        super()._check(bench, outputs, incarnation)
        lane, members = bench.node._lane, bench.node.members()
        assert lane is not None
        present = {name for name, view in members.items() if view.state.present and is_ours(view.meta)}
        assert set(lane._circle) == present | {"me"}, "it watches who is not there"
        plain = {name for name, view in members.items() if view.state.present} - present
        assert set(lane._plain) == plain | {"me"}
        assert lane._watches.keys() <= present - {"me"}
        assert len(lane._watches) <= _WATCHES_MAX
        assert lane._heard.keys() <= present
        assert len(lane._healing) <= _DEAD_MAX
        assert len(lane._pasts) <= _DEAD_MAX
        assert len(lane._questions) <= _QUESTIONS_MAX
