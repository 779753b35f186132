"""How windows and whole rings are compared: what agrees, how rings add up, what a stall counts for."""

import pytest

from bench.falsedeaths import YEAR_S, Found, Job, Loss, Stall, facts_of, lower
from bench.wholerings import BURSTS, LOOP, MACHINE, NONE, agree, grid, joined, quiet, read, stalled


def test_the_lower_bound_is_that_of_poisson() -> None:
    # Tables of the chi-squared distribution: half its 5th percentile with 2n degrees of freedom.
    for count, bound in ((0, 0.0), (1, 0.0513), (5, 1.970), (100, 84.14)):
        assert lower(count) == pytest.approx(bound, rel=1e-3)


def test_rates_agree_when_their_bounds_meet() -> None:
    few, many = Found(100, 10, 100.0), Found(100, 50, 100.0)
    assert agree(few, Found(10, 1, 100.0)) == "yes"
    assert agree(few, many) == "windows are lower"
    assert agree(many, few) == "windows are higher"
    assert agree(Found(10, 0, 1.0), Found(1, 0, 1.0)) == "neither saw any"


def test_rings_of_a_cell_add_up() -> None:
    assert joined([Found(1, 2, 100.0), Found(1, 4, 100.0)], Job("wire", NONE, None)) == Found(1, 6, 50.0)
    assert joined([Found(3, 2, 8.0), Found(5, 4, 8.0)], Job("wire", NONE, LOOP)) == Found(8, 6, 8.0)


def test_whole_rings_stand_for_windows_only_where_faults_are_frequent() -> None:
    often, rare, calm = (Job("wire", loss, None) for loss in (BURSTS[1], BURSTS[0], NONE))
    stalls = {job: job._replace(stall=MACHINE) for job in (often, rare, calm)}
    windows, fewer, alike = Found(100, 50, 100.0), Found(1, 2, 5.0), Found(1, 2, 20.0)
    # What the whole rings' own windows say does not count: those of the grid do.
    pairs = dict.fromkeys((often, stalls[often], stalls[rare], stalls[calm]), (fewer, fewer))
    pairs[rare] = windows, alike
    chosen = grid(dict.fromkeys((often, rare, *stalls.values()), windows), pairs)
    assert {job for job, found in chosen.items() if found != windows} == {often, stalls[often]}
    assert chosen.keys() == {often, rare, *stalls.values()}


def test_what_was_written_is_read_again() -> None:
    for job in (Job("wire", Loss(0.05, "scattered"), None), Job("memberlist", NONE, Stall(0.3, whole=False))):
        assert read(facts_of(job, Found(3, 2, 5.0))) == (job, Found(3, 2, 5.0))


def test_a_ring_with_a_past_counts_stalls_and_time() -> None:
    found = stalled(Job("memberlist", NONE, MACHINE), 600.0, 1)
    assert found.windows == 5
    assert found.windows_a_year == pytest.approx(YEAR_S / 3600)
    calm = quiet("memberlist", NONE, 600.0, 1)
    assert (calm.windows, calm.deaths) == (1, 0)
    assert calm.windows_a_year == pytest.approx(YEAR_S / 3000)
