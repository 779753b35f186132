"""The default gateway of each interface, from the kernel's tables as /proc shows them (proc(5), net/route and net/arp)."""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from announcer.layer2.interfaces import InterfaceView

_ROUTES: Final = "/proc/self/net/route"
_NEIGHBOURS: Final = "/proc/self/net/arp"
_RTF_UP_GATEWAY: Final = 0x3
_ATF_COM: Final = 0x2
_FIELDS: Final = 8
_NEIGHBOUR_FIELDS: Final = 6
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


def parse_neighbours(text: str, wanted: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the MAC that the kernel has for the wanted neighbour (4 bytes, network order) of each interface, by its name.

    No other line is looked at: there may be thousands, and hardware without such addresses among them.
    """
    shown = {name: ".".join(map(str, address)) for name, address in wanted.items()}
    addresses = set(shown.values())
    found: dict[str, bytes] = {}
    for line in text.splitlines()[1:]:
        if line.partition(" ")[0] not in addresses:
            continue
        fields = line.split()
        if (
            len(fields) != _NEIGHBOUR_FIELDS
            or shown.get(fields[5]) != fields[0]
            or not int(fields[2], 16) & _ATF_COM
        ):
            continue
        if len(mac := bytes.fromhex(fields[3].replace(":", ""))) == _MAC_BYTES:
            found[fields[5]] = mac
    return found


def read_gateways(interfaces: Iterable[InterfaceView]) -> dict[int, Gateway]:
    """Return the gateway of each of these interfaces that has one, by index; none where the table cannot be read."""
    views = list(interfaces)
    try:
        # Without pathlib: the responder process is to be small.
        with open(_ROUTES) as routes:
            gateways = parse_gateways(routes.read())
    except (OSError, ValueError):
        return {}
    wanted = {view.name: gateways[view.name] for view in views if view.name in gateways}
    try:
        with open(_NEIGHBOURS) as neighbours:
            macs = parse_neighbours(neighbours.read(), wanted)
    except (OSError, ValueError):
        macs = {}
    return {
        view.index: Gateway(wanted[view.name], macs.get(view.name, b""))
        for view in views
        if view.name in wanted
    }
