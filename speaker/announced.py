"""What this node really announces: the responder's reports joined with the services that asked for them.

Log lines, events, metrics and status say "announced" only from here; an address counts from the responder's
report that its first gratuitous frame is out until the report that it has fallen silent, and never while its claim
does not allow to answer for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from speaker.decide import Address, Decisions, Offer

_Key = tuple[str, Address]


@dataclass(frozen=True, slots=True)
class ServiceAnnounced:
    """A service's address is on the wire."""

    offer: Offer


@dataclass(frozen=True, slots=True)
class ServiceWithdrawn:
    """A service's address is no longer announced here; `reason` in MetalLB's words."""

    offer: Offer
    reason: str


Notice = ServiceAnnounced | ServiceWithdrawn


class Announced:
    """Joins offers with reports; every input returns the notices that follow from it.

    `silent` says of an address whether its claim does not allow to answer for it; `claim_changed` follows every change.
    """

    def __init__(self, silent: Callable[[Address], bool]) -> None:
        self._silent = silent
        self._offers: dict[Address, dict[str, Offer]] = {}
        self._why: dict[_Key, str] = {}
        self._interfaces: dict[Address, set[str]] = {}
        self._shown: dict[Address, dict[str, Offer]] = {}

    def decided(self, decisions: Decisions) -> list[Notice]:
        """A batch of decisions: what is offered, and what no longer is."""
        notices: list[Notice] = []
        for offer, reason in decisions.withdrawn.items():
            sharing = self._offers.get(offer.ip, {})
            sharing.pop(offer.service, None)
            if not sharing:
                self._offers.pop(offer.ip, None)
            self._why[offer.service, offer.ip] = reason
        for offer in decisions.offered:
            self._offers.setdefault(offer.ip, {})[offer.service] = offer
            self._why.pop((offer.service, offer.ip), None)
        for offer in decisions.withdrawn:
            # An address that others still offer stays on the wire; only this service leaves it.
            if offer.ip in self._offers or offer.ip not in self._interfaces:
                notices += self._withdraw([(offer.service, offer.ip)])
        for offer in decisions.offered:
            if offer.ip in self._interfaces:
                notices += self._announce(offer)
        return notices

    def reported(self, address: Address, interface: str) -> list[Notice]:
        """The responder has sent the first gratuitous frame of the address on an interface."""
        if self._silent(address):
            return []
        self._interfaces.setdefault(address, set()).add(interface)
        return [
            notice for offer in self._offers.get(address, {}).values() for notice in self._announce(offer)
        ]

    def silenced(self, address: Address) -> list[Notice]:
        """The responder no longer answers for the address."""
        self._interfaces.pop(address, None)
        return self._withdraw([(service, address) for service in self._shown.get(address, ())])

    def claim_changed(self, address: Address) -> list[Notice]:
        """The claim for the address is in another state."""
        return self.silenced(address) if self._silent(address) else []

    def interfaces_changed(self, names: Collection[str]) -> list[Notice]:
        """Only these interfaces are in use; what was announced on others only is announced no more."""
        notices: list[Notice] = []
        for address, before in list(self._interfaces.items()):
            before.intersection_update(names)
            if not before:
                shown = [(service, address) for service in self._shown.get(address, ())]
                self._why.update(dict.fromkeys(shown, "interfaceDown"))
                notices += self.silenced(address)
        return notices

    def lease_expired(self) -> list[Notice]:
        """The responder has fallen silent altogether."""
        self._interfaces.clear()
        shown = [(service, address) for address, services in self._shown.items() for service in services]
        self._why.update(dict.fromkeys(shown, "leaseExpired"))
        return self._withdraw(shown)

    def is_announcing(self, address: Address) -> bool:
        """Whether the address is on the wire here."""
        return address in self._interfaces

    def interfaces(self, address: Address) -> Iterable[str]:
        """The interfaces the address was announced on, sorted."""
        return sorted(self._interfaces.get(address, ()))

    def addresses(self) -> Collection[Address]:
        """The addresses on the wire."""
        return tuple(self._interfaces)

    def shown(self) -> list[Offer]:
        """Every service's address that counts as announced."""
        return [offer for services in self._shown.values() for offer in services.values()]

    def _announce(self, offer: Offer) -> list[Notice]:
        services = self._shown.setdefault(offer.ip, {})
        fresh = offer.service not in services
        services[offer.service] = offer
        return [ServiceAnnounced(offer)] if fresh else []

    def _withdraw(self, keys: Iterable[_Key]) -> list[Notice]:
        notices: list[Notice] = []
        for service, address in keys:
            reason = self._why.pop((service, address), "responderSilent")
            services = self._shown.get(address, {})
            offer = services.pop(service, None)
            if not services:
                self._shown.pop(address, None)
            if offer is not None:
                notices.append(ServiceWithdrawn(offer, reason))
        return notices
