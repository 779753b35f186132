"""The seed of a simulation: drawn, printed, and taken back from VIPRING_SEED."""

import os
import random

import pytest


@pytest.fixture
def seed() -> int:
    chosen = int(os.environ.get("VIPRING_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"VIPRING_SEED={chosen}")
    return chosen
