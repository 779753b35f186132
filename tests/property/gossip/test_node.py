"""A living node takes any bytes and any sequence of lies without an exception and without growth."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gossip.address import Endpoint
from gossip.config import SwimConfig
from gossip.keyring import Keyring
from gossip.messages import Struct, encode
from gossip.outputs import OpenStream, SendDatagram
from gossip.packet import compound
from gossip.stream import encode_push_pull
from tests.property.gossip.test_codec import KEYRINGS, any_bytes, mangled, packet_messages, states
from tests.unit.gossip.helpers import VSN, Bench, address

SMALL = SwimConfig(max_members=12, max_streams=3, max_relays=4, max_buffered_bytes=20_000)
KNOWN = st.sampled_from(["me", "a", "b", "c"])


def about_known(message: Struct, name: str, number: int) -> Struct:
    """The same message, turned on a member that exists, so that it gets past the first checks."""
    changes: dict[str, object] = {"node": name}
    fields = message.__struct_fields__
    if "vsn" in fields:
        changes |= {"vsn": VSN, "addr": address(number)}
    if "node" not in fields:
        return message
    return type(message)(**({field: getattr(message, field) for field in fields} | changes))


lies = st.builds(about_known, packet_messages, KNOWN, st.integers(1, 12))


@given(any_bytes, KEYRINGS, st.booleans())
def test_any_packet(data: bytes, keyring: Keyring | None, sealed: bool) -> None:
    bench = Bench(SMALL, keyring=keyring, members=["a", "b"])
    bench.hear_bytes(bench.codec.pack([data or b"\x00"], crc=False) if sealed else data)
    bench.wait(3.0)


class LivingNode(RuleBasedStateMachine):
    """Packets, streams and time in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(SMALL, members=["a", "b"])
        self.streams: list[int] = []
        self.incarnation = 1

    @rule(data=any_bytes)
    def packet(self, data: bytes) -> None:
        self.take(self.bench.hear_bytes(data))

    @rule(messages=st.lists(st.one_of(lies, packet_messages), min_size=1, max_size=5))
    def lie(self, messages: list[Struct]) -> None:
        self.take(self.bench.hear_bytes(compound([encode(message) for message in messages])))

    @rule()
    def accept(self) -> None:
        number = self.bench.node.accept_stream(source=Endpoint("198.18.0.50", 1), now=self.bench.now)
        if number is not None:
            self.streams.append(number)

    @rule(seed=st.integers(0, 1 << 32), table=st.lists(states, max_size=4), whole=st.booleans())
    def stream(self, seed: int, table: list[Struct], whole: bool) -> None:
        if self.streams:
            data = encode_push_pull(table, join=True)  # type: ignore[arg-type]  # states are NodeStates
            stream = self.streams[seed % len(self.streams)]
            self.bench.node.receive_stream(stream, data if whole else mangled(data, seed), now=self.bench.now)
            self.take(self.bench.node.take_outputs())

    @rule(seed=st.integers(0, 1000), error=st.sampled_from([None, "broken"]))
    def end(self, seed: int, error: str | None) -> None:
        if self.streams:
            self.bench.node.stream_ended(
                self.streams[seed % len(self.streams)], error=error, now=self.bench.now
            )

    @rule()
    def join(self) -> None:
        self.bench.node.join([("198.18.0.10", 7946)], now=self.bench.now)
        self.take(self.bench.node.take_outputs())

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.3, 2.0, 40.0]))
    def time(self, seconds: float) -> None:
        self.take(self.bench.wait(seconds))

    def take(self, outputs: object) -> None:
        assert isinstance(outputs, list)
        for output in outputs:
            if isinstance(output, OpenStream):
                self.streams.append(output.stream)
            elif isinstance(output, SendDatagram):
                assert len(output.data) <= self.bench.config.udp_buffer_size + 5

    @invariant()
    def nothing_grows(self) -> None:
        node = self.bench.node
        assert len(node.members()) <= SMALL.max_members
        assert node.queue_depth() <= SMALL.max_members + 2
        assert len(node._exchanges._streams) <= 2 * SMALL.max_streams
        assert len(node._relay._asked) <= SMALL.max_relays
        assert 0 <= node._exchanges._buffered <= SMALL.max_buffered_bytes

    @invariant()
    def we_live_and_our_incarnation_never_falls(self) -> None:
        me = self.bench.node.members()["me"]
        assert me.state.present
        assert me.incarnation >= self.incarnation
        self.incarnation = me.incarnation

    @invariant()
    def no_deadline_has_passed(self) -> None:
        deadline = self.bench.node.next_deadline()
        assert deadline is not None
        assert deadline >= self.bench.now


TestLivingNode = LivingNode.TestCase
