"""The HTTP face of the store: an ASGI application without sockets of its own."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from chaos.lab.apiserver import podio, subresources, wellknown
from chaos.lab.apiserver.answers import Renderer, error_event, negotiate
from chaos.lab.apiserver.audit import WRITES, Audit, Caller, Write
from chaos.lab.apiserver.body import body_bytes, decoded, dry_run, media_type
from chaos.lab.apiserver.errors import (
    StatusError,
    bad_request,
    expired,
    method_not_allowed,
    no_such_path,
)
from chaos.lab.apiserver.faults import Faults, Injector
from chaos.lab.apiserver.listing import page
from chaos.lab.apiserver.rbac import authorize
from chaos.lab.apiserver.revisions import Record
from chaos.lab.apiserver.route import ResourceRequest, resolve
from chaos.lab.apiserver.store import PatchType, Store
from chaos.lab.apiserver.watch import Watch

_PATCH_TYPES: dict[str, PatchType] = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
    "application/apply-patch+yaml": "apply",
}


class JsonResponse(Response):
    """A JSON answer; bytes are taken as JSON already written."""

    media_type: str | None = "application/json"

    @override
    def render(self, content: Any) -> bytes:
        """The body."""
        return content if isinstance(content, bytes) else msgspec.json.encode(content)


class App:
    """Answers requests from the store.

    `authenticate` gives the user of a bearer token, None for an unknown one; `mint` makes a token for a
    service account; with `rbac` service accounts may do only what Roles allow; `on_faults` is told when faults are set, for those that touch connections.
    """

    def __init__(
        self,
        store: Store,
        *,
        authenticate: Callable[[str], str | None],
        mint: Callable[[str, str], str],
        on_faults: Callable[[Faults], None],
        pods: podio.PodIo,
        rng: random.Random,
        bookmark_s: float,
        rbac: bool,
    ) -> None:
        self.store = store
        self.audit = Audit()
        self.injector = Injector(rng)
        self._authenticate = authenticate
        self._mint = mint
        self._on_faults = on_faults
        self._pods = pods
        self._bookmark_s = bookmark_s
        self._rbac = rbac

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request (ASGI)."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except StatusError as error:
            response = refusal(error)
        except RecursionError:
            response = refusal(bad_request("the object is nested too deeply"))
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path = request.url.path
        if path in ("/healthz", "/livez", "/readyz"):
            return PlainTextResponse("ok")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        user = self._authenticate(token.strip()) if scheme.lower() == "bearer" else None
        if user is None:
            raise StatusError(401, "Unauthorized", "Unauthorized")
        caller = Caller(user, request.headers.get("user-agent", ""))
        if path.startswith("/lab/"):
            return await self._lab(request)
        if path.startswith(("/api/v1/", "/apis/")) and path.strip("/").count("/") > (
            1 if path[4] == "/" else 2
        ):
            return await self._resource(request, caller)
        await self.injector.suffer(caller.user, "")
        if request.method not in ("GET", "HEAD"):
            raise method_not_allowed()
        content, media = wellknown.answer(self.store.kinds, path, request.headers.get("accept", ""))
        return Response(content, media_type=media)

    # -- faults and counters ------------------------------------------------------------------------------

    def set_faults(self, faults: Faults) -> None:
        """Put faults in force, all at once; the one-shot ones act now."""
        self.injector.set(faults)
        if faults.forget:
            self.store.revisions.forget()
        self._on_faults(faults)

    async def _lab(self, request: Request) -> Response:
        match request.method, request.url.path:
            case "GET", "/lab/requests":
                return JsonResponse(self.audit.document())
            case "DELETE", "/lab/requests":
                self.audit.reset()
                return JsonResponse(self.audit.document())
            case "PUT", "/lab/faults":
                try:
                    faults = msgspec.json.decode(await body_bytes(request), type=Faults)
                except msgspec.MsgspecError as error:
                    raise bad_request(f"faults: {error}") from error
                self.set_faults(faults)
                return JsonResponse(msgspec.to_builtins(self.injector.faults))
            case "GET", "/lab/faults":
                return JsonResponse(msgspec.to_builtins(self.injector.faults))
            case _:
                raise no_such_path()

    # -- objects ------------------------------------------------------------------------------------------

    async def _resource(self, request: Request, caller: Caller) -> Response:
        asked = resolve(self.store.kinds, request.method, request.url.path, request.query_params)
        try:
            await self.injector.suffer(caller.user, asked.kind.resource)
            if self._rbac:
                authorize(self.store, caller.user, asked)
            if asked.verb == "watch":
                response = self._watch(request, caller, asked)
            elif asked.subresource in ("log", "proxy"):
                response = await self._pods.answer(self.store, request, asked)
            else:
                response = await self._verb(request, asked)
        except StatusError as error:
            self._count(caller, asked, error.code)
            raise
        self._count(caller, asked, response.status_code)
        return response

    def _count(self, caller: Caller, asked: ResourceRequest, code: int) -> None:
        self.audit.note(caller, asked.verb, asked.counted_as, code)
        if asked.verb in WRITES:
            self.audit.writes.append(
                Write(
                    time.time(),
                    caller.user,
                    asked.verb,
                    asked.counted_as,
                    asked.namespace or "",
                    asked.name,
                    code,
                )
            )

    def _renderer(self, request: Request, asked: ResourceRequest) -> Renderer:
        include = request.query_params.get("includeObject", "")
        form = negotiate(request.headers.get("accept", ""))
        return Renderer(
            asked.kind, form, "None" if include == "None" else "Object" if include == "Object" else "Metadata"
        )

    def _watch(self, request: Request, caller: Caller, asked: ResourceRequest) -> Response:
        watch = Watch(
            self.store.revisions,
            asked.kind,
            asked.namespace,
            request.query_params,
            self._renderer(request, asked),
            wall=time.time,
            bookmark_s=self._bookmark_s,
        )
        resource = asked.kind.resource
        faults = self.injector.faults_for(caller.user, resource)
        if faults.gone == "status":
            raise expired("too old resource version: a fault of the lab")
        if faults.close_watches:
            return Response(b"", media_type="application/json")
        try:
            if faults.gone == "event":
                raise expired("too old resource version: a fault of the lab")
            watch.check()
        except StatusError as error:
            return Response(error_event(error), media_type="application/json")

        async def gate() -> None:
            await self.injector.while_half_open(caller.user, resource)

        return StreamingResponse(watch.stream(gate), media_type="application/json")

    async def _verb(self, request: Request, asked: ResourceRequest) -> Response:
        verbs: dict[str, Callable[[Request, ResourceRequest], Awaitable[Response]]] = {
            "get": self._get,
            "list": self._list,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
            "deletecollection": self._delete_all,
        }
        return await verbs[asked.verb](request, asked)

    def _one(self, request: Request, asked: ResourceRequest, record: Record, code: int = 200) -> Response:
        return JsonResponse(self._renderer(request, asked).one(record, time.time()), code)

    async def _get(self, request: Request, asked: ResourceRequest) -> Response:
        record = self.store.get(asked.kind, asked.namespace or "", asked.name)
        if asked.subresource == "scale":
            return JsonResponse(subresources.get_scale(record))
        return self._one(request, asked, record)

    async def _list(self, request: Request, asked: ResourceRequest) -> Response:
        found = page(self.store.revisions, asked.kind, asked.namespace, request.query_params)
        return JsonResponse(self._renderer(request, asked).page(found, time.time()))

    async def _create(self, request: Request, asked: ResourceRequest) -> Response:
        namespace = asked.namespace or ""
        if asked.subresource == "token":
            self.store.get(asked.kind, namespace, asked.name)
            status = {"token": self._mint(namespace, asked.name), "expirationTimestamp": None}
            answer = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "status": status}
            return JsonResponse(answer, 201)
        body = await decoded(request)
        if asked.subresource:
            record = self.store.get(asked.kind, namespace, asked.name)
            return JsonResponse(
                subresources.act(self.store, asked.kind, record, asked.subresource, body), 201
            )
        record = self.store.create(asked.kind, namespace, body, dry_run=dry_run(request))
        return self._one(request, asked, record, 201)

    async def _update(self, request: Request, asked: ResourceRequest) -> Response:
        body = await decoded(request)
        namespace, dry = asked.namespace or "", dry_run(request)
        if asked.subresource == "scale":
            record = self.store.get(asked.kind, namespace, asked.name)
            changed = subresources.set_scale(self.store, asked.kind, record, body, dry_run=dry)
            return JsonResponse(subresources.get_scale(changed))
        existed = self.store.revisions.get(asked.kind.resource, (namespace, asked.name)) is not None
        record = self.store.update(
            asked.kind, namespace, asked.name, body, status=asked.subresource == "status", dry_run=dry
        )
        return self._one(request, asked, record, 200 if existed else 201)

    async def _patch(self, request: Request, asked: ResourceRequest) -> Response:
        how = _PATCH_TYPES.get(media_type(request))
        if how is None:
            raise StatusError(
                415,
                "UnsupportedMediaType",
                f"the body of the request was in an unknown format - accepted media types include: "
                f"{', '.join(_PATCH_TYPES)}",
            )
        body = await decoded(request)
        namespace, dry = asked.namespace or "", dry_run(request)
        if asked.subresource == "scale":
            record = self.store.get(asked.kind, namespace, asked.name)
            changed = subresources.patch_scale(self.store, asked.kind, record, body, how, dry_run=dry)
            return JsonResponse(subresources.get_scale(changed))
        existed = self.store.revisions.get(asked.kind.resource, (namespace, asked.name)) is not None
        record = self.store.patch(
            asked.kind,
            namespace,
            asked.name,
            body,
            how,
            status=asked.subresource == "status",
            manager=request.query_params.get("fieldManager", ""),
            dry_run=dry,
        )
        return self._one(request, asked, record, 200 if existed else 201)

    async def _delete(self, request: Request, asked: ResourceRequest) -> Response:
        if asked.subresource:
            raise method_not_allowed()
        options = subresources.delete_options(await decoded(request), dict(request.query_params))
        namespace = asked.namespace or ""
        record = self.store.delete(asked.kind, namespace, asked.name, options)
        if (
            options.dry_run
            or self.store.revisions.get(asked.kind.resource, (namespace, asked.name)) is not None
        ):
            return self._one(request, asked, record)
        details = {"name": asked.name, "kind": asked.kind.plural, "uid": record.obj["metadata"]["uid"]}
        if asked.kind.group:
            details["group"] = asked.kind.group
        done = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        return JsonResponse(done)

    async def _delete_all(self, request: Request, asked: ResourceRequest) -> Response:
        options = subresources.delete_options(await decoded(request), dict(request.query_params))
        query = {k: v for k, v in request.query_params.items() if k in ("labelSelector", "fieldSelector")}
        found = page(self.store.revisions, asked.kind, asked.namespace, query)
        for record in found.records:
            if self.store.revisions.get(asked.kind.resource, record.key) is not None:
                self.store.delete(asked.kind, *record.key, options)
        return JsonResponse(self._renderer(request, asked).page(found, time.time()))


def refusal(error: StatusError) -> Response:
    """The answer that a StatusError is."""
    headers = {}
    if error.details and error.details.get("retryAfterSeconds"):
        headers["retry-after"] = str(error.details["retryAfterSeconds"])
    return JsonResponse(error.status(), error.code, headers)
