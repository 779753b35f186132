"""Whether the cost at rest is said to be kept or broken."""

import pytest

from bench.limits import failures
from bench.rest import LANES, REAL, SIMULATED, Cost, Row, limits

FAST = "100 ms, 4 misses"
SLOW = "200 ms, 2 misses"


def rows(**changed: Cost) -> list[Row]:
    """All rings at a cost that is allowed, but for those named, like `processes_10`."""
    return [
        Row(members, lane, simulated, changed.get(f"{word}_{members}", Cost(60.0, 4000.0, 0.01)))
        for simulated, word, sizes in ((False, "processes", REAL), (True, "simulated", SIMULATED))
        for members in sizes
        for lane in LANES
    ]


def test_what_is_within_the_limits_is_kept() -> None:
    found = limits(rows())
    assert len(found) == 2 * (len(REAL) + len(SIMULATED)) + len(LANES)
    assert failures(found) == 0


@pytest.mark.parametrize(
    ("where", "cost", "broken"),
    [
        ("processes_3", Cost(60.0, 4000.0, 0.013), [f"3 processes, {SLOW}"]),
        ("processes_10", Cost(60.0, 4000.0, 0.021), [f"10 processes, {lane}" for lane in (FAST, SLOW)]),
        (
            "simulated_100",
            Cost(70.0, 4000.0, 0.01),
            [f"datagrams of one of 100 by those of one of 10, {lane}" for lane in LANES],
        ),
    ],
)
def test_what_is_not_is_broken_by_name(where: str, cost: Cost, broken: list[str]) -> None:
    found = limits(rows(**{where: cost}))
    assert [limit.what for limit in found if not limit.kept] == broken
    assert failures(found) == 1
