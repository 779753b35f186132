"""What a run of some cases leaves of the rows of others."""

from bench.fastlane import CASES, merged, watched_with_watchers


def row(number: int, **more: object) -> dict[str, object]:
    """The row of a case; those that die have come through JSON."""
    case = CASES[number]
    dead = list(case.dead) if isinstance(case.dead, tuple) else case.dead
    return {**case._asdict(), "dead": dead, **more}


def test_rows_measured_now_take_the_place_of_their_like_and_name_their_commit() -> None:
    before = {"commit": "first", "rows": [row(3, n=1), row(0, n=1), row(1, n=1)]}
    found = merged(before, [row(2, n=2), row(1, n=2)], "second")
    assert [(one["members"], one["n"], one.get("commit")) for one in found] == [
        (CASES[0].members, 1, None),
        (CASES[1].members, 2, "second"),
        (CASES[2].members, 2, "second"),
        (CASES[3].members, 1, None),
    ]
    same = merged(before, [row(1, n=2)], "first")
    assert [one.get("commit") for one in same] == [None, None, None]


def test_a_case_is_known_by_who_dies_whether_from_json_or_not() -> None:
    (number,) = [number for number, case in enumerate(CASES) if case.dead == watched_with_watchers(10, 2)]
    before = {"commit": "first", "rows": [row(number, n=1)]}
    (found,) = merged(before, [{**CASES[number]._asdict(), "n": 2}], "first")
    assert found["n"] == 2
