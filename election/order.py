"""The two generations of MetalLB's election: which key is hashed and who is a candidate, as one switch."""

from __future__ import annotations

import enum
import hashlib


class Order(enum.StrEnum):
    """Key and candidate rule of one MetalLB generation; all speakers of a ring must use the same.

    CURRENT: sha256(node#address), preference weights first; candidates are the live speakers on usable
    nodes (metallb 0.11 and later, speaker/layer2_controller.go; its weights are younger).
    V09: sha256(node#namespace/name); candidates are the live members that host a ready endpoint
    (metallb v0.9 and v0.10, speaker/layer2_controller.go).
    """

    CURRENT = "current"
    V09 = "v0.9"


def digest(node: str, text: str) -> bytes:
    """SHA-256 of `node#text`; of two candidates the one with the lower digest ranks higher.

    `text` is the canonical address under Order.CURRENT, `namespace/name` of the Service under Order.V09.
    """
    return hashlib.sha256(f"{node}#{text}".encode()).digest()
