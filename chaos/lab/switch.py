"""The two networks of a lab: bridges, ports, addresses, and the filter that makes a link go dead without a word.

The functions return scripts for ip and nft; engine.py runs them in the lab's own network namespace (the switch).
"""

from __future__ import annotations

from collections.abc import Iterable

from chaos.lab.plan import (
    API_ADDRESS,
    CLIENT,
    DATA_NETWORK,
    MGMT_NETWORK,
    OBSERVER,
    ROUTER,
    HostPlan,
    LabPlan,
    NodePlan,
)

_DATA_MAC = "02:00:00:00:01:01"
_MGMT_MAC = "02:00:00:00:02:01"
# A bridge that starts forwarding at once and floods multicast like a plain switch.
_BRIDGE = "type bridge stp_state 0 forward_delay 0 mcast_snooping 0"


def switch_script(plan: LabPlan) -> list[str]:
    """ip commands that make bridges, named namespaces and ports."""
    lines = [
        "link set lo up",
        f"link add br-data address {_DATA_MAC} {_BRIDGE}",
        f"link add br-mgmt address {_MGMT_MAC} {_BRIDGE}",
        f"addr add {ROUTER}/{DATA_NETWORK.prefixlen} dev br-data",
        f"addr add {API_ADDRESS}/{MGMT_NETWORK.prefixlen} dev br-mgmt",
        "link set br-data up",
        "link set br-mgmt up",
    ]
    for host in (CLIENT, OBSERVER):
        lines += [f"netns add {host.name}", *_port(host.data_port, "br-data", host.name, "eth0", host.mac)]
    for node in plan.nodes:
        lines += [
            f"netns add {node.name}",
            *_port(node.data_port, "br-data", node.name, "eth0", node.mac),
            *_port(node.mgmt_port, "br-mgmt", node.name, "mgmt0", node.mgmt_mac),
            f"route add {node.pod_network} via {node.address}",
        ]
    return lines


def _port(port: str, bridge: str, host: str, inside: str, mac: str) -> list[str]:
    return [
        f"link add {port} type veth peer name {inside} address {mac} netns {host}",
        f"link set {port} master {bridge} up",
    ]


def host_script(host: HostPlan) -> list[str]:
    """ip commands inside the client or the observer."""
    return [
        "link set lo up",
        f"addr add {host.address}/{DATA_NETWORK.prefixlen} dev eth0",
        "link set eth0 up",
        f"route add default via {ROUTER}",
    ]


def node_script(node: NodePlan, plan: LabPlan) -> list[str]:
    """ip commands inside a node: its addresses, and the way to the other nodes' pods."""
    return [
        "link set lo up",
        f"addr add {node.address}/{DATA_NETWORK.prefixlen} dev eth0",
        f"addr add {node.mgmt_address}/{MGMT_NETWORK.prefixlen} dev mgmt0",
        "link set eth0 up",
        "link set mgmt0 up",
        f"route add default via {ROUTER}",
        *(f"route add {other.pod_network} via {other.address}" for other in plan.nodes if other != node),
    ]


FILTER = """
table bridge lab {
  set dead { type ifname; }
  chain in { type filter hook prerouting priority -300; iifname @dead drop; }
  chain out { type filter hook postrouting priority -300; oifname @dead drop; }
}
"""
"""nft script: everything that comes from or goes to a port in `dead` is lost; its carrier stays."""


def cut(ports: Iterable[str]) -> str:
    """nft script that lets ports go dead, all in the same moment."""
    return f"add element bridge lab dead {{ {', '.join(ports)} }}\n"


def mend(ports: Iterable[str]) -> str:
    """nft script that brings dead ports back. Adding first makes it hold for ports that were not dead."""
    names = ", ".join(ports)
    return f"add element bridge lab dead {{ {names} }}\ndelete element bridge lab dead {{ {names} }}\n"
