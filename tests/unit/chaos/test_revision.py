"""What a measurement says of the code that it measured."""

import subprocess
from pathlib import Path

from chaos.revision import commit


def git(root: Path, *words: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(root), *identity, *words], check=True, capture_output=True)


def test_code_that_differs_is_told_and_figures_that_differ_are_not(tmp_path: Path) -> None:
    assert commit(tmp_path) == "unknown"
    figures = tmp_path / "bench" / "results" / "demo.json"
    figures.parent.mkdir(parents=True)
    page = tmp_path / "docs" / "failover.md"
    page.parent.mkdir()
    code = tmp_path / "code.py"
    for file in (figures, page, code):
        file.write_text("1\n")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "one")
    found = commit(tmp_path)
    assert len(found) == 12
    figures.write_text("2\n")
    page.write_text("2\n")
    assert commit(tmp_path) == found
    code.write_text("2\n")
    assert commit(tmp_path) == f"{found}-dirty"
