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
    assert frames.back_s(seen, {VIP: A}, since=100.0) == pytest.approx(0.5)
    assert frames.back_s(seen, {VIP: A, OTHER: A}, since=100.0) == pytest.approx(0.7)
    assert frames.back_s(seen, {VIP: A, "198.18.1.2": A}, since=100.0) is None
    assert frames.back_s(seen, {}, since=100.0) == 0.0


def test_an_owner_has_its_address_back_when_it_announces_it_after_it_asked() -> None:
    late = (100.1, "announcement", A, VIP)
    again = [(100.4, "probe", A, VIP), (100.5, "announcement", A, VIP)]
    assert frames.back_s(record((99.0, "probe", A, VIP), late), {VIP: A}, since=100.0) is None
    assert frames.back_s(record(late, (100.4, "probe", B, VIP)), {VIP: A}, since=100.0) is None
    assert frames.back_s(record(late, *again), {VIP: A}, since=100.0) == pytest.approx(0.5)
    asked_for_another = [(100.4, "probe", A, OTHER), (100.5, "announcement", A, VIP)]
    assert frames.back_s(record(*asked_for_another), {VIP: A, OTHER: A}, since=100.0) is None


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


def test_each_stall_has_to_be_followed_by_a_question_of_its_own() -> None:
    first = [(100.1, "announcement", B, VIP), (100.5, "probe", A, VIP), (100.6, "reply", A, VIP)]
    again = [(102.1, "announcement", B, VIP), (102.2, "reply", A, VIP), (102.3, "announcement", A, VIP)]
    asked = [(102.4, "probe", A, VIP), (102.5, "announcement", A, VIP)]
    seen = record(*first, *again, *asked)
    assert frames.strays(seen, {VIP: A}, since=99.0, stalls=[100.0]) == 0, "one stall, and it asked after it"
    assert frames.strays(seen, {VIP: A}, since=99.0, stalls=[100.0, 102.0]) == 2
    assert frames.strays(record(*first, *asked), {VIP: A}, since=99.0, stalls=[102.0, 100.0]) == 0


def test_what_an_owner_took_back_is_its_own_in_the_next_stall() -> None:
    taken = (100.1, "announcement", B, VIP)
    back = [(100.5, "probe", A, VIP), (100.6, "announcement", A, VIP)]
    after = (102.2, "reply", A, VIP)
    assert frames.strays(record(taken, *back, after), {VIP: A}, since=99.0, stalls=[100.0, 102.0]) == 0
    held = (100.5, "probe", A, VIP)
    assert frames.strays(record(taken, held, after), {VIP: A}, since=99.0, stalls=[100.0, 102.0]) == 1


def test_the_last_announcement_says_whose_an_address_is() -> None:
    seen = record(
        (100.0, "announcement", A, VIP),
        (101.0, "announcement", B, VIP),
        (101.5, "reply", A, VIP),
        (105.0, "announcement", C, VIP),
    )
    assert frames.misplaced(seen, {VIP: B}, {VIP: A}, until=104.0) == ()
    assert frames.misplaced(seen, {VIP: A}, {VIP: A}, until=104.0) == (VIP,)
    assert frames.misplaced(seen, {VIP: B}, {VIP: A}, until=106.0) == (VIP,)
    assert frames.misplaced(seen, {OTHER: A}, {OTHER: A}, until=104.0) == (), "it stayed where it was"
    assert frames.misplaced(seen, {OTHER: B}, {OTHER: A}, until=104.0) == (OTHER,), "and should not have"


def test_every_address_has_its_first_turn_before_any_has_its_second() -> None:
    both = {VIP, OTHER}
    first = [(100.0, "announcement", B, VIP), (100.1, "announcement", B, OTHER)]
    second = [(100.2, "announcement", B, VIP), (100.3, "announcement", B, OTHER)]
    assert frames.out_of_turn(record(*first, *second), both, since=99.0) == 0
    early = [(100.05, "announcement", B, VIP), (100.06, "announcement", B, VIP)]
    assert frames.out_of_turn(record(first[0], *early, first[1]), both, since=99.0) == 2
    assert frames.out_of_turn(record(first[0], *early, first[1]), {VIP}, since=99.0) == 0
    assert frames.out_of_turn(record(first[0], *early, first[1]), both, since=99.0, until=100.08) == 0
    others = [(100.05, "announcement", C, OTHER), (100.06, "announcement", C, OTHER)]
    assert frames.out_of_turn(record(first[0], *others), both, since=99.0) == 0, "each has its own turns"
    asked = (100.04, "probe", B, OTHER)
    assert frames.out_of_turn(record(first[0], asked, *early, first[1]), both, since=99.0) == 0, "no turn yet"
    asked = (99.9, "probe", B, OTHER)
    assert frames.out_of_turn(record(asked, first[0], *early, first[1]), both, since=99.0) == 2


def test_the_frames_of_one_node_in_a_second_are_counted() -> None:
    steady = [(100 + number * 0.25, "announcement", B, VIP) for number in range(12)]
    assert frames.most_in_a_second(record(*steady), {VIP}, since=99.0) == 4
    beside = [(101.1, "announcement", C, VIP), (101.1, "reply", B, VIP), (101.1, "probe", B, VIP)]
    assert frames.most_in_a_second(record(*steady[:5], *beside, *steady[5:]), {VIP}, since=99.0) == 4
    directed = [(101.1, "request", B, VIP), (101.2, "request", B, VIP)]
    assert frames.most_in_a_second(record(*steady[:5], *directed, *steady[5:]), {VIP}, since=99.0) == 6
    assert frames.most_in_a_second(record(*steady), {OTHER}, since=99.0) == 0
    assert frames.most_in_a_second(record(*steady), {VIP}, since=102.3) == 2


def test_half_a_line_is_left_out_and_nonsense_refused() -> None:
    whole = '["f","reply","02:00:00:00:00:11","02:00:00:00:00:12","198.18.1.0","198.18.0.2",1.0]\n'
    assert len(frames.parse([whole, whole[:20]]).frames) == 1
    with pytest.raises(MeasurementError, match="line 1"):
        frames.parse(["{}\n"])
