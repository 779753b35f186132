"""The two networks of a lab: bridges, ports, addresses, and the filter that makes a link go dead without a word.

The functions return scripts for ip and nft; engine.py runs them in the lab's own network namespace (the switch).
"""

from __future__ import annotations

from collections.abc import Iterable

from chaos.lab.plan import (
    API_ADDRESS,
    DATA_NETWORK,
    HOSTS,
    MGMT_NETWORK,
    OBSERVER,
    ROUTER,
    HostPlan,
    LabPlan,
    NodePlan,
)

SWITCH = ""
"""The host of the bridges, for programs that run where every port is in sight."""
ARP_PORT = "d-arp"
"""The port by which a switch that suppresses ARP hands requests to chaos/lab/proxy_arp.py."""
ARP_INTERFACE = "arp0"
"""The other end of that port."""

_DATA_MAC = "02:00:00:00:01:01"
_MGMT_MAC = "02:00:00:00:02:01"
_ARP_MAC = "02:00:00:00:01:09"
_SUPPRESSION = "suppression"
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
    for host in HOSTS:
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
    """ip commands inside a host that is no node."""
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


SUPPRESSION_PORT = (
    f"link add {ARP_PORT} type veth peer name {ARP_INTERFACE} address {_ARP_MAC}",
    # Without ARP and addresses of its own: the kernel would answer there for the router.
    f"link set {ARP_INTERFACE} addrgenmode none arp off up",
    f"link set {ARP_PORT} addrgenmode none master br-data up",
    # Requests come back with the MAC address of whoever asked, which is not there.
    f"link set {ARP_PORT} type bridge_slave learning off",
)
"""ip commands that make the port of chaos/lab/proxy_arp.py."""

NO_SUPPRESSION_PORT = (f"link delete {ARP_PORT}",)
NO_SUPPRESSION = f"delete table bridge {_SUPPRESSION}\n"


def suppression(plan: LabPlan) -> str:
    """nft script that brings broadcast ARP requests to proxy_arp.py instead of to every port.

    What comes back from there is flooded, but not to where it came from. The router is the switch itself and gets
    requests as ever. So do all hosts those of the observer: it is to hear the owners, not the cache.
    """
    hosts: tuple[HostPlan | NodePlan, ...] = (*HOSTS, *plan.nodes)
    own = ", ".join(f'"{host.data_port}" . {host.mac}' for host in hosts)
    return f"""
table bridge {_SUPPRESSION} {{
  set own {{ type ifname . ether_addr; elements = {{ {own} }} }}
  chain forward {{
    type filter hook forward priority 0;
    iifname "{ARP_PORT}" oifname . ether saddr @own drop
    iifname "{ARP_PORT}" accept
    oifname "{ARP_PORT}" iifname "{OBSERVER.data_port}" drop
    iifname "{OBSERVER.data_port}" accept
    oifname != "{ARP_PORT}" ether daddr ff:ff:ff:ff:ff:ff arp operation request drop
  }}
  chain input {{ type filter hook input priority 0; iifname "{ARP_PORT}" drop; }}
  chain output {{ type filter hook output priority 0; oifname "{ARP_PORT}" drop; }}
}}
"""
