"""What can go wrong in the ring: one family of exceptions, and the reasons for which peer bytes are refused."""

from enum import StrEnum


class RejectReason(StrEnum):
    """Why something that a peer sent was not acted upon; the value is the metric label."""

    UNDECRYPTABLE = "undecryptable"
    """No key of ours opens it: another secret, another key size, or another program on the port."""
    UNENCRYPTED = "unencrypted"
    """Plain text, while this ring is encrypted."""
    ENCRYPTED = "encrypted"
    """It looks encrypted, while this ring is plain text."""
    LABELLED = "labelled"
    """It carries another memberlist label than this ring's (MetalLB uses none)."""
    CHECKSUM = "checksum"
    """The CRC does not fit."""
    MALFORMED = "malformed"
    """Not a message of this protocol, or a field out of its range."""
    TRUNCATED = "truncated"
    """It ended before its announced length."""
    UNSUPPORTED = "unsupported"
    """A message type that does not belong here."""
    TOO_LARGE = "tooLarge"
    """Beyond one of the limits of SwimConfig."""
    WRONG_NODE = "wrongNode"
    """A ping meant for another name: an address was reused, or NAT is in the way."""
    CONFLICT = "conflict"
    """A living member's name at another address."""
    INCOMPATIBLE = "incompatible"
    """Protocol versions that do not fit together (memberlist state.go, verifyProtocol)."""
    TABLE_FULL = "tableFull"
    """More members than SwimConfig.max_members."""
    BUSY = "busy"
    """More streams at once than SwimConfig.max_streams."""
    REMOTE_ERROR = "remoteError"
    """The peer refused our stream and said why."""


class GossipError(Exception):
    """Base of everything this package raises."""


class UsageError(GossipError):
    """A wrong call by the application; nothing was changed."""


class ConfigError(GossipError):
    """A setting out of its range; the message names the field and what is allowed."""


class DecodeError(GossipError):
    """Peer bytes that cannot be used. Raised inside the package only: a node turns it into `PeerRejected`."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
