"""What a controller tells about itself at /status, as JSON."""

from __future__ import annotations

import msgspec

from controller.reconcile import Reconciler


class ConfigStatus(msgspec.Struct, frozen=True):
    """Whether a configuration is in force, and why the ConfigMap's present text is not."""

    loaded: bool
    stale: bool
    error: str | None


class PoolStatus(msgspec.Struct, frozen=True):
    """One pool: addresses it can hand out, addresses in use, services that hold one."""

    name: str
    capacity: int
    addresses: int
    services: int


class ControllerStatus(msgspec.Struct, frozen=True):
    """The document. `pending` names each service that wants an address and has none, with the reason."""

    version: str
    ready: bool
    config: ConfigStatus
    pools: tuple[PoolStatus, ...]
    services: int
    pending: dict[str, str]
    waiting_writes: int
    api_errors: dict[str, str]


def controller_status(
    core: Reconciler, *, version: str, ready: bool, waiting_writes: int, api_errors: dict[str, str]
) -> ControllerStatus:
    """The document as of now. `api_errors` are the present failures by kind of object."""
    return ControllerStatus(
        version=version,
        ready=ready,
        config=ConfigStatus(
            loaded=core.config is not None, stale=core.config_error is not None, error=core.config_error
        ),
        pools=tuple(
            PoolStatus(usage.pool, usage.capacity, usage.addresses, usage.services)
            for usage in core.allocator.usage()
        ),
        services=core.services,
        pending={key: pending.error for key, pending in sorted(core.pending.items())},
        waiting_writes=waiting_writes,
        api_errors=api_errors,
    )
