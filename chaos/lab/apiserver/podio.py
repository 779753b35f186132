"""What runs behind objects: the logs of a pod's containers, and HTTP to pods and services."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import anyio
import h11
from anyio.abc import ByteStream
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from chaos.lab.apiserver.errors import Obj, StatusError, bad_request, method_not_allowed, not_found
from chaos.lab.apiserver.listing import number
from chaos.lab.apiserver.revisions import Record
from chaos.lab.apiserver.route import ResourceRequest
from chaos.lab.apiserver.store import Store

_HOP_HEADERS = (
    "connection", "keep-alive", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade",
    "authorization", "host", "accept-encoding", "content-length",
)  # fmt: skip
_PROXY_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class LogRequest:
    """One request for the log of a container. `pod` is the Pod object; None means no limit."""

    pod: Obj
    container: str
    follow: bool
    previous: bool
    timestamps: bool
    tail_lines: int | None
    since_s: int | None
    limit_bytes: int | None


LogSource = Callable[[LogRequest], AsyncIterator[bytes]]
"""Gives the log in pieces of any size. Raises StatusError before the first piece where there is none."""

Connector = Callable[[str, int], Awaitable[ByteStream]]
"""Opens a TCP connection to an address and port of the pod network. Raises OSError."""


def no_logs(asked: LogRequest) -> AsyncIterator[bytes]:
    """The log source of a server that runs no pods."""
    name = asked.pod["metadata"]["name"]
    raise bad_request(f'container "{asked.container}" in pod "{name}" has no log here')


async def dial(host: str, port: int) -> ByteStream:
    """The connector for pods that this process reaches by itself."""
    with anyio.fail_after(5):
        return await anyio.connect_tcp(host, port)


class PodIo:
    """Answers …/pods/NAME/log, …/pods/NAME/proxy/… and …/services/NAME/proxy/…"""

    def __init__(self, logs: LogSource = no_logs, connect: Connector = dial) -> None:
        self.logs = logs
        self.connect = connect

    async def answer(self, store: Store, request: Request, asked: ResourceRequest) -> Response:
        """One request. Raises StatusError."""
        if asked.subresource == "proxy":
            return await self._proxy(store, request, asked)
        if asked.verb != "get":
            raise method_not_allowed()
        return await self._log(store.get(asked.kind, asked.namespace or "", asked.name), request)

    # -- logs ---------------------------------------------------------------------------------------------

    async def _log(self, pod: Record, request: Request) -> Response:
        query = request.query_params
        names = [str(c.get("name")) for c in pod.obj["spec"].get("containers") or ()]
        container = query.get("container", "")
        if not container:
            if len(names) > 1:
                raise bad_request(
                    f"a container name must be specified for pod {pod.key[1]}, choose one of: [{' '.join(names)}]"
                )
            container = names[0]
        if container not in names:
            raise bad_request(f"container {container} is not valid for pod {pod.key[1]}")
        pieces = self.logs(
            LogRequest(
                pod=pod.obj,
                container=container,
                follow=query.get("follow") in ("true", "1"),
                previous=query.get("previous") in ("true", "1"),
                timestamps=query.get("timestamps") in ("true", "1"),
                tail_lines=number(query, "tailLines"),
                since_s=number(query, "sinceSeconds"),
                limit_bytes=number(query, "limitBytes"),
            )
        )
        if query.get("follow") in ("true", "1"):
            return StreamingResponse(pieces, media_type="text/plain")
        # Read to its end first, so that a refusal still has a status of its own.
        return Response(b"".join([piece async for piece in pieces]), media_type="text/plain")

    # -- proxy --------------------------------------------------------------------------------------------

    async def _proxy(self, store: Store, request: Request, asked: ResourceRequest) -> Response:
        name, port = _name_and_port(asked.name)
        if asked.kind.plural == "pods":
            host, number_ = _pod_target(store, asked, name, port)
        else:
            host, number_ = _service_target(store, asked, name, port)
        target = (asked.tail or "/") + (f"?{request.url.query}" if request.url.query else "")
        try:
            with anyio.fail_after(_PROXY_TIMEOUT_S):
                async with await self.connect(host, number_) as stream:
                    return await _exchange(stream, request, f"{host}:{number_}", target)
        except (
            OSError,
            TimeoutError,
            anyio.BrokenResourceError,
            anyio.EndOfStream,
            h11.ProtocolError,
        ) as error:
            raise StatusError(
                503, "ServiceUnavailable", f"error trying to reach service: {host}:{number_}: {error!r}"
            ) from error


def _name_and_port(text: str) -> tuple[str, str]:
    parts = text.split(":")
    if len(parts) == 1:
        return parts[0], ""
    if len(parts) == 2:
        return parts[0], parts[1]
    if len(parts) == 3 and parts[0] in ("", "http"):
        return parts[1], parts[2]
    raise bad_request(f"invalid proxy target {text!r}: expected [http:]NAME[:PORT]")


def _pod_target(store: Store, asked: ResourceRequest, name: str, port: str) -> tuple[str, int]:
    pod = store.get(asked.kind, asked.namespace or "", name)
    host = (pod.obj.get("status") or {}).get("podIP", "")
    if not host:
        raise StatusError(503, "ServiceUnavailable", "address not allowed: the pod has no address yet")
    ports = [p for c in pod.obj["spec"].get("containers") or () for p in c.get("ports") or ()]
    for entry in ports:
        if not port or entry.get("name") == port:
            return host, int(entry["containerPort"])
    if not port.isdigit():
        raise bad_request(f"pod {name} has no port {port!r}")
    return host, int(port)


def _service_target(store: Store, asked: ResourceRequest, name: str, port: str) -> tuple[str, int]:
    namespace = asked.namespace or ""
    service = store.get(asked.kind, namespace, name)
    ports = service.obj["spec"].get("ports") or ()
    chosen = [p for p in ports if not port or port in (p.get("name"), str(p["port"]))]
    if not chosen:
        raise not_found(asked.kind, f"{name}:{port}")
    wanted = chosen[0].get("name", "")
    for record in store.revisions.records("endpointslices.discovery.k8s.io", namespace):
        labels = record.obj["metadata"].get("labels") or {}
        if labels.get("kubernetes.io/service-name") != name:
            continue
        for entry in record.obj.get("ports") or ():
            for endpoint in record.obj.get("endpoints") or () if entry.get("name", "") == wanted else ():
                if (endpoint.get("conditions") or {}).get("ready") is not False:
                    return str(endpoint["addresses"][0]), int(entry["port"])
    raise StatusError(503, "ServiceUnavailable", f'no endpoints available for service "{name}"')


async def _exchange(stream: ByteStream, request: Request, host: str, target: str) -> Response:
    """One HTTP/1.1 request over a fresh connection; the answer is read whole."""
    connection = h11.Connection(h11.CLIENT)
    body = await request.body()
    headers = [(k, v) for k, v in request.headers.items() if k.lower() not in _HOP_HEADERS]
    headers += [("host", host), ("connection", "close"), ("content-length", str(len(body)))]
    out = connection.send(h11.Request(method=request.method, target=target, headers=headers)) or b""
    out += connection.send(h11.Data(body)) or b""
    out += connection.send(h11.EndOfMessage()) or b""
    await stream.send(out)
    status, answer_headers, data = 502, [], bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            try:
                connection.receive_data(await stream.receive())
            except anyio.EndOfStream:
                connection.receive_data(b"")
        elif isinstance(event, h11.Response):
            status = event.status_code
            answer_headers = [(k.decode(), v.decode("latin-1")) for k, v in event.headers]
        elif isinstance(event, h11.Data):
            data += event.data
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
            break
    response = Response(bytes(data), status)
    for key, value in answer_headers:
        if key.lower() not in _HOP_HEADERS:
            response.headers[key] = value
    return response
