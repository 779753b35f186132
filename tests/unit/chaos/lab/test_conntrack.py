"""The conntrack messages: what is read, what is taken for stale, and that no bytes break it."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from chaos.lab import conntrack
from chaos.lab.conntrack import Flow
from chaos.lab.dataplane import udp_targets
from chaos.lab.plan import node_plan
from tests.unit.chaos.lab import build


def attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def ends(source: str, source_port: int, target: str, target_port: int, protocol: int = 17) -> bytes:
    addresses = [attribute(i + 1, bytes(map(int, a.split(".")))) for i, a in enumerate((source, target))]
    ports = [attribute(i + 2, struct.pack("!H", p)) for i, p in enumerate((source_port, target_port))]
    return attribute(1, b"".join(addresses)) + attribute(2, attribute(1, bytes([protocol])) + b"".join(ports))


def dumped(*bodies: bytes) -> bytes:
    return b"".join(conntrack.message(256, 2, body) for body in bodies)


def test_a_dump_is_read() -> None:
    original = ends("198.18.0.2", 5000, "198.18.1.0", 7)
    reply = ends("198.19.65.2", 7, "198.18.0.11", 6000)
    tcp = attribute(1, ends("1.1.1.1", 1, "2.2.2.2", 2, 6)) + attribute(
        2, ends("2.2.2.2", 2, "1.1.1.1", 1, 6)
    )
    data = dumped(attribute(1, original) + attribute(2, reply), tcp)
    found, over = conntrack.flows(data)
    assert not over
    (flow,) = found
    assert (flow.sent_to, flow.answered_by) == (("198.18.1.0", 7), ("198.19.65.2", 7))
    assert flow.name == struct.pack("=HH", 4 + len(original), 0x8001) + original
    assert conntrack.flows(data + struct.pack("=IHHII", 20, 3, 2, 1, 0) + b"\0" * 4)[1]


@given(st.binary(max_size=200))
def test_any_bytes_are_read(data: bytes) -> None:
    found, over = conntrack.flows(data)
    assert isinstance(over, bool)
    assert len(found) <= len(data)


def test_only_flows_to_services_can_be_stale() -> None:
    service = build.service(
        ip="198.18.1.0",
        clusterIP="198.19.128.9",
        ports=[{"name": "http", "port": 7, "protocol": "UDP", "nodePort": 30007}],
    )
    found = build.endpoint_slice(build.endpoint("198.19.65.2", "n1", ready=True), protocol="UDP")
    targets = udp_targets([service], [found], node_plan(1))
    assert set(targets) == {("198.18.1.0", 7), ("198.19.128.9", 7), ("198.18.0.11", 30007)}
    for sent_to, answered_by, expected in (
        (("198.18.1.0", 7), ("198.19.65.2", 8080), False),
        (("198.18.1.0", 7), ("198.19.65.9", 8080), True),
        (("198.18.1.0", 7), ("198.18.1.0", 7), True),
        (("198.18.0.13", 7946), ("198.18.0.13", 7946), False),
    ):
        assert conntrack.stale(Flow(sent_to, answered_by, b""), targets) is expected
