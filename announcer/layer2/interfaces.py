"""Which network interfaces carry layer 2 announcements: the links of the kernel and the selection among them.

Pure: fed with what announcer/layer2/netlink.py parsed.
"""

from typing import NamedTuple

DEFAULT_EXCLUDE = (
    "^docker.*",
    "^cbr.*",
    "^dummy.*",
    "^virbr.*",
    "^lxcbr.*",
    "^veth.*",
    "^lo$",
    "^cali.*",
    "^tunl.*",
    "^flannel.*",
    "^kube-ipvs.*",
    "^cni.*",
    "^nodelocaldns.*",
    "^lxc.*",
)
"""Names that MetalLB excludes in the metallb-excludel2 ConfigMap that it ships."""


class InterfaceView(NamedTuple):
    """An interface on which addresses are announced."""

    index: int
    name: str
    mac: bytes
