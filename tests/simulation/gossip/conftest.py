"""The seed of a simulation: drawn, printed, and taken back from VIPRING_SEED."""

import pytest

from tests.seed import chosen_seed


@pytest.fixture
def seed() -> int:
    return chosen_seed()
