"""Figures from synthetic packet records."""

import ipaddress
import json

import pytest

from chaos import frames, recorder
from chaos.errors import MeasurementError

VIP, OTHER = "198.18.1.0", "198.18.1.1"
A, B, C = "02:00:00:00:00:11", "02:00:00:00:00:12", "02:00:00:00:00:13"
NETWORK = ipaddress.IPv4Network("198.18.1.0/24")
HOST = "198.18.0.2"


def record(*events: tuple[float, str, str, str]) -> frames.FrameRecord:
    """`events`: time, kind, MAC and VIP of each frame."""
    lines: list[list[object]] = [["recorder", "br-data", 100.0, 1_790_000_000.0]]
    for at, kind, mac, vip in events:
        sender = "0.0.0.0" if kind == "probe" else vip
        target = HOST if kind in ("reply", "request", "offer") else vip
        to = A if kind == "offer" else "ff:ff:ff:ff:ff:ff"
        lines.append(["f", kind, mac, to, sender, target, at])
    lines.append(["end", 200.0])
    return frames.parse([json.dumps(line) + "\n" for line in lines])


@pytest.mark.parametrize(
    ("operation", "sender", "target", "kind"),
    [
        (1, VIP, VIP, "announcement"),
        (2, VIP, VIP, "announcement"),
        (2, VIP, HOST, "reply"),
        (1, VIP, HOST, "request"),
        (1, "0.0.0.0", VIP, "probe"),
        (2, "0.0.0.0", VIP, None),
        (1, HOST, VIP, None),
        (2, HOST, VIP, None),
        (1, "0.0.0.0", HOST, None),
    ],
)
def test_what_a_frame_is(operation: int, sender: str, target: str, kind: str | None) -> None:
    assert recorder.kind_of(operation, sender, target, bytes(18), NETWORK) == kind


@pytest.mark.parametrize(
    ("padding", "kind"),
    [("7672 05", "offer"), ("7672 15", "offer"), ("7672 02", "reply"), ("7672", "reply"), ("", "reply")],
)
def test_an_offer_is_told_by_its_padding(padding: str, kind: str) -> None:
    assert recorder.kind_of(2, VIP, HOST, bytes.fromhex(padding), NETWORK) == kind


def test_addresses_are_back_when_the_last_of_them_was_announced_by_another() -> None:
    seen = record(
        (99.0, "announcement", B, VIP),
        (100.1, "announcement", A, VIP),
        (100.5, "announcement", B, VIP),
        (100.6, "reply", B, OTHER),
        (100.7, "announcement", C, OTHER),
    )
    assert frames.back_s(seen, [VIP], {A}, since=100.0) == pytest.approx(0.5)
    assert frames.back_s(seen, [VIP, OTHER], {A}, since=100.0) == pytest.approx(0.7)
    assert frames.back_s(seen, [VIP, "198.18.1.2"], {A}, since=100.0) is None
    assert frames.back_s(seen, [], {A}, since=100.0) == 0.0


def test_who_announced_and_what_moved() -> None:
    seen = record((100.0, "announcement", A, VIP), (101.0, "announcement", B, VIP), (101.0, "reply", C, VIP))
    assert frames.announcers(seen, VIP, since=99.0) == {A, B}
    assert frames.announcers(seen, VIP, since=99.0, until=100.5) == {A}
    assert frames.moved(seen, {VIP: A, OTHER: A}, since=99.0) == (VIP,)
    assert frames.moved(seen, {VIP: A, OTHER: A}, since=99.0, until=100.5) == ()


def test_strays_lie_between_anothers_announcement_and_the_own_question() -> None:
    before = [(100.0, "reply", A, VIP), (100.1, "announcement", B, VIP)]
    late = [(100.2, "reply", A, VIP), (100.3, "request", A, VIP), (100.4, "announcement", A, VIP)]
    asked = [(100.5, "probe", A, VIP), (100.6, "reply", A, VIP)]
    assert frames.strays(record(*before, *asked), {VIP: A}, since=99.0) == 0
    assert frames.strays(record(*before, *late, *asked), {VIP: A}, since=99.0) == 3
    offered = [(100.2, "offer", B, VIP), (100.3, "announcement", A, VIP)]
    assert frames.strays(record(*before, *offered), {VIP: A}, since=99.0) == 0
    assert frames.strays(record(*before, *late, *offered), {VIP: A}, since=99.0) == 3
    assert frames.strays(record(*late, *asked), {VIP: A}, since=99.0) == 0, "nobody else announced it"
    assert frames.strays(record(*before, *late), {OTHER: A}, since=99.0) == 0


def test_half_a_line_is_left_out_and_nonsense_refused() -> None:
    whole = '["f","reply","02:00:00:00:00:11","02:00:00:00:00:12","198.18.1.0","198.18.0.2",1.0]\n'
    assert len(frames.parse([whole, whole[:20]]).frames) == 1
    with pytest.raises(MeasurementError, match="line 1"):
        frames.parse(["{}\n"])
