"""Hosts of their own for the members of one ring: network namespaces behind a bridge that can be cut in two."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence

import pytest

TOOLS = {
    "ip": "iproute2",
    "nft": "nftables",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
}
ROOT = os.geteuid() == 0


class Namespace:
    """A network namespace; it lasts as long as the process that holds it, which ends with this one."""

    def __init__(self, within: "Namespace | None", stack: contextlib.ExitStack) -> None:
        make = ["unshare", "-n", "cat"] if ROOT or within else ["unshare", "-Urn", "cat"]
        command = [*within.enter, *make] if within else make
        self.holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        stack.callback(self.holder.wait)
        stack.callback(self.holder.kill)
        assert self.holder.stdin is not None
        stack.callback(self.holder.stdin.close)
        # Its process first starts in a namespace that exists already.
        known = {_namespace(within.holder.pid) if within else "", _namespace(os.getpid()), ""}
        deadline = time.monotonic() + 10
        while _namespace(self.holder.pid) in known:
            assert self.holder.poll() is None, "no network namespace; it takes root or user namespaces"
            assert time.monotonic() < deadline, "unshare did not come to its end"
            time.sleep(0.01)

    @property
    def enter(self) -> list[str]:
        """What to put before a command that shall run here."""
        user = [] if ROOT else ["-U", "--preserve-credentials"]
        return ["nsenter", "-t", str(self.holder.pid), *user, "-n"]

    def run(self, *command: str, text: str = "") -> None:
        """Run a command to its end."""
        done = subprocess.run([*self.enter, *command], input=text.encode(), capture_output=True, check=False)
        assert not done.returncode, f"{' '.join(command)}: {done.stderr.decode()}"


def _namespace(process: int) -> str:
    """The network namespace of a process; empty when it is gone."""
    try:
        return os.readlink(f"/proc/{process}/ns/net")
    except FileNotFoundError:
        return ""


class Network:
    """Hosts by name, each with its address on one bridge."""

    def __init__(self, hosts: Sequence[str], stack: contextlib.ExitStack, *, ipv6: bool) -> None:
        self.switch = Namespace(None, stack)
        self.switch.run("ip", "link", "add", "br0", "type", "bridge")
        self.switch.run("ip", "link", "set", "br0", "up")
        self.hosts: dict[str, Namespace] = {}
        self.addresses: dict[str, str] = {}
        for number, name in enumerate(hosts, 1):
            host = self.hosts[name] = Namespace(self.switch, stack)
            self.addresses[name] = f"2001:2::{number}" if ipv6 else f"198.18.0.{number}"
            port = f"to-{name}"
            pid = str(host.holder.pid)
            self.switch.run("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", pid)
            self.switch.run("ip", "link", "set", port, "master", "br0", "up")
            prefix = ["/64", "dev", "eth0", "nodad"] if ipv6 else ["/24", "dev", "eth0"]
            host.run("ip", "address", "add", self.addresses[name] + prefix[0], *prefix[1:])
            for link in ("lo", "eth0"):
                host.run("ip", "link", "set", link, "up")

    def cut(self, side: Sequence[str]) -> None:
        """No frame passes any more between these hosts and the others."""
        these = ", ".join(f'"to-{name}"' for name in side)
        others = ", ".join(f'"to-{name}"' for name in self.hosts if name not in side)
        rules = "".join(
            f"iifname {{ {source} }} oifname {{ {target} }} drop\n"
            for source, target in ((these, others), (others, these))
        )
        self._filter(rules)

    def lose_datagrams_to(self, host: str) -> None:
        """No UDP reaches this host any more; TCP does."""
        self._filter(
            "".join(f'oifname "to-{host}" {udp} drop\n' for udp in ("ip protocol udp", "ip6 nexthdr udp"))
        )

    def lose(self, percent: int) -> None:
        """Every IPv4 packet is lost with this chance."""
        self._filter(f"ip version 4 numgen random mod 100 < {percent} drop\n")

    def _filter(self, rules: str) -> None:
        chain = f"chain forward {{ type filter hook forward priority 0;\n{rules}}}"
        self.switch.run("nft", "-f", "-", text=f"table bridge cut {{\n{chain}\n}}\n")

    def heal(self) -> None:
        """Let everything pass again."""
        self.switch.run("nft", "delete", "table", "bridge", "cut")


@contextlib.contextmanager
def network(hosts: Sequence[str], *, ipv6: bool = False) -> Iterator[Network]:
    """Make the hosts, and remove them whatever happens."""
    if "/usr/sbin" not in os.environ["PATH"].split(os.pathsep):
        os.environ["PATH"] += os.pathsep + "/usr/sbin"
    for tool, package in TOOLS.items():
        if shutil.which(tool) is None:
            pytest.fail(f"{tool} is missing; install it with: sudo apt-get install {package}")
    with contextlib.ExitStack() as stack:
        yield Network(hosts, stack, ipv6=ipv6)
