"""The ring's settings from MetalLB's memberlist file and flags (metallb internal/speakerlist/speakerlist.go)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import msgspec

from gossip.config import SwimConfig
from gossip.errors import ConfigError
from speaker.durations import go_duration
from speaker.options import RingOptions

_MAX_BYTES: Final = 64 * 1024


class _Duration(str):
    """A Go duration such as 500ms."""

    __slots__ = ()


_Number = Annotated[int, msgspec.Meta(ge=0)]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """MetalLB's memberlist/config.json; what is not given keeps memberlist's default for a LAN."""

    TCPTimeout: _Duration | None = None
    IndirectChecks: _Number | None = None
    RetransmitMult: _Number | None = None
    SuspicionMult: _Number | None = None
    SuspicionMaxTimeoutMult: _Number | None = None
    PushPullInterval: _Duration | None = None
    ProbeTimeout: _Duration | None = None
    ProbeInterval: _Duration | None = None
    DisableTcpPings: bool | None = None
    AwarenessMaxMultiplier: _Number | None = None
    GossipNodes: _Number | None = None
    GossipInterval: _Duration | None = None
    GossipToTheDeadTime: _Duration | None = None
    GossipVerifyIncoming: bool | None = None
    GossipVerifyOutgoing: bool | None = None
    EnableCompression: bool | None = None
    HandoffQueueDepth: _Number | None = None
    UDPBufferSize: _Number | None = None
    QueueCheckInterval: _Duration | None = None


_FIELDS: Final = {
    "TCPTimeout": "tcp_timeout_s",
    "IndirectChecks": "indirect_checks",
    "RetransmitMult": "retransmit_mult",
    "SuspicionMult": "suspicion_mult",
    "SuspicionMaxTimeoutMult": "suspicion_max_timeout_mult",
    "PushPullInterval": "push_pull_interval_s",
    "ProbeTimeout": "probe_timeout_s",
    "ProbeInterval": "probe_interval_s",
    "DisableTcpPings": "disable_tcp_pings",
    "AwarenessMaxMultiplier": "awareness_max_multiplier",
    "GossipNodes": "gossip_nodes",
    "GossipInterval": "gossip_interval_s",
    "GossipToTheDeadTime": "gossip_to_the_dead_time_s",
    "GossipVerifyIncoming": "gossip_verify_incoming",
    "GossipVerifyOutgoing": "gossip_verify_outgoing",
    "EnableCompression": "enable_compression",
    "UDPBufferSize": "udp_buffer_size",
}
"""Our name of each setting. The two that are missing size queues which this ring does not have."""


def swim_config(options: RingOptions) -> SwimConfig:
    """What the ring runs with: the file where there is one, else memberlist's profile for a LAN or a WAN.

    Raises:
        ConfigError: the file cannot be read, or holds something that is not allowed; names file and field.
    """
    path = Path(options.config_path)
    if options.config_wanted or path.exists():
        config = _from_file(path)
    else:
        config = SwimConfig.wan() if options.wan else SwimConfig.lan()
    return replace(config, fast_lane=options.fast_lane)


def _from_file(path: Path) -> SwimConfig:
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    if len(text) > _MAX_BYTES:
        raise ConfigError(f"{path}: is larger than {_MAX_BYTES} bytes")
    try:
        given = msgspec.json.decode(text, type=_File, dec_hook=_hook)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path}: {error}") from None
    values: dict[str, float | int | bool] = {}
    for name in _File.__struct_fields__:
        value = getattr(given, name)
        if isinstance(value, _Duration):
            seconds = go_duration(value)
            if seconds is None:
                raise ConfigError(f"{path}: {name}: {str(value)!r} is no duration; write 500ms, 10s, 1m30s")
            value = seconds
        if value is not None and name in _FIELDS:
            values[_FIELDS[name]] = value
    try:
        return SwimConfig(**values)  # type: ignore[arg-type]  # _FIELDS pairs each name with a field of its type
    except ConfigError as error:
        raise ConfigError(f"{path}: {_in_their_words(str(error))}") from None


def _hook(kind: type, value: object) -> _Duration:
    if kind is _Duration and isinstance(value, str):
        return _Duration(value)
    raise TypeError("Expected a text such as 500ms")


def _in_their_words(text: str) -> str:
    for theirs, ours in _FIELDS.items():
        text = text.replace(ours, theirs)
    return text
