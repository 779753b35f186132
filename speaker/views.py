"""From Kubernetes objects to what the election reads; shared by the speaker and `vipring plan`."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from cluster.objects import EndpointSlice, Node, Service
from election.model import Address, EndpointView, NodeView, ServiceView

EXCLUDE_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"
"""Label that keeps a node from announcing addresses, whatever its value."""


def service_view(service: Service, slices: Iterable[EndpointSlice]) -> ServiceView | None:
    """What the election needs of a Service; None unless it is a LoadBalancer with a valid address.

    `slices` are the EndpointSlices of this Service. Endpoints that do not differ for the election
    are folded into one, so that two equal views mean that nothing has to be decided again. A Service with
    a loadBalancerClass belongs to another implementation and has no view.
    """
    spec = service.spec
    if spec.type != "LoadBalancer" or spec.load_balancer_class is not None:
        return None
    addresses = _addresses(service)
    if not addresses:
        return None
    seen = {
        (
            endpoint.node_name or "",
            endpoint.conditions.ready is not False,
            endpoint.conditions.serving is True,
        )
        for piece in slices
        for endpoint in piece.endpoints or ()
    }
    return ServiceView(
        key=service.metadata.key,
        addresses=addresses,
        local=spec.external_traffic_policy == "Local",
        endpoints=tuple(EndpointView(node or None, ready, serving) for node, ready, serving in sorted(seen)),
    )


def node_view(node: Node) -> NodeView:
    """What the election needs of a Node."""
    return NodeView(
        name=node.metadata.name,
        network_unavailable=any(
            condition.type == "NetworkUnavailable" and condition.status == "True"
            for condition in node.status.conditions
        ),
        excluded=EXCLUDE_LABEL in node.metadata.labels,
    )


def _addresses(service: Service) -> tuple[Address, ...]:
    """The valid addresses of status.loadBalancer.ingress in their order, each once."""
    found: dict[Address, None] = {}
    for entry in service.status.load_balancer.ingress:
        try:
            found[ip_address(entry.ip)] = None
        except ValueError:
            continue
    return tuple(found)
