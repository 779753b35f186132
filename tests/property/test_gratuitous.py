"""The gratuitous schedule under any order of starts, stops, stalls and late wake-ups."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from announcer.layer2.arp import REPLY, REQUEST
from announcer.layer2.gratuitous import ROUNDS_S, GratuitousSchedule

ADDRESSES = st.sampled_from([bytes([198, 18, 1, host]) for host in range(4)])
INTERFACES = st.sampled_from([2, 3])
FRAMES_PER_S = 50.0
AT_ONCE = 4
LAST_S = ROUNDS_S[-1]


class Schedule(RuleBasedStateMachine):
    """Every frame belongs to a burst under way, both forms alternate, the pace holds, and it ends."""

    def __init__(self) -> None:
        super().__init__()
        self.began = self.now = 1_000.0
        self.core = GratuitousSchedule(frames_per_s=FRAMES_PER_S, burst=AT_ONCE, now=self.now)
        self.started: dict[tuple[bytes, int], float] = {}
        self.last_form: dict[tuple[bytes, int], int] = {}
        self.sent = 0

    @rule(address=ADDRESSES, interface=INTERFACES)
    def start(self, address: bytes, interface: int) -> None:
        self.core.start(address, interface, now=self.now)
        self.started[address, interface] = self.now
        self.last_form[address, interface] = REPLY

    @rule(address=ADDRESSES)
    def stop_address(self, address: bytes) -> None:
        self.core.stop_address(address)
        self.started = {key: at for key, at in self.started.items() if key[0] != address}

    @rule(interface=INTERFACES)
    def stop_interface(self, interface: int) -> None:
        self.core.stop_interface(interface)
        self.started = {key: at for key, at in self.started.items() if key[1] != interface}

    @rule(seconds=st.floats(0.3, 8.0))
    def stall(self, seconds: float) -> None:
        self.now += seconds
        self.core.skip_overdue(self.now)
        self.last_form = dict.fromkeys(self.last_form, REPLY)
        assert all(self.started[key] + LAST_S >= self.now for key in self.take()), "nothing overdue"

    @rule(seconds=st.floats(0.0, 1.0))
    def run(self, seconds: float) -> None:
        self.now += seconds
        self.take()

    @rule()
    def finish(self) -> None:
        """Woken whenever it asks for it, it comes to rest soon after the last round."""
        end = self.now + LAST_S + len(self.started) * 2 / FRAMES_PER_S + 1.0
        while (deadline := self.core.next_deadline()) is not None:
            assert deadline < end
            self.now = max(self.now, deadline)
            self.take()
        self.now += 60.0
        assert self.core.take(self.now) == []

    def take(self) -> list[tuple[bytes, int]]:
        due = self.core.take(self.now)
        for frame in due:
            key = (frame.address, frame.interface)
            assert key in self.started, "of a burst that was stopped"
            assert frame.operation == (REPLY if self.last_form[key] == REQUEST else REQUEST)
            self.last_form[key] = frame.operation
        self.sent += len(due)
        assert len(due) <= AT_ONCE
        return [(frame.address, frame.interface) for frame in due]

    @invariant()
    def pace(self) -> None:
        assert self.sent <= (self.now - self.began) * FRAMES_PER_S + AT_ONCE + 1


TestSchedule = Schedule.TestCase
