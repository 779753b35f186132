"""The scenarios that chaos runs, by name."""

from collections.abc import Iterable

from chaos.scenarios import (
    api_down,
    comeback,
    cpu_starvation,
    dead_data_path,
    deaf_host,
    foreign_answers,
    hang,
    kill_speaker,
    link_down,
    power_off,
    restart_speaker,
    ring_cut,
    ring_loss,
    whole_restart,
)
from chaos.scenarios.model import Scenario


def _all() -> Iterable[Scenario]:
    """In the order of the list and the tables."""
    yield from power_off.SCENARIOS
    yield deaf_host.SCENARIO
    yield from kill_speaker.SCENARIOS
    yield from restart_speaker.SCENARIOS
    yield from comeback.NODE_RETURNS
    yield from hang.SCENARIOS
    yield from comeback.PARTITION
    yield from ring_cut.SCENARIOS
    yield from link_down.SCENARIOS
    yield dead_data_path.SCENARIO
    yield from foreign_answers.SCENARIOS
    yield from ring_loss.SCENARIOS
    yield cpu_starvation.SCENARIO
    yield whole_restart.SCENARIO
    yield from api_down.SCENARIOS


SCENARIOS: dict[str, Scenario] = {scenario.name: scenario for scenario in _all()}
