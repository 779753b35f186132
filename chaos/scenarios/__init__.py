"""The scenarios that chaos runs, by name."""

from chaos.scenarios import kill_speaker, node_returns, power_off, restart_speaker
from chaos.scenarios.model import Scenario

SCENARIOS: dict[str, Scenario] = {
    module.SCENARIO.name: module.SCENARIO
    for module in (power_off, kill_speaker, restart_speaker, node_returns)
}
