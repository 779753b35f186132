"""Tables: what `kubectl get` prints. The columns are those of kubernetes pkg/printers/internalversion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from chaos.lab.apiserver.columns import COLUMNS, GENERIC, Cell, Column, custom_columns
from chaos.lab.apiserver.errors import Obj
from chaos.lab.apiserver.kinds import Kind
from chaos.lab.apiserver.revisions import Record

Include = Literal["None", "Metadata", "Object"]


def columns_of(kind: Kind) -> tuple[Column, ...]:
    """Columns of a kind: its own, those its definition names, or name and age."""
    if kind.custom:
        return custom_columns(kind)
    return COLUMNS.get(kind.resource, GENERIC)


def _cell(column: Column, obj: Obj, now: float) -> Cell:
    try:
        return column.cell(obj, now)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return "<unknown>"  # statuses are stored as they come, whatever their shape


def _row_object(obj: Obj, include: Include) -> Obj | None:
    if include == "None":
        return None
    if include == "Object":
        return obj
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def table(kind: Kind, records: Sequence[Record], meta: Obj, now: float, include: Include = "Metadata") -> Obj:
    """The Table document of some records. `now` is wall time in seconds (for ages)."""
    columns = columns_of(kind)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": meta,
        "columnDefinitions": [
            {
                "name": column.name,
                "type": column.type,
                "format": "name" if column.name == "Name" else "",
                "description": "",
                "priority": column.priority,
            }
            for column in columns
        ],
        "rows": [
            {
                "cells": [_cell(column, record.obj, now) for column in columns],
                "object": _row_object(record.obj, include),
            }
            for record in records
        ],
    }
