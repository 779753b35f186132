"""How much a node may hold, so that what grows without end is seen while it grows."""

from collections.abc import Mapping

from gossip.config import SwimConfig
from gossip.fastconfig import FastLaneConfig

_TIMED = ("suspicions", "streams in", "streams out", "relayed pings", "claims")
"""What has one deadline each."""

_TICKS = 6
"""Deadlines of the node itself: of its probes, gossip, exchanges, expansions and meta, and of the probe under way."""

_LANE_TICKS = 3
"""Deadlines of the lane: of its questions, of direct messages and of the dead."""

_WATCHES_MAX = 35
"""Members watched at once: three, and 32 beyond them when many fall silent."""

_HEALED_MAX = 256
"""Dead members asked after at once."""

_ANSWERS_TAKEN_S = 3.0
"""How long a question of the lane stays open."""


def allowed(config: SwimConfig, names: int, sizes: Mapping[str, int]) -> dict[str, int]:
    """The most of everything that `SwimNode.sizes` counts, in a simulated ring that ever had so many names.

    Args:
        config: of the node.
        names: of all members that ever were.
        sizes: what the node holds, for that which follows from something else.
    """
    others = max(1, names - 1)
    timed = {what: sizes[what] for what in _TIMED}
    # Whatever has no deadline stays for good.
    spare = sizes["deadlines"] - sum(timed.values())
    limits = {
        "suspicions": others,
        "streams in": config.max_streams,
        "streams out": config.max_streams,
        "relayed pings": config.max_relays,
        "claims": others,
    }
    bounds = {what: max(0, min(limits[what], timed[what] + spare)) for what in _TIMED}
    bounds |= {
        "deadlines": sum(timed.values()) + _TICKS + (_LANE_TICKS if config.fast_lane is not None else 0),
        # One for each member, and our own refutation.
        "broadcasts": names + 1,
        "user broadcasts": 0,
        "outputs": 0,
        "sources refused": 256,
        "members": min(names, config.max_members),
        "former members": min(others, 1024),
        "forgotten members": min(others, 1024),
        "joins waiting": names,
        "expansions": sizes["streams in"] + sizes["streams out"],
        "stream bytes": config.max_buffered_bytes if sizes["streams in"] + sizes["streams out"] else 0,
    }
    return bounds if config.fast_lane is None else bounds | _of_lane(config.fast_lane, others)


def _of_lane(lane: FastLaneConfig, others: int) -> dict[str, int]:
    watches, healed = min(_WATCHES_MAX, others), min(_HEALED_MAX, others)
    # Who was late asks twice in a pace; each question by its own way and by two relays, the dead four times a second.
    rounds = 2 * round(_ANSWERS_TAKEN_S / lane.pace_s + 1)
    return {
        "watches": watches,
        "open questions": rounds * 3 * watches + round(4 * _ANSWERS_TAKEN_S + 1) * healed,
        "silences": min(256, others),
        "members heard": others,
        "members asked after": healed,
        # A verdict or a refutation is told twice, within a pace or two of it.
        "direct messages": 2 * (others + 2),
    }
