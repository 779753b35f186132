"""Any bytes: nothing that arrives raises, and only a proper request is answered."""

from hypothesis import example, given
from hypothesis import strategies as st

from announcer.errors import MessageError
from announcer.layer2 import arp, encoding
from announcer.layer2.arp import ArpFrame, DropReason
from announcer.layer2.interfaces import InterfaceView, LinkTable
from announcer.layer2.messages import Add, Counters
from announcer.layer2.netlink import Inconsistent, LinkMonitor, parse
from announcer.layer2.responder import ArpResponder

MAC = bytes.fromhex("020000000001")
VIP = bytes([198, 18, 1, 0])
MACS = st.sampled_from([MAC, arp.BROADCAST, bytes.fromhex("0200000000aa"), bytes(6)]) | st.binary(
    min_size=6, max_size=6
)
ADDRESSES = st.sampled_from([VIP, arp.ANY]) | st.binary(min_size=4, max_size=4)
FRAMES = st.builds(ArpFrame, MACS, MACS, st.integers(0, 3), MACS, ADDRESSES, MACS, ADDRESSES)


@st.composite
def near_frames(draw: st.DrawFn) -> bytes:
    """Proper frames with a few bytes changed, cut or extended."""
    frame = bytearray(draw(FRAMES).encode())
    for position in draw(st.lists(st.integers(0, len(frame) - 1), max_size=3)):
        frame[position] = draw(st.integers(0, 255))
    return bytes(frame[: draw(st.integers(0, len(frame)))] + draw(st.binary(max_size=8)))


@given(FRAMES)
def test_what_is_built_is_read_again(frame: ArpFrame) -> None:
    assert arp.parse(frame.encode()) == frame
    assert len(frame.encode()) == arp.MINIMUM_FRAME


@given(st.binary(max_size=200) | near_frames())
@example(b"\x81\x00" * 7)
def test_any_bytes_get_a_verdict(data: bytes) -> None:
    reply = arp.answer(data, MAC, {VIP})
    if isinstance(reply, DropReason):
        return
    asked, verdict = arp.parse(data), arp.parse(reply)
    assert isinstance(asked, ArpFrame)
    assert isinstance(verdict, ArpFrame)
    assert asked.operation == arp.REQUEST
    assert asked.destination in (arp.BROADCAST, MAC)
    assert asked.target_ip == verdict.sender_ip == VIP
    assert (verdict.operation, verdict.source, verdict.sender_mac) == (arp.REPLY, MAC, MAC)
    assert verdict.destination == verdict.target_mac == asked.sender_mac


@given(
    st.lists(
        st.tuples(st.sampled_from([2, 3]), st.binary(max_size=100) | near_frames(), st.booleans()),
        max_size=20,
    )
)
def test_core_counts_every_frame_once(arrivals: list[tuple[int, bytes, bool]]) -> None:
    core = ArpResponder(entropy=bytes, now=100.0)
    core.set_interfaces([InterfaceView(2, "eth0", MAC)], now=100.0)
    core.receive_command(Add(0, 100.0, (VIP,)), now=100.0)
    core.take_outputs()
    answered = 0
    for interface, data, foreign in arrivals:
        reply = core.receive_frame(interface, data, foreign=foreign, now=100.0)
        answered += reply is not None
        assert reply is None or interface == 2
    core.handle_timer(200.0)
    core.handle_timer(200.0)
    core.take_outputs()
    core.handle_timer(200.0)
    counted = [event for event in core.take_outputs() if isinstance(event, Counters)]
    dropped = sum(counted[-1].drops.values()) if counted else 0
    assert answered + dropped == len(arrivals)


@given(st.binary(max_size=400))
def test_netlink_takes_any_bytes(data: bytes) -> None:
    notices = list(parse(data))
    assert all(not isinstance(notice, Inconsistent) for notice in notices[:-1])
    monitor = LinkMonitor(LinkTable(None))
    monitor.restart()
    monitor.receive(data)
    assert isinstance(monitor.table.views(), tuple)


@given(
    st.lists(
        st.tuples(st.sampled_from([2, 3, 4, 16, 17, 20, 21]), st.binary(max_size=60)).map(
            lambda item: (
                (16 + len(item[1])).to_bytes(4, "little")
                + item[0].to_bytes(2, "little")
                + bytes(10)
                + item[1]
                + bytes(-len(item[1]) % 4)
            )
        ),
        max_size=6,
    ).map(b"".join)
)
def test_netlink_takes_any_bodies(data: bytes) -> None:
    monitor = LinkMonitor(LinkTable(None))
    monitor.restart()
    monitor.receive(data)
    assert isinstance(monitor.table.views(), tuple)


@given(st.binary(max_size=200))
def test_messages_decode_or_are_refused(data: bytes) -> None:
    for decode in (encoding.decode_command, encoding.decode_events):
        try:
            decode(data)
        except MessageError:
            continue
