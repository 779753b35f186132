"""Named plans, and plans from files."""

from collections.abc import Mapping
from typing import Final

import msgspec

from gossip.errors import ConfigError
from gossip.simulator.faults import (
    Crash,
    Disturb,
    Drift,
    Leave,
    Lose,
    Partition,
    Plan,
    Restart,
    Stall,
    Starve,
)
from gossip.simulator.network import Bursts, Latency, Network

PLANS: Final[Mapping[str, Plan]] = {
    "quiet": Plan(about="nothing happens for a minute", at_least_s=60.0),
    "crash": Plan(about="one member loses power", faults=(Crash(),)),
    "two": Plan(about="two members lose power at once", faults=(Crash(members=2),)),
    "half": Plan(about="half of the members lose power at once", faults=(Crash(members="50%"),)),
    "lossy": Plan(
        about="one member loses power while 5 % of all datagrams are lost",
        network=Network(loss=0.05),
        faults=(Crash(at_s=5.0),),
    ),
    "leave": Plan(about="one member says goodbye", faults=(Leave(),)),
    "restart": Plan(about="one member restarts within a second", faults=(Restart(),)),
    "move": Plan(
        about="one member comes back at another address after 40 s", faults=(Restart(down_s=40.0, move=True),)
    ),
    "rolling-restart": Plan(
        about="all members restart one after the other, 10 s apart",
        faults=(Restart(members="100%", down_s=2.0, apart_s=10.0),),
    ),
    "mass-restart": Plan(about="all members restart at once", faults=(Restart(members="100%", down_s=3.0),)),
    "partition": Plan(about="half and half are apart for 30 s", faults=(Partition(for_s=30.0),)),
    "long-partition": Plan(about="half and half are apart for 90 s", faults=(Partition(for_s=90.0),)),
    "deaf": Plan(
        about="one member sends but cannot hear for 30 s",
        faults=(Lose(share=1.0, direction="in", for_s=30.0),),
    ),
    "mute": Plan(
        about="one member hears but cannot send for 30 s",
        faults=(Lose(share=1.0, direction="out", for_s=30.0),),
    ),
    "bursts": Plan(
        about="every link loses all datagrams for 0.3 s about once in 20 s, for 2 min",
        faults=(Disturb(for_s=120.0, network=Network(bursts=Bursts(every_s=20.0, last_s=0.3))),),
    ),
    "jitter": Plan(
        about="slow packets, copies and packets out of order for a minute",
        faults=(
            Disturb(
                for_s=60.0,
                network=Network(
                    latency=Latency(spread_s=0.02, shape="lognormal"),
                    duplicate=0.05,
                    reorder=0.1,
                    reorder_s=0.05,
                ),
            ),
        ),
    ),
    "stalls": Plan(
        about="a tenth of the members stall for 0.9 s, ten times",
        faults=tuple(Stall(at_s=6.0 * number, members="10%") for number in range(10)),
    ),
    "starved": Plan(
        about="a tenth of the members handle 30 datagrams a second for a minute",
        faults=(Starve(members="10%", for_s=60.0, factor=200.0),),
    ),
    "drift": Plan(
        about="a quarter of the clocks run 1 % fast for two minutes",
        faults=(Drift(members="25%", for_s=120.0),),
    ),
    "storm": Plan(about="eight faults at random within a minute", random_faults=8),
}
"""By name, each good for rings of every size."""


def plan_from(tree: object) -> Plan:
    """A plan from a decoded file.

    Raises:
        ConfigError: one line that names the field and what is allowed.
    """
    try:
        return msgspec.convert(tree, Plan)
    except msgspec.ValidationError as error:
        told, _, where = str(error).partition(" - at `$")
        field = where.rstrip("`").lstrip(".")
        raise ConfigError(f"{field}: {told}" if field else told) from None
