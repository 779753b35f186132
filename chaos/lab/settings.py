"""What a lab is told at its start. It travels as JSON from the handle to the engine and on to the node agents."""

from __future__ import annotations

import msgspec

from chaos.lab.plan import Network


class LabSettings(msgspec.Struct, frozen=True):
    """Knobs of a lab; all times in seconds, all defaults those of a real cluster unless said."""

    nodes: int = 3
    internal_network: Network = "data"
    """Where the nodes' InternalIP is: with "mgmt" the ring runs there too, apart from the addresses that are announced."""
    heartbeat_s: float = 10.0
    """How often a node renews its Lease (kubelet nodeLeaseDurationSeconds / 4)."""
    node_grace_s: float = 40.0
    """A Lease that old makes its Node's Ready condition Unknown (kube-controller-manager --node-monitor-grace-period)."""
    eviction_s: float = 300.0
    """How long Pods stay bound to a node that is Unknown (the default toleration of the unreachable taint)."""
    volume_sync_s: float = 60.0
    """How often mounted Secrets and ConfigMaps are looked at for changes (kubelet syncFrequency)."""
    restart_backoff_s: float = 10.0
    """Pause before the second restart of a container; it doubles from there (kubelet)."""
    restart_backoff_max_s: float = 300.0


class AgentSettings(msgspec.Struct, frozen=True):
    """What one node agent is told."""

    index: int
    run_dir: str
    server: str
    token: str
    ca_pem: str
    lab: LabSettings


class EngineSettings(msgspec.Struct, frozen=True):
    """What the engine is told: its directory, the listening socket to serve on, and the lab's settings."""

    run_dir: str
    listener: int
    lab: LabSettings
