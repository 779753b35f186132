"""A campaign as one SVG picture: how long detection takes, and who believes what over time."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final, TypeAlias

from gossip.simulator.campaign import Campaign
from gossip.simulator.trial import Outcome

Line: TypeAlias = Sequence[tuple[float, float]]

_WIDTH: Final = 760
_HEIGHT: Final = 260
_LEFT: Final = 60
_TOP: Final = 40
_GAP: Final = 90
_TICKS: Final = 5
_COLOURS: Final = {"first dead": "#b25d00", "all know": "#0b6e4f", "suspect": "#c79100", "dead": "#b00020"}


def plot(campaign: Campaign) -> str:
    """The picture: the share of crashes known within a time, and below it how many members hold how many others for
    suspect or dead in the first run."""
    outcomes = campaign.outcomes
    detection = {
        "first dead": _shares([value for outcome in outcomes for value in outcome.first_dead_s]),
        "all know": _shares([value for outcome in outcomes for value in outcome.all_know_s]),
    }
    views = _views(outcomes[0]) if outcomes else {}
    height = 2 * (_HEIGHT + _GAP) + _TOP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH + _LEFT + 40}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        *_panel(_TOP, "Share of crashes known within", "seconds from the crash", detection, top=1.0),
        *_panel(
            _TOP + _HEIGHT + _GAP,
            f"Views in the run of seed {outcomes[0].seed}" if outcomes else "Views",
            "seconds since the ring stood",
            views,
            top=max((value for line in views.values() for _, value in line), default=1.0),
        ),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _shares(values: Sequence[float]) -> Line:
    ordered = sorted(values)
    return [(value, number / len(ordered)) for number, value in enumerate(ordered, start=1)]


def _views(outcome: Outcome) -> dict[str, Line]:
    """By state, how many pairs of observer and subject hold it at which moment."""
    held: dict[tuple[str, str], str] = {}
    lines: dict[str, list[tuple[float, float]]] = {"suspect": [(0.0, 0.0)], "dead": [(0.0, 0.0)]}
    for told in outcome.told:
        held[told.observer, told.subject] = told.state
        for state, line in lines.items():
            count = float(sum(word == state for word in held.values()))
            if count != line[-1][1]:
                line.append((told.at, count))
    return dict(lines)


def _panel(y: int, title: str, unit: str, lines: dict[str, Line], *, top: float) -> list[str]:
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
        colour = _COLOURS[name]
        legend = _LEFT + _WIDTH - 170 + place * 90
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
