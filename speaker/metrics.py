"""Prometheus metrics of a speaker, read from its state at each scrape: MetalLB's names, and vipring's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from gossip.counters import BOUNDS_S, Counters, Histogram
from gossip.member import MemberState
from speaker.state import SpeakerState


class SpeakerCollector(Collector):
    """Turns the state into samples; nothing is counted twice and nothing is kept here."""

    def __init__(self, state: SpeakerState) -> None:
        self._state = state

    @override
    def collect(self) -> Iterator[Metric]:
        """All samples."""
        yield from self._announcements()
        yield from self._claims()
        yield from self._layer2()
        yield from self._kubernetes()
        yield from self._ring()

    def _announcements(self) -> Iterator[Metric]:
        announced = GaugeMetricFamily(
            "metallb_speaker_announced",
            "Services whose address is announced from this node.",
            labels=["service", "protocol", "node", "ip"],
        )
        for offer in self._state.announced.shown():
            announced.add_metric([offer.service, offer.protocol, self._state.node, str(offer.ip)], 1)
        yield announced
        yield CounterMetricFamily(
            "vipring_owner_changes", "Addresses that changed hands.", value=self._state.owner_changes
        )

    def _claims(self) -> Iterator[Metric]:
        state = self._state
        claims = GaugeMetricFamily(
            "vipring_claims",
            "Claims of this node for addresses; idle: an address that it has no claim for.",
            labels=["state"],
        )
        for word, count in state.claims.by_state(state.decider.elected).items():
            claims.add_metric([word], count)
        yield claims
        yield CounterMetricFamily(
            "vipring_foreign_answers",
            "Answers for addresses of this node by something that is no speaker, as often as they were told.",
            value=state.claims.foreign_answers,
        )
        yield GaugeMetricFamily(
            "vipring_links_not_proven",
            "Interfaces on which nobody is heard though somebody must be there.",
            value=len(state.responder.lost_links),
        )

    def _layer2(self) -> Iterator[Metric]:
        facts = self._state.responder
        # MetalLB's counters lack the suffix that this library insists on for counters: hence "unknown".
        for name, text in (
            ("requests_received", "ARP requests for addresses announced here."),
            ("responses_sent", "ARP replies sent."),
            ("gratuitous_sent", "Gratuitous ARP frames sent."),
        ):
            metric = Metric(f"metallb_layer2_{name}", text, "unknown")
            for address, counters in facts.counters.items():
                metric.add_sample(f"metallb_layer2_{name}", {"ip": str(address)}, getattr(counters, name))
            yield metric
        dropped = CounterMetricFamily(
            "vipring_layer2_dropped", "ARP frames that were not answered.", labels=["reason"]
        )
        for reason, count in facts.drops.items():
            dropped.add_metric([str(reason)], count)
        yield dropped
        yield CounterMetricFamily(
            "vipring_lease_expired",
            "Times the responder fell silent for want of renewal.",
            value=facts.leases_expired,
        )
        yield CounterMetricFamily(
            "vipring_responder_stalls", "Times the responder was not run.", value=facts.stalls
        )

    def _kubernetes(self) -> Iterator[Metric]:
        state = self._state
        yield CounterMetricFamily(
            "metallb_k8s_client_updates", "Changes of Kubernetes objects processed.", value=state.updates
        )
        yield CounterMetricFamily(
            "metallb_k8s_client_update_errors",
            "Changes that could not be processed.",
            value=state.update_errors,
        )
        yield GaugeMetricFamily(
            "metallb_k8s_client_config_loaded_bool",
            "1 if a configuration is in force.",
            value=int(state.decider.config is not None),
        )
        yield GaugeMetricFamily(
            "metallb_k8s_client_config_stale_bool",
            "1 if the current configuration was refused and an earlier one is in force.",
            value=int(state.config_stale),
        )
        yield GaugeMetricFamily(
            "vipring_api_connected",
            "1 while every watch of the API server runs.",
            value=int(not state.api_errors),
        )

    def _ring(self) -> Iterator[Metric]:
        state = self._state
        members = GaugeMetricFamily(
            "vipring_members", "Members of the ring as seen from here.", labels=["state"]
        )
        seen = (
            Counter(view.state for view in state.members().values())
            if state.members is not None
            else Counter()
        )
        for kind in MemberState:
            members.add_metric([kind.word], seen[kind])
        yield members
        events = CounterMetricFamily("vipring_membership_events", "Membership events.", labels=["event"])
        for event, count in state.membership_events.items():
            events.add_metric([event], count)
        yield events
        yield CounterMetricFamily(
            "vipring_ring_refutations", "Times this speaker had to refute its death.", value=state.refutations
        )
        undecryptable = CounterMetricFamily(
            "vipring_ring_undecryptable", "Packets of peers that hold another secret.", labels=["peer"]
        )
        for peer, count in state.complaints.totals.items():
            undecryptable.add_metric([peer], count)
        yield undecryptable
        yield from self._traffic()

    def _traffic(self) -> Iterator[Metric]:
        counters = self._state.ring_counters
        if counters is None:
            return
        packets = CounterMetricFamily(
            "vipring_ring_packets",
            "UDP packets of the ring, by their first message.",
            labels=["direction", "type"],
        )
        traffic = CounterMetricFamily(
            "vipring_ring_bytes", "Bytes of the ring's UDP packets.", labels=["direction", "type"]
        )
        for direction, numbers, sizes in (
            ("in", counters.packets_in_by, counters.bytes_in_by),
            ("out", counters.packets_out_by, counters.bytes_out_by),
        ):
            for kind, count in numbers.items():
                labels = [direction, kind[0].lower() + kind[1:]]
                packets.add_metric(labels, count)
                traffic.add_metric(labels, sizes[kind])
        yield packets
        yield traffic
        rejected = CounterMetricFamily("vipring_ring_rejected", "Input of peers refused.", labels=["reason"])
        for reason, count in counters.rejected.items():
            rejected.add_metric([str(reason)], count)
        yield rejected
        yield from self._health(counters)

    def _health(self, counters: Counters) -> Iterator[Metric]:
        for name, text, value in (
            ("probes", "Members asked for a sign of life.", counters.probes),
            ("probes_failed", "Probes that nobody answered.", counters.probes_failed),
            ("suspicions", "Times a member became suspect.", counters.suspicions),
            (
                "false_alarms",
                "Suspicions that ended with the member alive.",
                self._state.membership_events["memberAlive"],
            ),
            ("deaths", "Members declared dead.", counters.deaths),
            ("doubts", "Members that did not answer the fast lane once.", counters.doubts),
            ("verdicts", "Members that the fast lane declared dead.", counters.verdicts),
            ("vetoes", "Doubts and accusations of the fast lane that evidence stopped.", counters.vetoes),
            ("false_deaths", "Members declared dead that had not stopped.", counters.false_deaths),
            ("send_errors", "UDP packets that the system refused to send.", counters.send_errors),
            ("events_lost", "Membership events that the speaker was too slow to read.", counters.events_lost),
        ):
            yield CounterMetricFamily(f"vipring_ring_{name}", text, value=value)
        yield _histogram(
            "vipring_ring_probe_rtt_seconds", "Round trips of directly answered probes.", counters.rtt
        )
        yield _histogram("vipring_ring_loop_lag_seconds", "How late the ring's timers ran.", counters.lag)
        yield GaugeMetricFamily(
            "vipring_ring_queue_depth",
            "Messages waiting to be gossiped.",
            value=self._state.ring_queue() if self._state.ring_queue is not None else 0,
        )


def _histogram(name: str, text: str, durations: Histogram) -> HistogramMetricFamily:
    bounds = (*(f"{bound:g}" for bound in BOUNDS_S), "+Inf")
    counts = accumulate(durations.counts)
    return HistogramMetricFamily(
        name, text, buckets=list(zip(bounds, counts, strict=True)), sum_value=durations.sum_s
    )


def registry(state: SpeakerState) -> CollectorRegistry:
    """A registry with the speaker's, the process's and the interpreter's metrics."""
    made = CollectorRegistry()
    made.register(SpeakerCollector(state))
    ProcessCollector(registry=made)
    PlatformCollector(registry=made)
    return made
