"""Step curves as SVG: panels of lines over one axis, without a library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final, NamedTuple, TypeAlias

Line: TypeAlias = Sequence[tuple[float, float]]
"""Points from left to right; the value holds until the next one."""

_WIDTH: Final = 760
_HEIGHT: Final = 260
_LEFT: Final = 60
_TOP: Final = 40
_GAP: Final = 90
_TICKS: Final = 5
_COLOURS: Final = ("#0b6e4f", "#b25d00", "#b00020", "#24539c", "#6b3fa0", "#555555")


class Panel(NamedTuple):
    """One diagram: its lines by name, and the highest value."""

    title: str
    unit: str
    lines: Mapping[str, Line]
    top: float = 1.0


def picture(panels: Sequence[Panel]) -> str:
    """The panels, one below the other, as an SVG document."""
    height = len(panels) * (_HEIGHT + _GAP) + _TOP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH + _LEFT + 40}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for place, panel in enumerate(panels):
        parts += _panel(_TOP + place * (_HEIGHT + _GAP), panel)
    return "\n".join([*parts, "</svg>"]) + "\n"


def shares(values: Sequence[float]) -> Line:
    """The share of the values that are at most so great."""
    ordered = sorted(values)
    return [(value, number / len(ordered)) for number, value in enumerate(ordered, start=1)]


def _panel(y: int, panel: Panel) -> list[str]:
    title, unit, lines, top = panel
    right = max((x for line in lines.values() for x, _ in line), default=0.0) * 1.05 or 1.0
    top = top or 1.0
    bottom = y + _HEIGHT
    parts = [f'<text x="{_LEFT}" y="{y - 12}" font-size="14" font-weight="bold">{escape(title)}</text>']
    for tick in range(_TICKS + 1):
        share = tick / _TICKS
        across, up = _LEFT + share * _WIDTH, bottom - share * _HEIGHT
        parts += [
            f'<line x1="{_LEFT}" y1="{up:.1f}" x2="{_LEFT + _WIDTH}" y2="{up:.1f}" stroke="#ddd"/>',
            f'<text x="{_LEFT - 6}" y="{up + 4:.1f}" text-anchor="end">{share * top:.3g}</text>',
            f'<text x="{across:.1f}" y="{bottom + 18}" text-anchor="middle">{share * right:.3g}</text>',
        ]
    parts.append(
        f'<text x="{_LEFT + _WIDTH / 2}" y="{bottom + 36}" text-anchor="middle">{escape(unit)}</text>'
    )
    for place, (name, line) in enumerate(lines.items()):
        colour = _COLOURS[place % len(_COLOURS)]
        legend = _LEFT + _WIDTH - (len(lines) - place) * 120
        parts += [
            f'<rect x="{legend}" y="{y - 22}" width="12" height="12" fill="{colour}"/>',
            f'<text x="{legend + 16}" y="{y - 12}">{escape(name)}</text>',
        ]
        if line:
            path = _steps(line, right, top, bottom)
            parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    return parts


def _steps(line: Line, right: float, top: float, bottom: int) -> str:
    level = float(bottom)
    path = [f"M{_LEFT},{bottom}"]
    for x, value in line:
        across, up = _LEFT + x / right * _WIDTH, bottom - value / top * _HEIGHT
        path += [f"L{across:.1f},{level:.1f}", f"L{across:.1f},{up:.1f}"]
        level = up
    path.append(f"L{_LEFT + _WIDTH},{level:.1f}")
    return " ".join(path)
