"""The default gateway of each interface, from the kernel's tables as /proc shows them (proc(5), net/route and net/arp)."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from announcer.layer2.interfaces import InterfaceView

_ROUTES: Final = "/proc/self/net/route"
_NEIGHBOURS: Final = "/proc/self/net/arp"
_RTF_UP_GATEWAY: Final = 0x3
_ATF_COM: Final = 0x2
_FIELDS: Final = 8
_MAC_BYTES: Final = 6


class Gateway(NamedTuple):
    """Address of a gateway (4 bytes, network order), and the MAC that the kernel has for it, empty where it has none."""

    address: bytes
    mac: bytes = b""


def parse_gateways(text: str) -> dict[str, bytes]:
    """Return the gateway (4 bytes, network order) of the best default route of each interface, by its name."""
    best: dict[str, tuple[int, bytes]] = {}
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) < _FIELDS or fields[1] != "00000000" or fields[7] != "00000000":
            continue
        if int(fields[3], 16) & _RTF_UP_GATEWAY != _RTF_UP_GATEWAY:
            continue
        # The kernel prints the four bytes as one number of the machine's own order, which is little-endian wherever
        # this runs; a wrong guess is an address that never answers.
        metric, gateway = int(fields[6]), bytes.fromhex(fields[2])[::-1]
        if fields[0] not in best or metric < best[fields[0]][0]:
            best[fields[0]] = metric, gateway
    return {name: gateway for name, (_, gateway) in best.items()}


def parse_neighbours(text: str) -> dict[tuple[str, bytes], bytes]:
    """Return the MAC of each neighbour that the kernel has resolved, by interface name and address (4 bytes)."""
    found: dict[tuple[str, bytes], bytes] = {}
    for line in text.splitlines()[1:]:
        address, _, flags, mac, _, name = line.split()
        if int(flags, 16) & _ATF_COM and len(raw := bytes.fromhex(mac.replace(":", ""))) == _MAC_BYTES:
            found[name, bytes(map(int, address.split(".")))] = raw
    return found


def read_gateways(interfaces: Iterable[InterfaceView]) -> dict[int, Gateway]:
    """Return the gateway of each of these interfaces that has one, by index; none where the tables cannot be read."""
    try:
        # Without pathlib: the responder process is to be small.
        with open(_ROUTES) as routes:
            gateways = parse_gateways(routes.read())
        with open(_NEIGHBOURS) as neighbours:
            macs = parse_neighbours(neighbours.read())
    except (OSError, ValueError):
        return {}
    return {
        view.index: Gateway(address, macs.get((view.name, address), b""))
        for view in interfaces
        if (address := gateways.get(view.name)) is not None
    }
