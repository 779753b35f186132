"""JSON patch (RFC 6902) and JSON merge patch (RFC 7396). Both return a document of their own."""

from __future__ import annotations

import copy
from typing import Any

from chaos.lab.apiserver.errors import Obj, StatusError, bad_request

_MAX_OPERATIONS = 10_000  # as the API server limits them


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396: objects merge, null removes, anything else replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def _tokens(pointer: object) -> list[str]:
    if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
        raise bad_request(f"json patch: {pointer!r} is not a JSON pointer")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _failed(op: str, pointer: object, why: str) -> StatusError:
    return StatusError(
        422,
        "Invalid",
        f"the server rejected our request due to an error in our request: {op} {pointer}: {why}",
    )


def _index(parent: list[Any], token: str, *, adding: bool) -> int | None:
    if adding and token == "-":
        return len(parent)
    if not token.isdigit() or int(token) > len(parent) - (0 if adding else 1):
        return None
    return int(token)


def _step(parent: Any, token: str) -> tuple[bool, Any]:
    if isinstance(parent, dict) and token in parent:
        return True, parent[token]
    if isinstance(parent, list):
        index = _index(parent, token, adding=False)
        if index is not None:
            return True, parent[index]
    return False, None


class _Document:
    def __init__(self, root: Any) -> None:
        self.root = copy.deepcopy(root)

    def get(self, op: str, pointer: object) -> Any:
        at = self.root
        for token in _tokens(pointer):
            there, at = _step(at, token)
            if not there:
                raise _failed(op, pointer, "there is nothing at this path")
        return at

    def parent(self, op: str, pointer: object) -> tuple[Any, str]:
        tokens = _tokens(pointer)
        at = self.root
        for token in tokens[:-1]:
            there, at = _step(at, token)
            if not there:
                raise _failed(op, pointer, "the parent of this path does not exist")
        return at, tokens[-1]

    def add(self, op: str, pointer: object, value: Any) -> None:
        if pointer == "":
            self.root = value
            return
        parent, token = self.parent(op, pointer)
        if isinstance(parent, dict):
            parent[token] = value
            return
        index = _index(parent, token, adding=True) if isinstance(parent, list) else None
        if index is None:
            raise _failed(op, pointer, "no such place in a list")
        parent.insert(index, value)

    def replace(self, op: str, pointer: object, value: Any) -> None:
        self.get(op, pointer)
        if pointer == "":
            self.root = value
            return
        parent, token = self.parent(op, pointer)
        parent[int(token) if isinstance(parent, list) else token] = value

    def remove(self, op: str, pointer: object) -> Any:
        if pointer == "":
            raise _failed(op, pointer, "the whole object cannot be removed")
        value = self.get(op, pointer)
        parent, token = self.parent(op, pointer)
        if isinstance(parent, list):
            del parent[int(token)]
        else:
            del parent[token]
        return value


def _apply_operation(document: _Document, operation: Obj) -> None:
    op, path = operation.get("op"), operation.get("path")
    if op in ("add", "replace", "test") and "value" not in operation:
        raise bad_request(f"json patch: operation {op} needs a value")
    match op:
        case "add":
            document.add(op, path, copy.deepcopy(operation["value"]))
        case "replace":
            document.replace(op, path, copy.deepcopy(operation["value"]))
        case "remove":
            document.remove(op, path)
        case "move":
            document.add(op, path, document.remove(op, operation.get("from")))
        case "copy":
            document.add(op, path, copy.deepcopy(document.get(op, operation.get("from"))))
        case "test":
            if document.get(op, path) != operation["value"]:
                raise _failed(op, path, "testing the value failed")
        case _:
            raise bad_request(f"json patch: unknown operation {op!r}")


def json_patch(target: Obj, operations: Any) -> Obj:
    """RFC 6902. Raises StatusError 400 for what is no patch, 422 for one that does not fit the object."""
    if not isinstance(operations, list) or not all(isinstance(o, dict) for o in operations):
        raise bad_request("json patch: the body must be a list of operations")
    if len(operations) > _MAX_OPERATIONS:
        raise StatusError(413, "RequestEntityTooLarge", f"json patch: more than {_MAX_OPERATIONS} operations")
    document = _Document(target)
    for operation in operations:
        _apply_operation(document, operation)
    if not isinstance(document.root, dict):
        raise bad_request("json patch: the result is not an object")
    return document.root
