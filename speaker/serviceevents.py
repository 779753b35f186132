"""The Kubernetes Events that a speaker writes on Services: who announces, and who else says to have the address."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from announcer.layer2.messages import ForeignAnswer
from announcer.layer2.told import Told
from cluster.events import EventRecorder, reference
from cluster.objects import Service
from speaker.decide import Address

FOREIGN_AGAIN_S: Final = 600.0
"""Between two Events on a Service about the same address and MAC at least: what does not change is not written again and again."""
MAX_FOREIGN_TOLD: Final = 16_384
"""Services with an address and a MAC in that time of which an Event tells. Whoever is on the segment can make up MACs."""


class ServiceEvents:
    """Events of the node `node` on Services, of which `services` holds what is known by namespace and name.

    Without a `recorder` nothing is written.
    """

    def __init__(self, node: str, services: Mapping[str, Service]) -> None:
        self.recorder: EventRecorder | None = None
        self._node = node
        self._services = services
        self._foreign_told: Told[tuple[str, Address, bytes]] = Told(
            again_s=FOREIGN_AGAIN_S, most=MAX_FOREIGN_TOLD
        )

    def announced(self, service: str) -> None:
        """An address of the service is announced here."""
        self._record(service, "Normal", "nodeAssigned", f'announcing from node "{self._node}"')

    def foreign(self, event: ForeignAnswer, users: tuple[str, ...], message: str) -> None:
        """Something that is no speaker says to have an address of the services `users`. What is dropped is tried again with the
        next report of it."""
        for service in users:
            about = service, event.address, event.mac
            if self._foreign_told.tell(about, time.monotonic()) is None:
                continue
            if not self._record(service, "Warning", "foreignAnswer", message):
                self._foreign_told.forget(about)

    def _record(self, service: str, kind: str, reason: str, message: str) -> bool:
        """Record an Event; False where it will not be posted."""
        known = self._services.get(service)
        if known is None or self.recorder is None:
            return False
        return self.recorder.event(reference("Service", known.metadata), kind, reason, message)
