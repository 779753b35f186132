"""The scenarios that chaos runs, by name."""

from chaos.scenarios import (
    api_down,
    hang,
    kill_speaker,
    link_down,
    node_returns,
    partition,
    power_off,
    restart_speaker,
    ring_cut,
)
from chaos.scenarios.model import Scenario

SCENARIOS: dict[str, Scenario] = {
    module.SCENARIO.name: module.SCENARIO
    for module in (
        power_off,
        kill_speaker,
        restart_speaker,
        node_returns,
        hang,
        partition,
        ring_cut,
        link_down,
        api_down,
    )
}
