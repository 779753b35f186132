"""Reading the body and the options of a request."""

from __future__ import annotations

from typing import Any

import msgspec
import yaml
from starlette.requests import Request

from chaos.lab.apiserver import protobuf
from chaos.lab.apiserver.errors import StatusError, bad_request

_MAX_BODY = 3 * 1024 * 1024  # bytes, the API server's own limit


async def body_bytes(request: Request) -> bytes:
    """The body. Raises StatusError 413 for more than 3 MiB."""
    chunks = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > _MAX_BODY:
            raise StatusError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {_MAX_BODY}")
        chunks.append(chunk)
    return b"".join(chunks)


def media_type(request: Request) -> str:
    """The Content-Type without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip()


async def decoded(request: Request) -> Any:
    """The body as a document; None for an empty one. Raises StatusError 400, 413 or 415."""
    media = media_type(request)
    raw = await body_bytes(request)
    if not raw:
        return None
    if media == protobuf.MEDIA_TYPE:
        return protobuf.decode(raw)
    if media.startswith("application/") and not any(known in media for known in ("json", "yaml")):
        raise StatusError(
            415, "UnsupportedMediaType", f"{media} is not understood here: send application/json"
        )
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        if "yaml" not in media:
            raise bad_request(f"the body of the request is not JSON: {error}") from error
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(raw, Loader=yaml.CSafeLoader)):
            raise bad_request("the body of the request has YAML aliases, which are not taken here")
        return yaml.load(raw, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise bad_request("the body of the request is neither JSON nor YAML") from error


def dry_run(request: Request) -> bool:
    """Is the request only to be tried? Raises StatusError 400."""
    value = request.query_params.get("dryRun", "")
    if value not in ("", "All"):
        raise bad_request(f"dryRun: {value!r} must be All")
    return bool(value)
