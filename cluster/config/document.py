"""YAML text to a tree of mappings, lists and scalars that keep their spelling; duplicate keys are errors.

PyYAML's own constructors are not used: they read `64512:10` as a base-60 number, keep the last of two equal
keys, and follow aliases without bound. Here the C parser's events are consumed one by one, within limits on
depth and size. Merge keys (`<<`) and aliases work as in YAML 1.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

import yaml

from cluster.errors import ConfigError
from cluster.wire import one_line

# The API server takes no ConfigMap above 1 MiB.
MAX_TEXT_BYTES: Final = 2**20
# Counted after aliases are followed; a pool of 10,000 single addresses needs a tenth.
MAX_NODES: Final = 100_000
MAX_DEPTH: Final = 20
MAX_KEY: Final = 1024

_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_TAG_PREFIX = "tag:yaml.org,2002:"
_TAGS = frozenset(_TAG_PREFIX + kind for kind in ("str", "int", "bool", "null", "map", "seq", "float"))


@dataclass(frozen=True, slots=True)
class Scalar:
    """A scalar as written; `plain` means without quotes."""

    text: str
    plain: bool


Tree: TypeAlias = "dict[str, Tree] | list[Tree] | Scalar | None"


def load_document(text: str) -> Tree:
    """The one document in the text, None when it is empty.

    Raises ConfigError with the line of the mistake, whatever the text is.
    """
    if len(text) > MAX_TEXT_BYTES or len(text.encode("utf-8", "replace")) > MAX_TEXT_BYTES:
        raise ConfigError(f"is larger than {MAX_TEXT_BYTES} bytes")
    try:
        return _Builder(text).document()
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ConfigError(f"{line}is not YAML: {one_line(error.problem or str(error))}") from None
    except (yaml.YAMLError, UnicodeError) as error:
        raise ConfigError(f"is not YAML: {one_line(str(error))}") from None


class _Builder:
    def __init__(self, text: str) -> None:
        self._events: Iterator[yaml.Event] = iter(yaml.parse(text, Loader=_LOADER))
        self._anchors: dict[str, tuple[Tree, int]] = {}
        self._nodes = 0

    def document(self) -> Tree:
        root: Tree = None
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _error(event, "holds a second document, must hold one")
            elif isinstance(event, yaml.NodeEvent):
                root = self._node(event, depth=0, path="")
        return root

    def _node(self, event: yaml.Event, depth: int, path: str) -> Tree:
        before = self._nodes
        self._count(event, 1)
        if depth > MAX_DEPTH:
            raise _error(event, f"is nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            return self._aliased(event)
        tree = self._value(event, depth, path)
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            self._anchors[event.anchor] = (tree, self._nodes - before)
        return tree

    def _aliased(self, event: yaml.AliasEvent) -> Tree:
        name = event.anchor or ""
        if name not in self._anchors:
            raise _error(event, f"alias *{one_line(name)} has no anchor before it")
        tree, size = self._anchors[name]
        self._count(event, size)
        return tree

    def _value(self, event: yaml.Event, depth: int, path: str) -> Tree:
        assert isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent)
        if event.tag is not None and event.tag not in _TAGS and event.tag != "!":
            raise _error(event, f"tag {one_line(event.tag)} is not allowed")
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Tree] = []
            while not isinstance(part := self._next(), yaml.SequenceEndEvent):
                items.append(self._node(part, depth + 1, f"{path}[{len(items)}]"))
            return items
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(depth, path)
        if not isinstance(event, yaml.ScalarEvent):
            raise _error(event, "must be a value")
        plain = bool(event.implicit[0]) and event.tag is None
        return None if plain and event.value in _NULLS else Scalar(event.value, plain)

    def _mapping(self, depth: int, path: str) -> Tree:
        fields: dict[str, Tree] = {}
        merged: dict[str, Tree] = {}
        while not isinstance(start := self._next(), yaml.MappingEndEvent):
            key = self._key(start)
            where = f"{path}.{key}" if path else key
            value = self._node(self._next(), depth + 1, where)
            if key == "<<":
                for source in value if isinstance(value, list) else [value]:
                    if not isinstance(source, dict):
                        raise _error(start, f"{one_line(where)}: must be a mapping or a list of mappings")
                    merged = {**source, **merged}
            elif key in fields:
                raise _error(start, f"{one_line(where)}: duplicate key, must be given once")
            else:
                fields[key] = value
        return {**merged, **fields}

    def _key(self, event: yaml.Event) -> str:
        self._count(event, 1)
        if not isinstance(event, yaml.ScalarEvent):
            raise _error(event, "a key must be plain text")
        if len(event.value) > MAX_KEY:
            raise _error(event, f"a key must have at most {MAX_KEY} characters")
        if event.anchor is not None:
            self._anchors[event.anchor] = (Scalar(event.value, plain=bool(event.implicit[0])), 1)
        return event.value

    def _next(self) -> yaml.Event:
        return next(self._events)

    def _count(self, event: yaml.Event, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise _error(event, f"holds more than {MAX_NODES} values, aliases followed")


def _error(event: yaml.Event, problem: str) -> ConfigError:
    line = f"line {event.start_mark.line + 1}: " if event.start_mark else ""
    return ConfigError(f"{line}{problem}")
