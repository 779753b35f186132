"""The client's neighbour entry: what the kernel's table says, and when it was right."""

import json
import struct

import pytest

from chaos import neighbour, neighbours
from chaos.errors import MeasurementError

VIP = "198.18.1.0"
A, B = "02:00:00:00:00:11", "02:00:00:00:00:12"
TABLE = f"""\
IP address       HW type     Flags       HW address            Mask     Device
198.18.1.0       0x1         0x2         {A}     *        eth0
198.18.1.1       0x1         0x0         00:00:00:00:00:00     *        eth0
198.18.1.2       0x1         0x2         {B}     *        eth1
"""


@pytest.mark.parametrize(
    ("vip", "mac"), [(VIP, A), ("198.18.1.1", ""), ("198.18.1.2", ""), ("198.18.1.3", "")]
)
def test_only_a_resolved_entry_of_the_interface_counts(vip: str, mac: str) -> None:
    assert neighbour.resolved(TABLE, "eth0", vip) == mac


def test_the_deletion_is_a_netlink_message_with_one_attribute() -> None:
    message = neighbour.deletion(7, bytes([198, 18, 1, 0]))
    length, kind = struct.unpack_from("=IH", message)
    assert (length, kind) == (len(message), 29)
    assert struct.unpack_from("=i", message, 20) == (7,)
    assert message.endswith(bytes([198, 18, 1, 0]))


def record(*entries: tuple[float, str]) -> neighbours.NeighbourRecord:
    lines: list[list[object]] = [["neighbour", "eth0", VIP, 100.0, 1_790_000_000.0]]
    lines += [["n", mac, at] for at, mac in entries]
    lines += [["d", 101.0], ["end", 200.0]]
    return neighbours.parse([json.dumps(line) + "\n" for line in lines])


def test_an_entry_is_right_from_the_last_wrong_one_on() -> None:
    seen = record((100.0, A), (105.2, B), (106.0, ""), (106.1, B))
    assert seen.deleted == 1
    assert neighbours.right_s(seen, B, since=105.0) == pytest.approx(0.2)
    assert neighbours.right_s(seen, B, since=105.5) == 0.0
    assert neighbours.right_s(seen, A, since=105.0) is None


def test_no_entry_is_no_wrong_one() -> None:
    assert neighbours.right_s(record((100.0, A), (101.0, "")), B, since=100.5) == pytest.approx(0.5)
    assert neighbours.right_s(record(), B, since=100.5) == 0.0


def test_nonsense_is_refused() -> None:
    with pytest.raises(MeasurementError, match="line 1"):
        neighbours.parse(["[1]\n"])
