"""Retry delays."""

from __future__ import annotations

import random

import pytest

from cluster.backoff import Backoff


def test_ceiling_doubles_up_to_the_cap_and_falls_on_reset() -> None:
    draws = [Backoff(random.Random(seed), first_s=1.0, cap_s=10.0) for seed in range(300)]
    for ceiling in (1.0, 2.0, 4.0, 8.0, 10.0, 10.0):
        delays = [backoff.next_delay() for backoff in draws]
        assert 0 <= min(delays) < 0.1 * ceiling
        assert 0.9 * ceiling < max(delays) <= ceiling
    for backoff in draws:
        backoff.reset()
        assert backoff.next_delay() <= 1.0


def test_same_seed_same_delays() -> None:
    one, other = (Backoff(random.Random(4)) for _ in range(2))
    assert [one.next_delay() for _ in range(9)] == [other.next_delay() for _ in range(9)]


@pytest.mark.parametrize(("first_s", "cap_s"), [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0)])
def test_senseless_bounds_are_refused(first_s: float, cap_s: float) -> None:
    with pytest.raises(ValueError, match="first_s must be positive"):
        Backoff(random.Random(1), first_s=first_s, cap_s=cap_s)
