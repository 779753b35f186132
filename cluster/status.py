"""Writing Service.status.loadBalancer through the /status subresource."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from cluster.client import ApiClient
from cluster.errors import ApiError
from cluster.objects import LoadBalancerIngress, LoadBalancerStatus, Service
from cluster.wire import decoded

_ATTEMPTS = 5


async def write_ingress(
    client: ApiClient, key: str, ingress: Sequence[LoadBalancerIngress], *, uid: str = ""
) -> Service | None:
    """Make status.loadBalancer.ingress of the Service `namespace/name` equal to `ingress`.

    The object is read whole and sent back whole with its resourceVersion, so that nothing else in it changes
    (a PUT to /status takes labels, finalizers and conditions from the body too); on a conflict it is read
    again. Returns the Service as it is on the server then, or None when it is gone, or is another object than
    the one of `uid`. Writes nothing when the status is right already. Raises ClusterError: of the client, or
    the last conflict after 5.
    """
    namespace, _, name = key.partition("/")
    path = f"/api/v1/namespaces/{namespace}/services/{name}"
    for attempt in range(_ATTEMPTS):
        try:
            data = await client.raw("GET", path)
            service = decoded(data, Service, path)
            if uid and service.metadata.uid != uid:
                return None
            if list(service.status.load_balancer.ingress) == list(ingress):
                return service
            return await client.replace(f"{path}/status", _with_ingress(data, ingress), Service)
        except ApiError as error:
            if error.not_found:
                return None
            if not error.conflict or attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError("the last attempt returns or raises")


def _with_ingress(data: bytes, ingress: Sequence[LoadBalancerIngress]) -> dict[str, msgspec.Raw]:
    """The whole object with another status.loadBalancer and every other byte kept."""
    whole = decoded(data, dict[str, msgspec.Raw], "service")
    status = decoded(whole.get("status", msgspec.Raw(b"{}")), dict[str, msgspec.Raw], "service status")
    status["loadBalancer"] = msgspec.Raw(msgspec.json.encode(LoadBalancerStatus(list(ingress))))
    whole["status"] = msgspec.Raw(msgspec.json.encode(status))
    return whole
