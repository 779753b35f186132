"""Programs that the lab runs: what they print, and which exit statuses are failures."""

from __future__ import annotations

import sys

import pytest

from chaos.lab.errors import LabError
from chaos.lab.tools import run_tool

SAYS_AND_ENDS = [sys.executable, "-c", "import sys; print(sys.stdin.read()); sys.exit(int(sys.argv[1]))"]


async def test_an_exit_status_that_is_allowed_is_no_failure() -> None:
    assert await run_tool([*SAYS_AND_ENDS, "0"], "hello") == "hello\n"
    assert await run_tool([*SAYS_AND_ENDS, "1"], "hello", allowed=(0, 1)) == "hello\n"
    with pytest.raises(LabError, match="exit 2: hello"):
        await run_tool([*SAYS_AND_ENDS, "2"], "hello", allowed=(0, 1))
    with pytest.raises(LabError, match="exit 1: hello"):
        await run_tool([*SAYS_AND_ENDS, "1"], "hello")
