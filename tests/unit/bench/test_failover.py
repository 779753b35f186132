"""The page of figures: a table and a picture made from the results that are there."""

from pathlib import Path

import msgspec
import pytest

from bench import failover
from chaos.results import Phases, Result, Run, summarise

RUNS = tuple(
    Run(
        vip="198.18.1.0",
        victim="n1",
        outage_s=outage_s,
        sent=1000,
        lost=140,
        owner_before="n1",
        owner_after="n2",
        two_owners_s=0.05,
        no_owner_s=0.55,
        phases=Phases(detected_s=0.5, announced_s=0.56),
        failure=failure,
    )
    for outage_s, failure in ((0.55, None), (0.6, None), (9.0, "not at rest"))
)


def test_figures_take_the_place_of_those_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "failover.md"
    page.write_text(f"before\n{failover.BEGIN}old\n{failover.END}after\n")
    for name, path in (("PAGE", page), ("PICTURE", tmp_path / "p.svg"), ("RESULTS", tmp_path)):
        monkeypatch.setattr(failover, name, path)
    result = Result("power-off", 5, 1, "0123456789ab", RUNS, summarise(RUNS))
    (tmp_path / "power-off.json").write_bytes(msgspec.json.encode(result))
    failover.render()
    text = page.read_text()
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert (
        "| power-off | 5 | 3 | 1 | 550 ms / 600 ms | 550 ms / 550 ms | 50 ms / 50 ms | 140 / 140 |"
        " 500 ms / 500 ms | 560 ms / 560 ms | 0123456 |"
    ) in text
    assert (tmp_path / "p.svg").read_text().count("power-off") == 2


def test_the_page_has_its_place_for_the_figures() -> None:
    text = failover.PAGE.read_text()
    assert text.index(failover.BEGIN) < text.index(failover.END)
