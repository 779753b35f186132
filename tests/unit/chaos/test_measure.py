"""A whole run's facts from synthetic records of probe, observer and logs."""

import json

import pytest

from chaos import frames, measure, neighbours, outage, owners, phases
from chaos.results import Run

VIP = "198.18.1.0"
MACS = {"02:00:00:00:00:11": "n1", "02:00:00:00:00:12": "n2", "02:00:00:00:00:13": "n3"}
MAC = {node: mac for mac, node in MACS.items()}
WALL = 1_790_000_000.0
FAULT = 105.0


def probe(*, silent_from: float, silent_until: float, until: float = 115.0) -> outage.ProbeRecord:
    events: list[list[object]] = [["probe", "udp", VIP, 7, 0.01, 100.0, WALL + 100.0]]
    for number in range(round((until - 100) / 0.01)):
        at = 100 + number * 0.01
        events.append(["sent", number, at])
        if not silent_from <= at < silent_until:
            events.append(["answered", number, at + 0.001, "echo"])
    return outage.parse([json.dumps(event) + "\n" for event in events])


def observer(
    *changes: tuple[float, tuple[str, ...]], announced: tuple[tuple[float, str], ...] = ()
) -> owners.ObserverRecord:
    """`changes`: from that time on these nodes answer."""
    events: list[list[object]] = [["observer", "eth0", 0.05, 4, 100.0, WALL + 100.0]]
    for number in range(300):
        at = 100 + number * 0.05
        events.append(["q", number, VIP, at])
        answering = [nodes for since, nodes in changes if since <= at + 1e-9][-1]
        events += [["a", number, VIP, MAC[node], at + 0.001] for node in answering]
    events += [["g", VIP, MAC[node], "request", at] for at, node in announced]
    events.append(["end", 115.0])
    return owners.parse([json.dumps(event) + "\n" for event in events])


def log(node: str, *lines: tuple[float, dict[str, str]]) -> list[phases.Entry]:
    return [
        entry
        for after, fields in lines
        for entry in phases.read_log(node, json.dumps({"ts": phases.rfc3339(WALL + FAULT + after), **fields}))
    ]


def power_off(**changes: object) -> Run:
    fields: dict[str, object] = {
        "vip": VIP,
        "victim": "n2",
        "fault": FAULT,
        "end": 115.0,
        "probe": probe(silent_from=FAULT, silent_until=107.0),
        "observer": observer(
            (0, ("n2",)), (105.0, ()), (107.0, ("n1",)), announced=((104.0, "n1"), (106.99, "n1"))
        ),
        "log": [
            *log("n1", (1.9, {"event": "memberDead", "member": "n2"})),
            *log("n1", (1.95, {"event": "ownerChanged", "ip": VIP, "owner": "n1", "previous": "n2"})),
            *log(
                "n3",
                (0.7, {"event": "memberSuspect", "member": "n2"}),
                (1.8, {"event": "memberDead", "member": "n2"}),
            ),
        ],
        "nodes_by_mac": MACS,
        "detected_by": {"memberDead"},
        **changes,
    }
    return measure.assess(measure.Evidence(**fields))  # type: ignore[arg-type]


def test_power_off() -> None:
    run = power_off()
    assert run.failure is None
    assert (run.owner_before, run.owner_after) == ("n2", "n1")
    assert run.outage_s == pytest.approx(2.01)
    assert (run.sent, run.lost) == (1100, 200)
    assert run.no_owner_s == pytest.approx(2.0)
    assert run.two_owners_s == 0
    assert run.suspected_s == pytest.approx(0.7, abs=1e-5)
    assert run.phases.detected_s == pytest.approx(1.9, abs=1e-5), (
        "the new owner's line, not the first one of all"
    )
    assert run.phases.elected_s == pytest.approx(1.95, abs=1e-5)
    assert run.phases.announced_s == pytest.approx(1.99), "frames before the fault do not count"
    assert run.phases.answered_s == pytest.approx(2.001)


def test_without_an_outage_nothing_is_answered_again() -> None:
    run = power_off(probe=probe(silent_from=0, silent_until=0))
    assert run.outage_s == pytest.approx(0.01)
    assert run.phases.answered_s is None
    assert run.lost == 0


def test_an_address_that_does_not_come_back_is_a_failed_run() -> None:
    run = power_off(
        probe=probe(silent_from=FAULT, silent_until=200), observer=observer((0, ("n2",)), (105.0, ())), log=[]
    )
    assert run.failure == "no answer came after the fault: the address did not come back"
    assert run.outage_s is None
    assert run.owner_after == "n2"
    assert run.phases.detected_s is None


def test_two_owners_while_a_node_returns() -> None:
    run = power_off(
        observer=observer((0, ("n1",)), (108.0, ("n1", "n2")), (108.5, ("n2",)), announced=((108.0, "n2"),)),
        probe=probe(silent_from=0, silent_until=0),
        log=log("n1", (2.5, {"event": "memberJoined", "member": "n2"}))
        + log("n3", (2.0, {"event": "memberJoined", "member": "n2"})),
        detected_by={"memberJoined"},
        comes_back=True,
    )
    assert (run.owner_before, run.owner_after) == ("n1", "n2")
    assert run.two_owners_s == pytest.approx(0.5)
    assert run.no_owner_s == 0
    assert run.phases.detected_s == pytest.approx(2.5, abs=1e-5), "who hands over has to know, not anybody"
    assert run.phases.announced_s == pytest.approx(3.0)


