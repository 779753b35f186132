"""How false deaths are counted: the bound, what a window stands for, what a stall does."""

import math

import pytest

from bench.falsedeaths import YEAR_S, Found, Job, Loss, Stall, cell, do, upper, window, windows_a_year

QUIET = Loss(0.0, "scattered")


def test_the_bound_is_that_of_poisson() -> None:
    # Tables of the chi-squared distribution: half its 95th percentile with 2n + 2 degrees of freedom.
    for count, bound in ((0, 2.996), (1, 4.744), (5, 10.513), (100, 118.08)):
        assert upper(count) == pytest.approx(bound, rel=1e-3)


def test_windows_add_up_to_a_year() -> None:
    hourly = Job("wire", QUIET, Stall(1.0, whole=False))
    assert windows_a_year(hourly) == pytest.approx(YEAR_S / 3600)
    assert windows_a_year(Job("wire", QUIET, None)) == 0
    bursts = Job("wire", Loss(0.01, "bursts"), None)
    assert windows_a_year(bursts) == pytest.approx(YEAR_S / 19.9 * math.exp(-3), rel=0.01)
    assert Found(500, 5, 100.0).rate == 1.0
    assert cell([Found(500, 0, 500.0)]) == "0 (< 3)"


def test_nothing_is_simulated_where_nothing_happens() -> None:
    assert do(Job("memberlist", QUIET, None), 10, 1) == Found(0, 0, 0.0)


def test_a_loop_that_stalls_is_vouched_for_on_the_wire_and_a_machine_is_not() -> None:
    assert window(Job("wire", QUIET, Stall(1.0, whole=False)), 1) == 0
    assert window(Job("wire", QUIET, Stall(1.0, whole=True)), 1) == 1
    assert window(Job("memberlist", QUIET, Stall(1.0, whole=True)), 1) == 0


def test_a_member_whose_port_is_cut_hears_no_gateway_either_and_accuses_nobody() -> None:
    job = Job("wire", Loss(0.001, "bursts"), None)
    assert {window(job, seed) for seed in range(1, 16)} == {0, 1}
