"""Announced means: the responder said so."""

from __future__ import annotations

from ipaddress import IPv4Address

from speaker.announced import Announced, ServiceAnnounced, ServiceWithdrawn
from speaker.decide import Decisions, Offer

IP = IPv4Address("198.18.1.1")
WEB = Offer("default/web", IP, "lan", "layer2")
API = Offer("default/api", IP, "lan", "layer2")


def offered(*offers: Offer) -> Decisions:
    return Decisions((), frozenset(offer.ip for offer in offers), offers, {})


def withdrawn(offer: Offer, reason: str, table: frozenset[IPv4Address] = frozenset()) -> Decisions:
    return Decisions((), table, (), {offer: reason})


def test_an_offer_is_not_an_announcement() -> None:
    announced = Announced(lambda _: False)
    assert announced.decided(offered(WEB)) == []
    assert not announced.is_announcing(IP)
    assert announced.reported(IP, "eth0") == [ServiceAnnounced(WEB)]
    assert announced.is_announcing(IP)
    assert announced.reported(IP, "eth1") == []
    assert list(announced.interfaces(IP)) == ["eth0", "eth1"]
    assert announced.shown() == [WEB]


def test_withdrawn_only_when_the_responder_is_silent() -> None:
    announced = Announced(lambda _: False)
    announced.decided(offered(WEB))
    announced.reported(IP, "eth0")
    assert announced.decided(withdrawn(WEB, "notOwner")) == []
    assert announced.is_announcing(IP)
    assert announced.silenced(IP) == [ServiceWithdrawn(WEB, "notOwner")]
    assert announced.shown() == []


def test_a_sharing_service_comes_and_goes_at_once() -> None:
    announced = Announced(lambda _: False)
    announced.decided(offered(WEB))
    announced.reported(IP, "eth0")
    assert announced.decided(offered(API)) == [ServiceAnnounced(API)]
    assert announced.decided(withdrawn(WEB, "serviceDeleted")) == [ServiceWithdrawn(WEB, "serviceDeleted")]
    assert announced.is_announcing(IP)
    assert announced.shown() == [API]


def test_an_expired_lease_withdraws_everything_and_the_next_report_brings_it_back() -> None:
    announced = Announced(lambda _: False)
    announced.decided(offered(WEB))
    announced.reported(IP, "eth0")
    assert announced.lease_expired() == [ServiceWithdrawn(WEB, "leaseExpired")]
    assert not announced.is_announcing(IP)
    assert announced.reported(IP, "eth0") == [ServiceAnnounced(WEB)]


def test_an_offer_that_ended_before_its_first_frame_leaves_no_trace() -> None:
    announced = Announced(lambda _: False)
    announced.decided(offered(WEB))
    assert announced.decided(withdrawn(WEB, "notOwner")) == []
    assert announced.reported(IP, "eth0") == []
    assert announced.silenced(IP) == []
    announced.decided(offered(WEB))
    announced.reported(IP, "eth0")
    assert announced.silenced(IP) == [ServiceWithdrawn(WEB, "responderSilent")]


def test_what_was_announced_on_a_vanished_interface_only_is_announced_no_more() -> None:
    announced = Announced(lambda _: False)
    announced.decided(offered(WEB))
    announced.reported(IP, "eth0")
    announced.reported(IP, "eth1")
    assert announced.interfaces_changed(["eth1"]) == []
    assert list(announced.interfaces(IP)) == ["eth1"]
    assert announced.interfaces_changed([]) == [ServiceWithdrawn(WEB, "interfaceDown")]
    assert not announced.is_announcing(IP)
    assert announced.reported(IP, "eth1") == [ServiceAnnounced(WEB)]
