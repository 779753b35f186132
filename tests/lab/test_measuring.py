"""Probe, observer, tap and neighbour watcher against real hosts: two namespaces behind a bridge, both the kernel's own ARP."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chaos import frames, neighbours, outage, owners
from tests.lab import two_hosts

A, B = two_hosts.MACS["a"], two_hosts.MACS["b"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    out = tmp_path_factory.mktemp("measured")
    # Its own process namespace, so that nothing outlives it.
    namespace = ["--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        namespace = ["--user", "--map-root-user", *namespace]
    done = subprocess.run(
        ["unshare", *namespace, sys.executable, two_hosts.__file__, str(out)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, (
        f"two_hosts: {done.stdout}{done.stderr}\nneeds: apt-get install iproute2 util-linux"
    )
    return out, json.loads(done.stdout)


def records(out: Path) -> tuple[outage.ProbeRecord, outage.ProbeRecord, owners.ObserverRecord]:
    def read(name: str) -> list[str]:
        return (out / f"{name}.jsonl").read_text().splitlines(keepends=True)

    return outage.parse(read("udp")), outage.parse(read("http")), owners.parse(read("observer"))


def test_all_three_end_by_themselves_with_whole_records(measured: tuple[Path, dict[str, object]]) -> None:
    out, facts = measured
    udp, http, seen = records(out)
    assert facts["codes"] == [0] * 5
    assert udp.complete
    assert http.complete
    assert seen.end is not None


def test_probe_sees_the_outage_and_who_answers(measured: tuple[Path, dict[str, object]]) -> None:
    out, facts = measured
    fault, back = float(str(facts["fault"])), float(str(facts["back"]))
    udp, http, _ = records(out)
    for record in (udp, http):
        gap = outage.longest_gap(record, fault=fault)
        assert gap.start < back < gap.end, "the gap covers the time without an owner"
        assert gap.seconds >= back - fault - outage.noise_s(record)
        assert outage.sent_and_lost(record, since=fault)[1] > 0
    assert {answer.by for answer in udp.answered} == {"a", "b"}
    assert outage.longest_gap(udp, fault=fault).by == "b"
    assert {answer.by for answer in http.answered} == {"200"}


def test_observer_sees_one_owner_two_owners_and_none(measured: tuple[Path, dict[str, object]]) -> None:
    out, facts = measured
    fault, back = float(str(facts["fault"])), float(str(facts["back"]))
    _, _, seen = records(out)
    states = [interval.owners for interval in owners.intervals(seen, two_hosts.VIP)]
    assert states[-5:] == [{A}, {A, B}, {B}, frozenset(), {B}]
    assert owners.two_owners_s(seen, since=0, until=fault) > 0
    assert owners.two_owners_s(seen, since=fault, until=float(seen.end or 0)) == 0
    silent = owners.no_owner_s(seen, since=fault, until=float(seen.end or 0))
    assert silent == pytest.approx(back - fault, abs=0.5)


def test_the_tap_sees_what_the_two_say_to_others(measured: tuple[Path, dict[str, object]]) -> None:
    out, facts = measured
    seen = frames.parse((out / "frames.jsonl").read_text().splitlines(keepends=True)).frames
    replies = [frame for frame in seen if (frame.kind, frame.sender) == ("reply", two_hosts.VIP)]
    assert {frame.mac for frame in replies} == {A, B}
    assert {frame.mac for frame in replies if frame.at > float(str(facts["back"]))} == {B}
    assert all(frame.to not in (A, B) for frame in replies)


def test_the_client_forgets_and_learns_again(measured: tuple[Path, dict[str, object]]) -> None:
    out, facts = measured
    record = neighbours.parse((out / "neighbour.jsonl").read_text().splitlines(keepends=True))
    assert record.deleted > 3
    assert {entry.mac for entry in record.entries} == {"", A, B}
    assert neighbours.right_s(record, B, since=float(str(facts["back"]))) == 0
