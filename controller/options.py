"""What a controller is started with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerOptions:
    """Everything `vipring controller` was told by flags.

    `config_name` is the ConfigMap's name; its `namespace` is the pod's own (or the kubeconfig context's) if None.
    `kubeconfig` is a file, None for the service account or the usual places.
    """

    config_name: str = "config"
    http_host: str = ""
    http_port: int = 7472
    namespace: str | None = None
    kubeconfig: str | None = None
    version: str = ""
