"""Durations as Go writes them, the form of MetalLB's flags and files. Standard library only."""

from __future__ import annotations

import re
from typing import Final

_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"(\d{1,12}(?:\.\d{0,9})?|\.\d{1,9})(ns|us|µs|μs|ms|s|m|h)", re.ASCII)


def go_duration(text: str) -> float | None:
    """Seconds of a text such as 500ms, 10s or 1h30m (Go time, ParseDuration); None if it is none.

    Negative durations are none, since nothing here may be negative.
    """
    if text == "0":
        return 0.0
    parts = list(_PART.finditer(text))
    if not parts or "".join(part.group() for part in parts) != text:
        return None
    return sum(float(part.group(1)) * _UNITS[part.group(2)] for part in parts)
