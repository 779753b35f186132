"""Refusals of the API server: every one is a v1.Status with a code and a reason.

Codes, reasons and the wording that clients match on are those of apimachinery's api/errors package.
"""

from __future__ import annotations

from typing import Any

from chaos.lab.apiserver.kinds import Kind

Obj = dict[str, Any]
"""A Kubernetes object as JSON. The server keeps documents whose schema belongs to its clients."""


class StatusError(Exception):
    """A request that is refused; `status()` is the body of the answer and `code` its HTTP status."""

    def __init__(self, code: int, reason: str, message: str, details: Obj | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def status(self) -> Obj:
        """The v1.Status document."""
        body: Obj = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        }
        if self.details is not None:
            body["details"] = self.details
        body["code"] = self.code
        return body


def _of(kind: Kind, name: str) -> Obj:
    details = {"name": name, "kind": kind.plural}
    if kind.group:
        details["group"] = kind.group
    return details


def not_found(kind: Kind, name: str) -> StatusError:
    """404 for one object."""
    return StatusError(404, "NotFound", f'{kind.resource} "{name}" not found', _of(kind, name))


def no_such_path() -> StatusError:
    """404 for a path that is not served."""
    return StatusError(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(kind: Kind, name: str) -> StatusError:
    """409 for a create of a name that is taken."""
    return StatusError(409, "AlreadyExists", f'{kind.resource} "{name}" already exists', _of(kind, name))


def conflict(kind: Kind, name: str, why: str = "") -> StatusError:
    """409 for a write that is based on another version of the object."""
    why = why or (
        "the object has been modified; please apply your changes to the latest version and try again"
    )
    return StatusError(
        409, "Conflict", f'Operation cannot be fulfilled on {kind.resource} "{name}": {why}', _of(kind, name)
    )


def invalid(kind: Kind, name: str, causes: list[tuple[str, str, str]]) -> StatusError:
    """422. A cause is (field, reason, message), reason being FieldValueRequired, FieldValueInvalid …"""
    text = ", ".join(f"{field}: {message}" for field, _, message in causes)
    if len(causes) > 1:
        text = f"[{text}]"
    details = {"name": name, "kind": kind.kind}
    if kind.group:
        details["group"] = kind.group
    return StatusError(
        422,
        "Invalid",
        f'{kind.kind}{"." + kind.group if kind.group else ""} "{name}" is invalid: {text}',
        {
            **details,
            "causes": [{"reason": reason, "message": text, "field": field} for field, reason, text in causes],
        },
    )


def bad_request(message: str) -> StatusError:
    """400."""
    return StatusError(400, "BadRequest", message)


def expired(message: str) -> StatusError:
    """410 for a version that has left the history."""
    return StatusError(410, "Expired", message)


def forbidden(kind: Kind, name: str, why: str, details: Obj | None = None) -> StatusError:
    """403."""
    return StatusError(
        403,
        "Forbidden",
        f'{kind.resource} "{name}" is forbidden: {why}',
        {**_of(kind, name), **(details or {})},
    )


def method_not_allowed() -> StatusError:
    """405."""
    return StatusError(
        405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {}
    )


def too_large_version(asked: int, current: int) -> StatusError:
    """504 for a version from the future."""
    return StatusError(
        504,
        "Timeout",
        f"Too large resource version: {asked}, current: {current}",
        {
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        },
    )
