"""The default gateway of each interface, from the kernel's routing table as /proc shows it (proc(5), net/route)."""

from collections.abc import Iterable
from typing import Final

from announcer.layer2.interfaces import InterfaceView

_ROUTES: Final = "/proc/self/net/route"
_RTF_UP_GATEWAY: Final = 0x3
_FIELDS: Final = 8


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


def read_gateways(interfaces: Iterable[InterfaceView]) -> dict[int, bytes]:
    """Return the gateway of each of these interfaces that has one, by index; none where the table cannot be read."""
    try:
        # Without pathlib: the responder process is to be small.
        with open(_ROUTES) as routes:
            gateways = parse_gateways(routes.read())
    except (OSError, ValueError):
        return {}
    return {view.index: gateways[view.name] for view in interfaces if view.name in gateways}
