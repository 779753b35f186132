"""The example of docs/ring.md is run, and prints what the page says."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "ring.md"
PATIENCE_S = 50


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def test_the_example_prints_what_the_page_says() -> None:
    (program,), (printed,) = blocks("python"), blocks("text")
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=PAGE.parents[1],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (ran.returncode, ran.stderr, ran.stdout) == (0, "", printed)