def test_the_reason_of_a_run_that_did_not_settle_is_kept() -> None:
    assert (
        measure.assess(
            measure.Evidence(
                vip=VIP,
                victim="n2",
                fault=FAULT,
                end=115.0,
                probe=probe(silent_from=FAULT, silent_until=200),
                observer=observer((0, ("n2",))),
                log=[],
                nodes_by_mac=MACS,
                detected_by=(),
            ),
            failure="not at rest within 90 s",
        ).failure
        == "not at rest within 90 s"
    )


def test_settled_misled_and_strays_are_taken_from_the_records() -> None:
    lines = [
        ["f", "announcement", MAC["n1"], "ff:ff:ff:ff:ff:ff", VIP, VIP, FAULT + 1.99],
        ["f", "reply", MAC["n2"], "02:00:00:00:01:02", VIP, "198.18.0.2", FAULT + 2.5],
    ]
    entries = [["n", MAC["n2"], 100.0], ["n", MAC["n1"], FAULT + 2.3]]
    run = power_off(
        victims=("n2",),
        owned={VIP: "n2", "198.18.1.1": "n3"},
        right={VIP: "n1"},
        frames=frames.parse([json.dumps(line) + "\n" for line in lines]),
        neighbour=neighbours.parse([json.dumps(entry) + "\n" for entry in entries]),
    )
    assert run.back_s == pytest.approx(1.99)
    assert (run.strays, run.moves) == (1, 1)
    assert run.settled_s == pytest.approx(2.0)
    assert run.neighbour_s == pytest.approx(0.31)
    assert run.silent_s == pytest.approx(2.0)
    assert run.waited_s == pytest.approx(0.001, abs=1e-5)
    assert run.whole_s == pytest.approx(1.99)


def tapped(*events: tuple[float, str, str, str]) -> frames.FrameRecord:
    """Broadcasts: seconds after the fault, kind, node and VIP."""
    return frames.FrameRecord(
        tuple(
            frames.Frame(
                kind,
                MAC[node],
                "ff:ff:ff:ff:ff:ff",
                "0.0.0.0" if kind == "probe" else vip,
                "198.18.0.2" if kind == "reply" else vip,
                FAULT + after,
            )
            for after, kind, node, vip in events
        )
    )


def test_a_return_moves_addresses_on_purpose() -> None:
    run = power_off(victims=("n2",), owned={VIP: "n2"}, frames=frames.FrameRecord(), comes_back=True)
    assert (run.back_s, run.strays, run.moves) == (None, None, None)
    assert run.misplaced is None, "nobody said whose it has to be"


def test_addresses_of_any_node_count_as_moved() -> None:
    owned = {VIP: "n2", "198.18.1.1": "n3", "198.18.1.2": "n1"}
    seen = tapped((2.0, "announcement", "n1", "198.18.1.1"), (3.0, "announcement", "n3", "198.18.1.1"))
    run = power_off(victims=("n2",), owned=owned, frames=seen)
    assert run.moves == 1, "not one of the victim's"
    assert power_off(victims=("n2",), owned=owned, frames=tapped()).moves == 0


@pytest.mark.parametrize("comes_back", [False, True])
def test_who_announced_last_is_compared_with_the_election(comes_back: bool) -> None:
    owned, right = {VIP: "n2", "198.18.1.1": "n3"}, {VIP: "n1", "198.18.1.1": "n3"}
    moved = (1.99, "announcement", "n1", VIP)
    fields = {"victims": ("n2",), "owned": owned, "right": right, "comes_back": comes_back}
    assert power_off(frames=tapped(moved), **fields).misplaced == 0
    assert power_off(frames=tapped(), **fields).misplaced == 1
    wrong = (3.0, "announcement", "n1", "198.18.1.1")
    assert power_off(frames=tapped(moved, wrong), **fields).misplaced == 1, "the observer did not ask for it"
    late = (20.0, "announcement", "n2", VIP)
    assert power_off(frames=tapped(moved, late), **fields).misplaced == 0, "after the end"


def test_only_addresses_that_were_asked_for_can_be_seen_to_settle() -> None:
    run = power_off(victims=("n2",), owned={VIP: "n2"}, right={VIP: "n1", "198.18.1.1": "n3"})
    assert run.settled_s == pytest.approx(2.0)
    assert power_off(victims=("n2",), owned={VIP: "n2"}, right={VIP: "n3"}).settled_s is None


def test_a_stray_frame_after_a_later_stall_counts() -> None:
    seen = tapped(
        (0.5, "announcement", "n1", VIP),
        (0.8, "probe", "n2", VIP),
        (2.5, "announcement", "n1", VIP),
        (2.8, "reply", "n2", VIP),
    )
    fields = {"victims": ("n2",), "owned": {VIP: "n2"}, "frames": seen}
    assert power_off(stalls=(FAULT,), **fields).strays == 0
    assert power_off(stalls=(FAULT, FAULT + 2.0), **fields).strays == 1
