"""Which configurations are taken, refused, and taken after all."""

from __future__ import annotations

import random

from cluster.objects import ConfigMap, Node, ObjectMeta
from cluster.watch import Deleted, Upserted
from speaker.feed import KubernetesFeed
from speaker.options import SpeakerOptions
from tests.unit.speaker.builders import VIP
from tests.unit.speaker.test_state import state


def config_map(addresses: str) -> ConfigMap:
    text = f"address-pools: [{{name: lan, protocol: layer2, addresses: [{addresses}]}}]"
    return ConfigMap(metadata=ObjectMeta(name="config"), data={"config": text})


def test_a_configuration_refused_for_an_announced_address_is_taken_once_that_is_withdrawn() -> None:
    speaker = state()
    speaker.announced.reported(VIP, "eth0")
    feed = KubernetesFeed(
        options=SpeakerOptions(node_name="n1"), state=speaker, rng=random.Random(1), put=lambda call: call()
    )
    before = speaker.decider.config
    feed._config_map(Upserted(config_map("198.18.9.0/24"), None))
    assert speaker.config_stale
    assert speaker.config_error == f"announced address {VIP} would be in no pool"
    feed.retry_config()
    assert speaker.decider.config is before
    speaker.announced.silenced(VIP)
    feed.retry_config()
    assert speaker.decider.config is not before
    assert speaker.config_error is None


def test_a_later_configuration_takes_the_place_of_a_refused_one() -> None:
    speaker = state()
    speaker.announced.reported(VIP, "eth0")
    feed = KubernetesFeed(
        options=SpeakerOptions(node_name="n1"), state=speaker, rng=random.Random(1), put=lambda call: call()
    )
    feed._config_map(Upserted(config_map("198.18.9.0/24"), None))
    feed._config_map(Upserted(config_map("198.18.1.0/24"), None))
    assert not speaker.config_stale
    accepted = speaker.decider.config
    speaker.announced.silenced(VIP)
    feed.retry_config()
    assert speaker.decider.config is accepted


def test_the_ring_hears_of_a_node_that_is_gone() -> None:
    speaker = state()
    gone: list[str] = []
    speaker.node_gone = gone.append
    feed = KubernetesFeed(
        options=SpeakerOptions(node_name="n1"), state=speaker, rng=random.Random(1), put=lambda call: call()
    )
    node = Node(metadata=ObjectMeta(name="n2"))
    feed._node(Upserted(node, None))
    assert not gone
    feed._node(Deleted(node))
    assert gone == ["n2"]
