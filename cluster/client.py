"""The HTTP client of the Kubernetes API: typed requests, paged lists, watch streams.

A shell around httpx2. Answers are decoded by msgspec straight into Structs that hold only the fields in use.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from types import TracebackType
from typing import Self, TypeVar

import anyio
import anyio.to_thread
import httpx2
import msgspec

from cluster.credentials import Access, in_cluster_access
from cluster.errors import ApiError, BadResponseError, ClusterError, UnreachableError
from cluster.kubeconfig import kubeconfig_access, kubeconfig_paths
from cluster.wire import MAX_PAGES, Page, decode_page, decode_status, decoded

T = TypeVar("T")

MERGE_PATCH = "application/merge-patch+json"

_CONNECT_TIMEOUT_S = 5.0
_REQUEST_TIMEOUT_S = 30.0
# 250 objects of the largest size etcd takes would be more; a page of that kind is refused, not held.
_MAX_BODY_BYTES = 64 * 2**20
_MAX_ERROR_BYTES = 64 * 2**10


def _keepalive_options(dead_peer_s: int) -> list[tuple[int, int, int]]:
    """Make the kernel notice a peer that vanished without a word, on idle watches too."""
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    for name, value in (
        ("TCP_KEEPIDLE", max(1, dead_peer_s // 2)),
        ("TCP_KEEPINTVL", max(1, dead_peer_s // 6)),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", dead_peer_s * 1000),
    ):
        if hasattr(socket, name):
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return options


class ApiClient:
    """A connection pool to one API server; use it as an async context manager.

    Every request raises, and nothing else: ApiError when the server refused, UnreachableError, which names the
    server, when no answer came, BadResponseError when the answer made no sense, CredentialsError when no token could be read.
    `namespace` is the process's own namespace, `server` the base URL, `shown` the same for messages, without a
    password. A connection whose other end vanished
    without a word, as when its machine lost power, is given up after about `dead_peer_s` seconds.
    """

    def __init__(
        self,
        access: Access,
        *,
        user_agent: str = "vipring",
        request_timeout_s: float = _REQUEST_TIMEOUT_S,
        dead_peer_s: int = 30,
    ) -> None:
        self.namespace = access.namespace
        self.server = access.server.rstrip("/")
        self.shown = re.sub(r"//[^/@]*@", "//", self.server)
        self._access = access
        self._request_timeout_s = request_timeout_s
        self._http = httpx2.AsyncClient(
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": user_agent},
            timeout=httpx2.Timeout(request_timeout_s, connect=_CONNECT_TIMEOUT_S),
            transport=httpx2.AsyncHTTPTransport(
                # Without a context httpx2 would load every CA of the system, for plain http too.
                verify=access.tls or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
                trust_env=False,
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=4, keepalive_expiry=60),
                proxy=access.proxy,
                socket_options=_keepalive_options(dead_peer_s),
            ),
            trust_env=False,
        )

    @classmethod
    def in_cluster(cls) -> Self:
        """A client for the service account of this pod. Raises CredentialsError outside a pod."""
        return cls(in_cluster_access(os.environ))

    @classmethod
    def from_kubeconfig(cls, path: str | None = None, context: str | None = None) -> Self:
        """A client for a kubeconfig: `path`, else $KUBECONFIG, else ~/.kube/config. Raises CredentialsError."""
        return cls(kubeconfig_access(kubeconfig_paths(path, os.environ), context))

    @classmethod
    def from_env(cls) -> Self:
        """$KUBECONFIG when set, the service account inside a pod, ~/.kube/config otherwise."""
        if not os.environ.get("KUBECONFIG") and os.environ.get("KUBERNETES_SERVICE_HOST"):
            return cls.in_cluster()
        return cls.from_kubeconfig()

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self._http.__aexit__(kind, error, traceback)

    async def get(self, path: str, model: type[T], /, **params: str) -> T:
        """One object, e.g. `get("/api/v1/nodes/n1", Node)`."""
        return decoded(await self.raw("GET", path, **params), model, path)

    async def list_page(
        self,
        path: str,
        item: type[T],
        /,
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 250,
        continue_token: str = "",
    ) -> Page[T]:
        """One page of a list."""
        params = {
            "limit": str(limit),
            "continue": continue_token,
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
        }
        return decode_page(await self.raw("GET", path, **{k: v for k, v in params.items() if v}), item, path)

    async def list(
        self,
        path: str,
        item: type[T],
        /,
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 250,
    ) -> tuple[list[T], str]:
        """All objects, read page by page, and the resourceVersion of the list.

        Objects that do not decode are left out. A continue token that expires midway starts the list over,
        once.
        """
        for last_try in (False, True):
            items: list[T] = []
            token = ""
            try:
                for _ in range(MAX_PAGES):
                    page = await self.list_page(
                        path,
                        item,
                        label_selector=label_selector,
                        field_selector=field_selector,
                        limit=limit,
                        continue_token=token,
                    )
                    items.extend(page.items)
                    token = page.continue_token
                    if not token:
                        return items, page.resource_version
                raise BadResponseError(f"{path}: the list has more than {MAX_PAGES} pages")
            except ApiError as error:
                if last_try or not (error.expired and token):
                    raise
        raise AssertionError("the second try returns or raises")

    async def create(self, path: str, body: object, model: type[T], /, **params: str) -> T:
        """POST an object to its collection; the object as stored."""
        return decoded(await self.raw("POST", path, msgspec.json.encode(body), **params), model, path)

    async def replace(self, path: str, body: object, model: type[T], /, **params: str) -> T:
        """PUT an object; with metadata.resourceVersion set, ApiError.conflict when it was written since.

        A PUT drops what the body leaves out: never send back one of the reduced Structs of `objects`.
        """
        return decoded(await self.raw("PUT", path, msgspec.json.encode(body), **params), model, path)

    async def patch(
        self, path: str, body: object, model: type[T], /, content_type: str = MERGE_PATCH, **params: str
    ) -> T:
        """PATCH an object; a merge patch (RFC 7386) unless `content_type` says otherwise."""
        data = msgspec.json.encode(body)
        return decoded(await self.raw("PATCH", path, data, content_type, **params), model, path)

    async def delete(self, path: str, /, **params: str) -> None:
        """DELETE an object."""
        await self.raw("DELETE", path, **params)

    async def raw(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        content_type: str = "application/json",
        /,
        **params: str,
    ) -> bytes:
        """The body of a successful answer, undecoded (pod logs, Tables, objects to send back whole)."""
        try:
            with anyio.fail_after(2 * self._request_timeout_s):
                async with self._exchange(method, path, params, body, content_type) as response:
                    return await _bounded_body(response, _MAX_BODY_BYTES, f"{method} {self.shown}{path}")
        except TimeoutError:
            raise UnreachableError(
                f"{method} {self.shown}{path}: no complete answer within {2 * self._request_timeout_s:g} s"
            ) from None

    @contextlib.asynccontextmanager
    async def watch(self, path: str, params: Mapping[str, str]) -> AsyncIterator[AsyncIterator[bytes]]:
        """An open watch: chunks of its body as they arrive, cut anywhere.

        The answer's head must come within the request time-out; how long to wait for the body is the caller's
        business.
        """
        stack = contextlib.AsyncExitStack()
        async with stack:
            try:
                with anyio.fail_after(self._request_timeout_s):
                    response = await stack.enter_async_context(
                        self._exchange("GET", path, {**params, "watch": "true"}, None, "", streaming=True)
                    )
            except TimeoutError:
                raise UnreachableError(
                    f"watch {self.shown}{path}: no answer within {self._request_timeout_s:g} s"
                ) from None
            async with contextlib.aclosing(_chunks(response, f"watch {self.shown}{path}")) as chunks:
                yield chunks

    @contextlib.asynccontextmanager
    async def _exchange(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        body: bytes | None,
        content_type: str,
        *,
        streaming: bool = False,
    ) -> AsyncIterator[httpx2.Response]:
        """One request with a good answer; on 401 once more if the credentials have another token by then."""
        for last_try in (False, True):
            async with self._send(method, path, params, body, content_type, streaming) as response:
                if response.is_success:
                    yield response
                    return
                refused = response.status_code == 401
                if last_try or not refused or not await self._renew_token():
                    raise await _api_error(response)

    @contextlib.asynccontextmanager
    async def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        body: bytes | None,
        content_type: str,
        streaming: bool,
    ) -> AsyncIterator[httpx2.Response]:
        headers = {"Content-Type": content_type} if body is not None else {}
        if self._access.token is not None:
            headers["Authorization"] = f"Bearer {self._access.token.current()}"
        extensions = {"sni_hostname": self._access.server_name} if self._access.server_name else {}
        try:
            request = self._http.build_request(
                method,
                self.server + path,
                params=dict(params) or None,
                headers=headers,
                content=body,
                timeout=httpx2.Timeout(
                    self._request_timeout_s,
                    connect=_CONNECT_TIMEOUT_S,
                    read=None if streaming else self._request_timeout_s,
                ),
                extensions=extensions,
            )
            response = await self._http.send(request, stream=True)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise _unreachable(f"{method} {self.shown}{path}", error) from error
        try:
            yield response
        finally:
            # A pool closes the socket here; being cancelled must not leave it open.
            with anyio.CancelScope(shield=True), contextlib.suppress(httpx2.HTTPError, OSError):
                await response.aclose()

    async def _renew_token(self) -> bool:
        if self._access.token is None:
            return False
        return await anyio.to_thread.run_sync(self._access.token.refresh)


async def _chunks(response: httpx2.Response, what: str) -> AsyncGenerator[bytes, None]:
    try:
        async for chunk in response.aiter_raw():
            yield chunk
    except (httpx2.HTTPError, OSError) as error:
        raise _unreachable(what, error) from error


async def _bounded_body(response: httpx2.Response, limit: int, what: str) -> bytes:
    body = bytearray()
    async for chunk in _chunks(response, what):
        body += chunk
        if len(body) > limit:
            raise BadResponseError(f"{what}: the answer is larger than {limit} bytes")
    return bytes(body)


async def _api_error(response: httpx2.Response) -> ApiError:
    body = b""
    with contextlib.suppress(ClusterError):
        body = await _bounded_body(response, _MAX_ERROR_BYTES, "error")
    reason, message = decode_status(body)
    after = response.headers.get("Retry-After", "")
    return ApiError(
        response.status_code,
        reason,
        message or response.reason_phrase,
        float(after) if after.isascii() and after.isdigit() and len(after) < 6 else None,
    )


def _unreachable(what: str, error: Exception) -> UnreachableError:
    # httpx2 often says nothing itself; the operating system's reason is at the end of the chain.
    reason: BaseException | None = error
    while reason is not None and not str(reason):
        reason = reason.__cause__ or reason.__context__
    return UnreachableError(
        f"{what}: {type(error).__name__}: {' '.join(str(reason or '').split())}".rstrip(": ")
    )
