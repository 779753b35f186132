"""A new Service in a quiet cluster: from its address, and from its creation, to the first announcement on the wire.

`python -m bench.new_service [--repeat 40] [--json FILE]`, about 90 s. Three speakers in network namespaces of their own, the
controller, and an embedded API server with 10 Services; one Service after the other is created with its EndpointSlice. The
moments of the writes are those of the API server, that of the announcement is the kernel's time of the first gratuitous ARP
frame on the bridge. Milliseconds.
"""

import argparse
import random
import socket
import struct
import sys
import time
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Final

import anyio
import msgspec

from bench.facts import commit
from bench.limits import Limit, failures
from bench.yard import Yard, enter, until
from chaos.results import Figure, figure, to_json
from cluster.client import ApiClient

NODES: Final = 3
SERVICES: Final = 10
REPEAT: Final = 40
ANNOUNCED_MS: Final = 120.0
PATIENCE_S: Final = 5.0
_QUIET_S: Final = (0.7, 1.5)
_SO_TIMESTAMPNS: Final = 35
_TIMESPEC: Final = struct.Struct("@ll")
_SERVICES: Final = "/api/v1/namespaces/default/services"
_SLICES: Final = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"


class Facts(msgspec.Struct, frozen=True):
    """The whole run; milliseconds until the first announcement."""

    commit: str
    nodes: int
    services: int
    seed: int
    after_address: Figure
    after_creation: Figure
    address_after_creation: Figure
    limits: tuple[Limit, ...]


class Wire:
    """The gratuitous ARP frames on the bridge."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
        self._socket.bind(("br0", 0x0806))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.setblocking(False)
        self._first: dict[IPv4Address, float] = {}

    def first(self, address: IPv4Address) -> float | None:
        """Wall time of the first announcement of an address, None if there was none yet."""
        while True:
            try:
                frame, (control, *_), _, _ = self._socket.recvmsg(128, socket.CMSG_SPACE(_TIMESPEC.size))
            except BlockingIOError:
                return self._first.get(address)
            seconds, nanoseconds = _TIMESPEC.unpack(control[2])
            if frame[28:32] == frame[38:42]:
                self._first.setdefault(IPv4Address(frame[28:32]), seconds + nanoseconds / 1e9)


async def create(api: ApiClient, name: str) -> None:
    """A LoadBalancer Service with one ready endpoint."""
    ports = [{"port": 80}]
    endpoint = {"addresses": ["198.19.200.1"], "nodeName": "n1", "conditions": {"ready": True}}
    labels = {"kubernetes.io/service-name": name}
    piece: dict[str, Any] = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice"}
    piece |= {"metadata": {"name": f"{name}-1", "labels": labels}, "addressType": "IPv4"}
    await api.create(_SLICES, {**piece, "endpoints": [endpoint], "ports": ports}, dict)
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}}
    await api.create(_SERVICES, {**service, "spec": {"type": "LoadBalancer", "ports": ports}}, dict)


async def writes(api: ApiClient, name: str) -> tuple[float, float]:
    """Wall time of the creation of the Service that came last, and of the first write of its status."""
    document = msgspec.json.decode(await api.raw("GET", "/lab/requests"))
    done = [write for write in document["writes"] if write["code"] < 300]
    created = [write["at"] for write in done if (write["verb"], write["resource"]) == ("create", "services")]
    given = [write["at"] for write in done if (write["name"], write["resource"]) == (name, "services/status")]
    return created[-1], given[0]


async def one(api: ApiClient, wire: Wire, name: str) -> tuple[float, float, float]:
    """Milliseconds from address and from creation to the announcement, and from creation to address."""
    await create(api, name)
    with anyio.fail_after(PATIENCE_S):
        while True:
            found = await api.get(f"{_SERVICES}/{name}", dict)
            ingress = found.get("status", {}).get("loadBalancer", {}).get("ingress")
            announced = wire.first(IPv4Address(ingress[0]["ip"])) if ingress else None
            if announced is not None:
                break
            await anyio.sleep(0.05)
    created, given = await writes(api, name)
    return (announced - given) * 1000, (announced - created) * 1000, (given - created) * 1000


async def measure(yard: Yard, repeat: int, seed: int) -> Facts:
    """One Service after the other."""
    measured = commit()
    rng = random.Random(seed)
    wire = Wire()
    found = []
    async with ApiClient.from_kubeconfig(str(yard.kubeconfig)) as api:
        for number in range(repeat):
            await anyio.sleep(rng.uniform(*_QUIET_S))
            found.append(await one(api, wire, f"new-{number}"))
            print("{:>8.1f}{:>8.1f}{:>8.1f}".format(*found[-1]), flush=True)
    address, creation, given = (figure(values) for values in zip(*found, strict=True))
    limit = Limit("address to announcement (p50)", address.p50 or 0.0, ANNOUNCED_MS, "ms")
    return Facts(measured, NODES, SERVICES, seed, address, creation, given, (limit,))


def main() -> int:
    """Measure in namespaces of its own; 1 when the limit is broken."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.new_service", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--repeat", type=int, default=REPEAT, help=f"Services created (default {REPEAT})")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the facts to FILE as well")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.inside:
        return enter("bench.new_service", [*sys.argv[1:], "--inside"], timeout_s=120 + 5 * args.repeat)
    print("ms until announced: since address, since creation; until address")
    with Yard(nodes=NODES, services=SERVICES) as yard:
        yard.start_controller()
        yard.start_speakers()
        until("all addresses announced", lambda: yard.owned() == SERVICES)
        settled = time.monotonic() + 5
        until("quiet", lambda: time.monotonic() > settled)
        facts = anyio.run(measure, yard, args.repeat, args.seed)
    for what, value in (("address", facts.after_address), ("creation", facts.after_creation)):
        print(f"from {what}: n {value.n}, p50 {value.p50:.1f}, p90 {value.p90:.1f}, max {value.max:.1f} ms")
    if args.json:
        args.json.write_text(to_json(facts))
    return failures(facts.limits)


if __name__ == "__main__":
    sys.exit(main())
