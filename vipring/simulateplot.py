"""A campaign as one SVG picture: how long detection takes, and who believes what over time."""

from __future__ import annotations

from gossip.simulator.campaign import Campaign
from gossip.simulator.trial import Outcome
from vipring.svg import Line, Panel, picture, shares


def plot(campaign: Campaign) -> str:
    """The picture: the share of crashes known within a time, and below it how many members hold how many others for
    suspect or dead in the first run."""
    outcomes = campaign.outcomes
    detection = {
        "first dead": shares([value for outcome in outcomes for value in outcome.first_dead_s]),
        "all know": shares([value for outcome in outcomes for value in outcome.all_know_s]),
    }
    views = _views(outcomes[0]) if outcomes else {}
    return picture(
        [
            Panel("Share of crashes known within", "seconds from the crash", detection),
            Panel(
                f"Views in the run of seed {outcomes[0].seed}" if outcomes else "Views",
                "seconds since the ring stood",
                views,
                top=max((value for line in views.values() for _, value in line), default=1.0),
            ),
        ]
    )


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
