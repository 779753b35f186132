"""How long the decision about members takes: 10,000 addresses, 100 members, one process without a network.

`python -m bench.decide [--json FILE]`, about 30 s. A change is decided when no batch is left; the renewal of the lease and
everything else of the loop run between two batches, so the longest batch is given as well. Milliseconds.
"""

import argparse
import gc
import sys
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from typing import Final

import msgspec

from bench.facts import commit
from bench.limits import Limit, failures
from chaos.results import Figure, figure, to_json
from cluster.config.model import Config, Pool
from cluster.objects import (
    Endpoint,
    EndpointConditions,
    EndpointSlice,
    LoadBalancerIngress,
    LoadBalancerStatus,
    Node,
    ObjectMeta,
    Service,
    ServiceSpec,
    ServiceStatus,
)
from election.order import Order
from speaker.decide import Decider

ADDRESSES: Final = 10_000
MEMBERS: Final = 100
CHANGES: Final = 30
DECIDED_MS: Final = 50.0
_FIRST: Final = IPv4Address("198.18.0.0")


class Row(msgspec.Struct, frozen=True):
    """One kind of change."""

    change: str
    decided_ms: Figure
    """From the ring's word to the last batch."""
    longest_batch_ms: Figure
    moved: Figure
    """Addresses with another owner afterwards."""


class Facts(msgspec.Struct, frozen=True):
    """The whole run."""

    commit: str
    addresses: int
    members: int
    rows: tuple[Row, ...]
    limits: tuple[Limit, ...]


def names(count: int) -> list[str]:
    """Names of nodes."""
    return [f"node-{number}" for number in range(count)]


def service(number: int) -> Service:
    """A Service with one address."""
    status = LoadBalancerStatus(ingress=[LoadBalancerIngress(ip=str(_FIRST + number))])
    return Service(
        metadata=ObjectMeta(name=f"web-{number}", namespace="default"),
        spec=ServiceSpec(type="LoadBalancer", cluster_ip="198.19.128.1"),
        status=ServiceStatus(load_balancer=status),
    )


def endpoints(number: int) -> EndpointSlice:
    """Its one ready endpoint."""
    name = f"web-{number}"
    ready = EndpointConditions(ready=True, serving=True)
    return EndpointSlice(
        metadata=ObjectMeta(name=name, namespace="default", labels={"kubernetes.io/service-name": name}),
        endpoints=[Endpoint(["198.19.64.2"], ready, node_name="node-1")],
    )


def decider() -> Decider:
    """The first of the members, which has met nobody yet."""
    made = Decider(node=names(1)[0], order=Order.CURRENT)
    for name in names(MEMBERS):
        made.set_node(Node(metadata=ObjectMeta(name=name)))
    made.set_config(Config(pools=(Pool("lan", "layer2", (ip_network("198.18.0.0/16"),)),)))
    for number in range(ADDRESSES):
        made.set_service(service(number))
        made.set_slice(endpoints(number))
    made.set_members((), "")
    settle(made)
    return made


def settle(made: Decider) -> tuple[float, float, int]:
    """Decide to the end: milliseconds in all, those of the longest batch, and how many addresses moved."""
    longest, moved = 0.0, 0
    began = time.perf_counter()
    while made.pending:
        batch = time.perf_counter()
        moved += len(made.take(time.monotonic()).owner_changes)
        longest = max(longest, time.perf_counter() - batch)
    return (time.perf_counter() - began) * 1000, longest * 1000, moved


def row(change: str, found: list[tuple[float, float, int]]) -> Row:
    """Sum up one kind of change."""
    decided, longest, moved = zip(*found, strict=True)
    return Row(change, figure(decided), figure(longest), figure(map(float, moved)))


def measure() -> Iterator[Row]:
    """Every kind of change, one after the other."""
    made, everybody = decider(), names(MEMBERS)
    gc.collect()
    gc.freeze()

    def change(members: list[str]) -> tuple[float, float, int]:
        made.set_members(members, "bench")
        return settle(made)

    yield row("first meeting of all members", [change(everybody)])
    gone, back = [], []
    for number in range(1, CHANGES + 1):
        gone.append(change([name for name in everybody if name != f"node-{number}"]))
        back.append(change(everybody))
    yield row("a member dies", gone)
    yield row("a member comes", back)
    half = everybody[: MEMBERS // 2]
    gone, back = [], []
    for _ in range(3):
        gone.append(change(half))
        back.append(change(everybody))
    yield row("half of the members die", gone)
    yield row("half of the members come", back)


def print_row(one: Row) -> None:
    """One line."""
    cells = [one.decided_ms.p50, one.decided_ms.max, one.longest_batch_ms.max, one.moved.p50]
    numbers = "".join(f"{cell or 0:>12.1f}" for cell in cells)
    print(f"{one.change:<32}{one.decided_ms.n:>4}{numbers}", flush=True)


def main() -> int:
    """Measure, print, write the facts; 1 when a limit is broken."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.decide", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the facts to FILE as well")
    args = parser.parse_args()
    print(f"{'change':<32}{'n':>4}{'p50 ms':>12}{'max':>12}{'batch':>12}{'moved':>12}")
    measured = commit()
    rows = []
    for one in measure():
        rows.append(one)
        print_row(one)
    limits = [
        Limit(f"{one.change}, decided (p50)", one.decided_ms.p50 or 0.0, DECIDED_MS, "ms")
        for one in rows
        if one.change.startswith("a member")
    ]
    if args.json:
        args.json.write_text(to_json(Facts(measured, ADDRESSES, MEMBERS, tuple(rows), tuple(limits))))
    return failures(limits)


if __name__ == "__main__":
    sys.exit(main())
