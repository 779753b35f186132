"""Prometheus metrics of a controller, read from the reconciler at each scrape, under MetalLB's names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from controller.reconcile import Reconciler


@dataclass(slots=True)
class Counts:
    """What the shell counts: services and configurations looked at, status writes done and failed."""

    updates: int = 0
    update_errors: int = 0
    status_writes: int = 0


class ControllerCollector(Collector):
    """Turns the reconciler's state into samples; keeps nothing itself, so a vanished pool leaves no series."""

    def __init__(self, core: Reconciler, counts: Counts) -> None:
        self._core = core
        self._counts = counts

    @override
    def collect(self) -> Iterator[Metric]:
        """All samples."""
        total = GaugeMetricFamily(
            "metallb_allocator_addresses_total", "Addresses that a pool can hand out.", labels=["pool"]
        )
        used = GaugeMetricFamily(
            "metallb_allocator_addresses_in_use_total", "Addresses of a pool in use.", labels=["pool"]
        )
        services = GaugeMetricFamily(
            "metallb_allocator_services_allocated_total",
            "Services with an address of a pool.",
            labels=["pool"],
        )
        for usage in self._core.allocator.usage():
            total.add_metric([usage.pool], usage.capacity)
            used.add_metric([usage.pool], usage.addresses)
            services.add_metric([usage.pool], usage.services)
        yield from (total, used, services)
        yield GaugeMetricFamily(
            "vipring_services_pending",
            "Services that want an address and have none.",
            value=len(self._core.pending),
        )
        yield CounterMetricFamily(
            "metallb_k8s_client_updates",
            "Changes of Kubernetes objects processed.",
            value=self._counts.updates,
        )
        yield CounterMetricFamily(
            "metallb_k8s_client_update_errors",
            "Changes that could not be written; each is tried again.",
            value=self._counts.update_errors,
        )
        yield CounterMetricFamily(
            "vipring_status_writes", "Service statuses written.", value=self._counts.status_writes
        )
        yield GaugeMetricFamily(
            "metallb_k8s_client_config_loaded_bool",
            "1 if a configuration is in force.",
            value=int(self._core.config is not None),
        )
        yield GaugeMetricFamily(
            "metallb_k8s_client_config_stale_bool",
            "1 if the ConfigMap says something else than the configuration in force.",
            value=int(self._core.config_error is not None),
        )


def registry(core: Reconciler, counts: Counts) -> CollectorRegistry:
    """All collectors of a controller process."""
    made = CollectorRegistry()
    made.register(ControllerCollector(core, counts))
    ProcessCollector(registry=made)
    PlatformCollector(registry=made)
    return made
