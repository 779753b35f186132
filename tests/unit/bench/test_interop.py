"""The table of rings with real peers, from what was measured."""

import msgspec

from bench import cost, interop

_RING = dict.fromkeys(interop.WHAT, 1.0)
_LOSSY = {
    "seconds": 600,
    "stalls": 400,
    "false deaths seen by theirs": 0,
    "false deaths seen by ours": 0,
    "suspicions seen by ours": 3,
}


def test_each_kind_has_its_column_and_the_lossy_rings_are_summed() -> None:
    slow = {**_RING, "ours dead, all": 6.5}
    del slow["ours healed after 30 s across the kinds"]
    rings = [{"memberlist 0.1.7": _RING, "memberlist 0.7.0": slow, "serf": _RING}]
    found = interop.Facts("0123456789ab", rings, {"memberlist 0.1.7": _LOSSY, "serf": _LOSSY})
    lines = interop.table(msgspec.json.encode(found))
    assert lines[0] == "| seconds, lowest to highest | memberlist, rings: 2 | serf, rings: 1 |"
    assert "| … everybody knows | 1.00 to 6.50 | 1.00 to 1.00 |" in lines
    assert lines[-2].startswith("2 rings with loss and stalls, 600 s long: 800 stalls, 0 false deaths")


def test_the_page_has_a_place_for_it_and_shows_the_result() -> None:
    page = interop.PAGE.read_text()
    assert page.count(cost.begin("interop")) == 1
    if interop.RESULT.exists():
        assert "\n".join(interop.table(interop.RESULT.read_bytes())) in page
