"""The one seed of every randomised test."""

import os
import random

FIXED = 1


def given_seed() -> int | None:
    """The seed that VIPRING_SEED names; None if there is none, or if it is `random`."""
    text = os.environ.get("VIPRING_SEED", "")
    return int(text) if text and text != "random" else None


def chosen_seed() -> int:
    """VIPRING_SEED, a drawn one for VIPRING_SEED=random, else always the same; printed."""
    seed = given_seed()
    if seed is None:
        drawn = os.environ.get("VIPRING_SEED") == "random"
        seed = random.SystemRandom().randrange(1, 1 << 31) if drawn else FIXED
    print(f"VIPRING_SEED={seed}")
    return seed
